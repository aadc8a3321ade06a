"""The strategies of mergekit-evolve 0.1.5, by the public functions that they call, in their order.

The command itself needs ray and does not import with lm-eval 0.4.13. `OnDisk` is what its
`merge_model` and `evaluate_model` do for each candidate in one long-lived process (the strategy
'pool'); `InMemory` is its option --in-memory. What ray adds, processes and queues, is left out, and
so are pycma and the index of lm-eval's own tasks, which is read once: they would only cost time.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from mergekit.architecture import arch_info_for_config
from mergekit.evo.config import EvolMergeConfiguration
from mergekit.evo.genome import ModelGenome
from mergekit.graph import Executor
from mergekit.io.tasks import ReturnTensor
from mergekit.merge import _model_out_config, run_merge
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from transformers.initialization import no_init_weights
from workload import Workload

Scores = Mapping[str, float]


class OnDisk:
    """Merges into a folder, and has lm-eval load it.

    Args:
        workload: what is merged and scored.
        batch_size: rows of a forward pass; None as by default, which lm-eval takes for 1.
    """

    def __init__(self, workload: Workload, batch_size: int | None) -> None:
        self._common = _Common(workload, batch_size)
        self._storage = workload.folder

    def evaluate(self, genotype: Sequence[float]) -> Scores:
        """Return the metric of each task."""
        gc.collect()
        common = self._common
        merged = tempfile.mkdtemp(prefix="merged", dir=self._storage)
        try:
            run_merge(common.recipe(genotype), out_path=merged, options=common.options)
            return common.score(
                "huggingface",
                {"pretrained": merged, "dtype": "bfloat16", "use_cache": True},
            )
        finally:
            shutil.rmtree(merged)


class InMemory:
    """Merges into a live model.

    Args:
        workload: what is merged and scored.
        batch_size: rows of a forward pass. mergekit-evolve hands its --batch-size to a function
            that ignores it for a live model; it always uses 1, the default of `HFLM`.
    """

    def __init__(self, workload: Workload, batch_size: int) -> None:
        self._common = common = _Common(workload, batch_size)
        first = common.recipe(workload.genotypes[0])
        self._architecture = arch_info_for_config(common.genome._input_config_example)
        config = _model_out_config(first, self._architecture, trust_remote_code=False)
        config.use_cache = True
        config.dtype = torch.bfloat16
        self._config = config
        with no_init_weights():
            module = (
                transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
                .bfloat16()
                .eval()
                .requires_grad_(False)
            )
        self._model = HFLM(
            pretrained=module, batch_size=batch_size, tokenizer=str(workload.models["base"])
        )

    def evaluate(self, genotype: Sequence[float]) -> Scores:
        """Return the metric of each task."""
        common = self._common
        planner = MergePlanner(
            common.recipe(genotype), self._architecture, common.options, self._config
        )
        parameters = dict(self._model.model.named_parameters())
        executor = Executor(_plan_in_memory(planner), math_device="cpu", storage_device="cpu")
        for task, value in executor.run(quiet=True):
            parameters[task.weight_info.name].data.copy_(value, non_blocking=True)
        return common.score(self._model, None)


def _plan_in_memory(planner: MergePlanner) -> list[ReturnTensor]:
    """Do what `MergePlanner.plan_in_memory` does, without pydantic's check of each task.

    mergekit wants pydantic 2.10, and that of today refuses its own tasks there.
    """
    planner._plan()
    dtype = planner.config.out_dtype
    return [
        ReturnTensor.model_construct(
            weight_info=weight, tensor_task=task, dtype=weight.force_dtype or dtype
        )
        for weight, task in planner._tensors
    ]


class _Common:
    """What both strategies build once: genome, options and the index of the tasks."""

    def __init__(self, workload: Workload, batch_size: int | None) -> None:
        self._config = EvolMergeConfiguration.model_validate(workload.evolve_configuration())
        self._batch_size = batch_size
        self._manager = TaskManager(include_path=[str(workload.tasks)], include_defaults=False)
        self.genome = ModelGenome(self._config.genome)
        # Those of the command, with --no-merge-cuda.
        self.options = MergeOptions(
            transformers_cache=str(workload.folder / "transformers_cache"),
            lora_merge_cache=str(workload.folder / "lora_merge_cache"),
            cuda=False,
            low_cpu_memory=False,
            out_shard_size=1_000_000_000_000,
            quiet=True,
            read_to_gpu=False,
            copy_tokenizer=True,
            safe_serialization=True,
        )

    def recipe(self, genotype: Sequence[float]) -> Any:
        """Return mergekit's configuration of a candidate."""
        return self.genome.genotype_merge_config(torch.tensor(genotype, dtype=torch.float64))

    def score(self, model: Any, model_args: Any) -> Scores:
        """Return the metric of each task, as mergekit-evolve asks for it."""
        results = simple_evaluate(
            model=model,
            model_args=model_args,
            tasks=list({task.name for task in self._config.tasks}),
            log_samples=False,
            verbosity="WARNING",
            task_manager=self._manager,
            num_fewshot=self._config.num_fewshot,
            limit=self._config.limit,
            batch_size=self._batch_size,
            device="cpu",  # there is no GPU, which is what it would take first
            apply_chat_template=self._config.apply_chat_template,
            fewshot_as_multiturn=self._config.fewshot_as_multiturn,
        )["results"]
        return {task.name: results[task.name][task.metric] for task in self._config.tasks}
