"""What every arm gets: checkpoints, tasks with their items, a genome, and the same candidates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from evomerge import zoo
from evomerge.study import StudyConfig, prepare
from evomerge.study.course import Course

DONORS: Mapping[str, str] = {"sort-up": "sort_up", "flip": "flip"}
"""Donor to the task it was trained on."""
PICK = "pick_sort_up"
"""Answers of sort_up as questions of four choices."""
METRICS: Mapping[str, str] = {
    "sort_up": "exact_match,none",
    "flip": "exact_match,none",
    PICK: "acc,none",
}
LONGEST_ANSWER = 12  # tokens; one is a character, and answers have at most 11
SEED = 1
LARGE = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
}
"""Of a Llama with 85M parameters; the rest of its configuration is the zoo's."""


@dataclass(frozen=True)
class Workload:
    """A folder with all that an arm reads.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @property
    def models(self) -> dict[str, Path]:
        """Name to checkpoint, in bfloat16, to which mergekit-evolve converts its models first."""
        return {name: self.folder / "models" / name for name in ("base", *DONORS)}

    @property
    def tasks(self) -> Path:
        """The folder with the YAML files of the tasks."""
        return self.folder / "tasks"

    @property
    def genotypes(self) -> list[list[float]]:
        """Of the candidates, in order."""
        found: list[list[float]] = json.loads((self.folder / "genotypes.json").read_text())
        return found

    def evolve_configuration(self) -> dict[str, Any]:
        """Return the configuration file of mergekit-evolve."""
        models = self.models
        return {
            "genome": {
                "models": [str(models[name]) for name in DONORS],
                "base_model": str(models["base"]),
                "merge_method": "task_arithmetic",
                "layer_granularity": 2,
                "normalize": False,
            },
            "tasks": [{"name": task, "metric": metric} for task, metric in METRICS.items()],
            "apply_chat_template": False,
        }

    def study(
        self, objectives: Mapping[str, Mapping[str, Any]], candidates: int, backend: str
    ) -> StudyConfig:
        """Return the same search as a study of ours, which proposes the same candidates."""
        models = self.models
        return StudyConfig.model_validate(
            {
                "name": "speed",
                "seed": SEED,
                "models": {
                    "base": str(models["base"]),
                    "donors": {name: str(models[name]) for name in DONORS},
                },
                "space": {
                    "genome": "mergekit-evolve",
                    "merge_method": "task_arithmetic",
                    "models": list(DONORS),
                    "layer_granularity": 2,
                    "normalize": False,
                },
                "objectives": {name: dict(one) for name, one in objectives.items()},
                "search": {
                    "optimizer": "pycma",
                    "seeds": False,
                    "scalarize": "mean",
                    "sigma0": 0.5,
                    # One generation: what it proposes depends on the seed alone.
                    "population": max(candidates, 3),  # pycma takes no fewer
                },
                "budget": {"trials": candidates},
                "front": {"size": 1, "baselines": []},
                "workers": {"backend": backend, "count": 1, "threads": 1},
                "dtype": "bfloat16",
            }
        )

    def harness_objectives(self, **options: Any) -> dict[str, dict[str, Any]]:
        """Return the tasks as objectives of `fitness: lm_eval`."""
        return {
            task: {
                "fitness": "lm_eval",
                "tasks": [task],
                "metric": metric,
                "include_path": str(self.tasks),
                "search": {"docs": [0, None]},
                **options,
            }
            for task, metric in METRICS.items()
        }

    def own_objectives(self, batch_size: int) -> dict[str, dict[str, Any]]:
        """Return the same items as objectives of fitnesses without the harness."""
        written = {"fitness": "exact_match", "max_new_tokens": LONGEST_ANSWER}
        chosen = {"fitness": "multiple_choice", "answer_field": "gold"}
        return {
            task: {
                **(chosen if task == PICK else written),
                "search": str(self.tasks / f"{task}.jsonl"),
                "batch_size": batch_size,
            }
            for task in METRICS
        }


def build(folder: Path, *, size: str, items: int, candidates: int) -> Workload:
    """Write a workload into a new folder.

    Args:
        folder: made.
        size: 'zoo' or 'large'.
        items: of each task.
        candidates: how many.
    """
    folder.mkdir(parents=True)
    workload = Workload(folder.resolve())
    if size == "zoo":
        _write_zoo(workload.models)
    else:
        _write_large(workload.models)
    _write_tasks(workload.tasks, items)
    study = workload.study(workload.own_objectives(1), candidates, "inline")
    prepared = prepare(study, workload.folder)
    optimizer = prepared.optimizer(Course(prepared).parts[0])
    proposals = [optimizer.ask(number) for number in range(candidates)]
    genotypes = [list(proposal.genotype) for proposal in proposals if proposal is not None]
    (workload.folder / "genotypes.json").write_text(json.dumps(genotypes), encoding="utf-8")
    return workload


def _write_zoo(models: Mapping[str, Path]) -> None:
    """Write the shipped models in bfloat16."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  # takes seconds

    for name, folder in models.items():
        source = zoo.path() / "models" / name
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        _copy_tokenizer(folder)


def _write_large(models: Mapping[str, Path]) -> None:
    """Write a base of random weights, and donors that differ from it by a little noise."""
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    settings = AutoConfig.from_pretrained(zoo.path() / "models" / "base")
    for key, value in LARGE.items():
        setattr(settings, key, value)
    settings.dtype = torch.bfloat16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(settings, dtype=torch.bfloat16)
        base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for name, folder in models.items():
            if name != "base":
                model.load_state_dict(
                    {key: one + 0.005 * torch.randn_like(one) for key, one in base.items()}
                )
            model.save_pretrained(folder)
            _copy_tokenizer(folder)


def _copy_tokenizer(folder: Path) -> None:
    for file in (zoo.path() / "models" / "base").glob("*token*"):
        shutil.copy(file, folder)


def _write_tasks(folder: Path, items: int) -> None:
    """Write the tasks as YAML files of lm-eval, and their items."""
    folder.mkdir()
    for task, metric in METRICS.items():
        source = "sort_up" if task == PICK else task
        path = zoo.path() / "data" / f"{source}.search.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()[:items]]
        if task == PICK:
            rows = [_with_choices(row, number) for number, row in enumerate(rows)]
        data = folder / f"{task}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        configuration = {
            "task": task,
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {"test": str(data)},
                "cache_dir": str(folder / "cache"),
            },
            "test_split": "test",
            "doc_to_text": "{{prompt}}",
            "target_delimiter": "",
            "metric_list": [
                {
                    "metric": metric.split(",", maxsplit=1)[0],
                    "aggregation": "mean",
                    "higher_is_better": True,
                }
            ],
            **_answering(task),
        }
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")


def _answering(task: str) -> dict[str, Any]:
    if task == PICK:
        return {
            "output_type": "multiple_choice",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold",
        }
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "until": ["</s>"],
            "max_gen_toks": LONGEST_ANSWER,
            "do_sample": False,
        },
    }


def _with_choices(row: dict[str, Any], number: int) -> dict[str, Any]:
    """Make a question of four choices: the answer, and its numbers in wrong orders."""
    answer = row["answer"]
    numbers = answer.split()
    swapped = [*numbers[1::-1], *numbers[2:]]
    turned = [numbers[-1], *numbers[:-1]]
    wrong = [" ".join(order) for order in (numbers[::-1], swapped, turned)]
    gold = number % 4
    return row | {"gold": gold, "choices": [*wrong[:gold], answer, *wrong[gold:]]}
