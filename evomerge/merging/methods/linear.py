"""Weighted averages: Wortsman et al. 2022, "Model soups", arXiv 2203.05482."""

from __future__ import annotations

import torch
from torch import Tensor

from evomerge.merging.method import Group, PerInput, merge_method


@merge_method(base="ignored", nonzero_sum="weight")
def linear(group: Group, *, weight: PerInput[float], normalize: bool = True) -> Tensor:
    """Return sum_i w_i x_i, divided by sum_i w_i if `normalize`."""
    work = group.inputs[0].dtype
    accumulator = torch.promote_types(work, torch.float32)
    # Coefficients are rounded to the accumulator's precision first, as a tensor of them would be.
    weights = torch.tensor(weight, dtype=accumulator)
    out = torch.zeros_like(group.inputs[0], dtype=accumulator)
    for tensor, w in zip(group.inputs, weights.tolist(), strict=True):
        out.add_(tensor.to(accumulator), alpha=w)
    if normalize:
        out.div_(weights.sum().item())
    return out.to(work)
