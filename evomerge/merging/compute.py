"""One output tensor, computed: the only place where kernels run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import CheckpointError, NonFiniteMerge
from evomerge.merging.alignment import align
from evomerge.merging.checkpoint import update_digest
from evomerge.merging.memory import Memory
from evomerge.merging.method import Group
from evomerge.merging.plan import Plan, TensorMerge
from evomerge.merging.random import Stream
from evomerge.recipe.layout import Layout


def compute(
    merge: TensorMerge,
    memory: Memory,
    *,
    keep_inputs: bool = True,
    device: torch.device | None = None,
) -> Tensor:
    """Merge one tensor and round it once, to its output dtype.

    The result may share memory with an input and is to be treated as read-only.

    Args:
        merge: what to compute.
        memory: reads the inputs.
        keep_inputs: whether they will be merged again.
        device: where; that of the memory by default.

    Raises:
        CheckpointError: an input cannot be read, copies differ, or the method changed the shape.
    """
    tensors = [
        memory.load(source.checkpoint, source.tensor, keep=keep_inputs, device=device)
        for source in merge.inputs
    ]
    if merge.positions is not None:
        tensors = align(tensors, merge.positions, merge.origin)
    if merge.copied:
        for source, tensor in zip(merge.inputs[1:], tensors[1:], strict=True):
            if not torch.equal(tensor, tensors[0]):
                raise CheckpointError(
                    f"tensor '{merge.name}' holds no floating-point numbers and differs between "
                    f"'{merge.inputs[0].checkpoint.label}' and '{source.checkpoint.label}'; "
                    "such tensors are copied and must be equal"
                )
        return tensors[0].to(merge.out)
    group = Group(
        name=merge.name,
        inputs=tuple(tensor.to(merge.work).contiguous() for tensor in tensors),
        base_index=merge.base_index,
        streams=tuple(Stream(merge.seed, s.donor, s.tensor) for s in merge.inputs),
        compat=merge.compat,
    )
    result = merge.method.kernel(group, **merge.arguments)
    if result.shape != merge.shape:
        raise CheckpointError(
            f"tensor '{merge.name}': method '{merge.method.name}' returned shape "
            f"{tuple(result.shape)}, its inputs have {merge.shape}; mend the method"
        )
    return result.to(merge.out)


class FiniteCheck:
    """Whether merged tensors are free of inf and NaN; the answer is waited for once, for all.

    A NaN is both the least and the greatest of any numbers to `aminmax`, which passes over a
    tensor once, in its own dtype.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[str, Tensor]] = []
        self._extremes: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Look at a tensor, which must not change before `require`."""
        if tensor.is_floating_point() and tensor.numel():
            self._seen.append((name, tensor))
            alike = self._extremes.setdefault((tensor.device, tensor.dtype), [])
            alike.extend(tensor.aminmax())

    def require(self) -> None:
        """Refuse them if one holds inf or NaN.

        Raises:
            NonFiniteMerge: naming the first, and how many of its values.
        """
        if all(torch.isfinite(torch.stack(alike)).all() for alike in self._extremes.values()):
            return
        for name, tensor in self._seen:
            count = int((~torch.isfinite(tensor)).sum())
            if count:
                raise NonFiniteMerge(
                    f"tensor '{name}': {count} of {tensor.numel()} merged values are inf or NaN; "
                    "weights too large, or too near to cancelling out"
                )


def require_finite(name: str, tensor: Tensor) -> None:
    """Refuse a merged tensor that holds inf or NaN.

    Raises:
        NonFiniteMerge: saying how many of its values.
    """
    check = FiniteCheck()
    check.add(name, tensor)
    check.require()


class MergedCheckpoint:
    """The result of a nested recipe, read like a checkpoint; each tensor is merged when read.

    Args:
        plan: of the nested recipe.
        label: how messages name it.
        memory: shared with the outer merge; says where the arithmetic runs.
    """

    def __init__(self, plan: Plan, label: str, memory: Memory) -> None:
        self._plan = plan
        self._memory = memory
        self.label = label
        self.constant = False
        self.config: Mapping[str, Any] = plan.config
        self.names = tuple(sorted(plan.tensors))
        self.layout = Layout.of(self.names, str(self.config.get("model_type", "")))
        self.tokenizer = plan.tokenizer
        self.folder: Path = plan.tokenizer.folder

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a merged tensor without merging it."""
        return self._plan.tensors[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype a merged tensor is rounded to."""
        return self._plan.tensors[name].out

    def tensor(self, name: str) -> Tensor:
        """Merge one tensor."""
        return compute(self._plan.tensors[name], self._memory)

    def digest(self) -> str:
        """Return the sha256 of the merged weights, equal to that of the written checkpoint."""
        digest = hashlib.sha256()
        for name in self.names:
            update_digest(digest, name, self.tensor(name))
        return digest.hexdigest()
