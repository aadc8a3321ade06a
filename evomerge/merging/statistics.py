"""How far a merged model is from its base."""

from __future__ import annotations

import math

import torch
from torch import nn

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.targets import Targets
from evomerge.types import DeltaStatistics

_CHUNK = 1 << 22


def delta_statistics(module: nn.Module, base: Checkpoint, device: torch.device) -> DeltaStatistics:
    """Compare a resident module with a base, both read as float32, sums in float64.

    Tied tensors count once; tensors of integers, or that only one side has, do not count.

    Raises:
        CheckpointError: nothing is shared, or a shared tensor differs in shape.
    """
    sums = dict.fromkeys(("l1", "l2", "base_l1", "base_l2"), 0.0)
    zeros = elements = 0
    seen: set[int] = set()
    for name, merged, original in Targets(module, base.names).pairs(base.tensor):
        if not merged.is_floating_point() or merged.data_ptr() in seen:
            continue
        seen.add(merged.data_ptr())
        if merged.shape != original.shape:
            raise CheckpointError(
                f"tensor '{name}': shape {tuple(merged.shape)} in the module, "
                f"{tuple(original.shape)} in '{base.label}'"
            )
        a, b = merged.reshape(-1), original.reshape(-1)
        elements += a.numel()
        for start in range(0, a.numel(), _CHUNK):
            x = a[start : start + _CHUNK].to(device=device, dtype=torch.float32)
            y = b[start : start + _CHUNK].to(device=device, dtype=torch.float32)
            zeros += int((x == y).sum())
            delta, y64 = (x - y).double(), y.double()
            sums["l1"] += float(delta.abs().sum())
            sums["l2"] += float(delta.square().sum())
            sums["base_l1"] += float(y64.abs().sum())
            sums["base_l2"] += float(y64.square().sum())
    if not elements:
        raise CheckpointError(f"the module shares no tensor with '{base.label}'")
    return DeltaStatistics(
        l1=sums["l1"],
        l2=math.sqrt(sums["l2"]),
        base_l1=sums["base_l1"],
        base_l2=math.sqrt(sums["base_l2"]),
        zeros=zeros,
        elements=elements,
    )
