"""vLLM as the engine behind the same fitness: a live engine gets each candidate's weights in place.

Written for vLLM's weight transfer interface (from 0.29; read of 0.32): the worker merges into its
resident module as ever, and the engine, a process of its own on the same GPU, copies the tensors
out of that module's memory by CUDA IPC handles. Requests go through the harness's own `VLLM`
class, so that scores are those of `lm_eval --model vllm` and not of transformers: kernels, batches
and the handling of prompts that are too long differ.

None of this has been run on a GPU or with vLLM itself. What the tests run is the names and tensors
that are sent, and the flow of calls and requests, against an engine that stands in for vLLM and
computes with the weights it was sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.vllm_causallms import VLLM
from vllm.config import WeightTransferConfig
from vllm.distributed.weight_transfer import (
    ParamMeta,
    WeightSource,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

from evomerge.errors import FitnessError

_OURS = frozenset({"model", "pretrained", "tokenizer", "weight_transfer_config", "lora_local_path"})


class VllmLM(VLLM):  # type: ignore[misc]  # the harness is untyped
    """A language model of the harness whose weights change in a live vLLM engine.

    Args:
        folder: a checkpoint, read when the engine starts; later candidates have its shape.
        chat_template: which of several templates of the tokenizer writes conversations.
        engine_args: arguments of `vllm.LLM`. Leave memory for the worker's own model, such as
            `gpu_memory_utilization=0.4`.

    Raises:
        FitnessError: an argument is not the user's to choose.
    """

    def __init__(self, folder: Path, *, chat_template: str | None, **engine_args: Any) -> None:
        for name in sorted(_OURS & set(engine_args)):
            raise FitnessError(f"engine_args: '{name}' is set by evomerge; remove it")
        # Handles of GPU memory are tuples that only pickle can carry to the engine, a child process
        # of this one; nobody else can write to its pipe.
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
        super().__init__(
            pretrained=str(folder),
            weight_transfer_config=WeightTransferConfig(backend="ipc"),
            **engine_args,
        )
        if chat_template is not None:
            self.hf_chat_template = chat_template
        self._weights = CheckpointWeights()
        self._sender: Any = None
        self._shape: dict[str, Any] | None = None

    def load(self, module: Any) -> None:
        """Hand the weights of a module to the engine.

        Raises:
            FitnessError: the module is not on a GPU, or its layers are not those of the engine.
        """
        if getattr(module, "hf_device_map", None) is not None:
            raise FitnessError(
                "engine 'vllm' reads the merged weights from one GPU and this model is spread over "
                "several; remove gpus_per_worker, device_memory and offload, or the engine"
            )
        if module.device.type != "cuda":
            raise FitnessError(
                f"engine 'vllm' reads the merged weights from a GPU and they are on "
                f"'{module.device.type}'; set workers: {{device: cuda}}, or remove the engine"
            )
        shape = module.config.to_dict()
        if self._shape is None:
            self._shape = shape
        elif shape != self._shape:
            raise FitnessError(
                "engine 'vllm' takes other weights but not other layers, so it cannot score layer "
                "paths; remove the engine"
            )
        self._weights.module = module
        if self._sender is None:
            self._sender = WeightTransferTrainerFactory.trainer_init(
                init_info=IPCTrainerInitInfo(rank=0, packed=True),
                client=_EngineClient(self.model),
                source=self._weights,
            )
        self._sender.send_weights()
        self.model.reset_prefix_cache()  # what was computed with other weights


class CheckpointWeights(WeightSource):  # type: ignore[misc]  # vLLM is untyped
    """The weights of a module as its checkpoint has them: names and pieces of the file.

    A module may hold in one tensor what files have in several (the experts of a mixture), under
    other names; engines load what files have.

    Attributes:
        module: the transformers model that is read next.
    """

    module: Any = None

    def metadata(self) -> list[Any]:
        """Return name, dtype and shape of every tensor, in the order of iteration."""
        return [
            ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self._tensors()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield every tensor by name."""
        for name, tensor in self._tensors():
            yield name, tensor.contiguous()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        from transformers.core_model_loading import revert_weight_conversion  # noqa: PLC0415

        own = {name: tensor.detach() for name, tensor in self.module.named_parameters()}
        yield from revert_weight_conversion(self.module, own).items()


class _EngineClient:
    """The four calls of vLLM's weight synchronisation, on an engine of this process."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self._engine.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        self._engine.start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self._engine.update_weights({"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._engine.finish_weight_update(weight_version)
