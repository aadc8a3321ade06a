"""The task-arithmetic family: base + lambda * combination of task vectors.

Task arithmetic: Ilharco et al. 2023, arXiv 2212.04089. TIES: Yadav et al. 2023, arXiv 2306.01708.
DARE: Yu et al. 2024, arXiv 2311.03099. Each tensor is merged by itself:

    d_i = sparsify(x_i - b)          D_i = weight_i d_i
    consensus:  s = sign(sum_i D_i), a sum of zero counting as +;  only D_i with sign s are summed
    normalize:  divide by the sum of the weights that were summed
    out = b + lambda * sum
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from evomerge.merging.method import Group, PerDonor, each, merge_method
from evomerge.merging.sparsify import Rescale, magnitude, random

Pieces: TypeAlias = Callable[[slice], list[Tensor]]
"""Gives the same part of each flattened task vector, to be overwritten."""

_CHUNK = 1 << 18  # elements; the pieces of a few donors fit a core's cache
KEEP_ALL = each(1.0)
_NO_WEIGHT = 1e-8  # a sum of weights below this does not divide


@merge_method(base="required", inert=("density", "rescale", "int8_mask"))
def task_arithmetic(
    group: Group, *, weight: PerDonor[float], normalize: bool = False, lambda_: float = 1.0
) -> Tensor:
    """Add the weighted task vectors to the base."""
    base = group.base.reshape(-1)
    donors = [donor.reshape(-1) for donor in group.donors]

    def deltas(piece: slice) -> list[Tensor]:
        return [donor[piece] - base[piece] for donor in donors]

    return combine(group, deltas, weight, normalize, lambda_, consensus=False)


@merge_method(base="required", inert=("int8_mask",))
def ties(
    group: Group,
    *,
    weight: PerDonor[float],
    density: PerDonor[float] = KEEP_ALL,
    normalize: bool = True,
    rescale: Rescale = "none",
    lambda_: float = 1.0,
) -> Tensor:
    """Trim each task vector to its largest magnitudes, elect signs, average what agrees."""
    deltas = [
        magnitude(delta, kept, rescale, compat=group.compat)
        for delta, kept in zip(_deltas(group), density, strict=True)
    ]
    return combine(group, _cut(deltas), weight, normalize, lambda_, consensus=True)


@merge_method(base="required", inert=("int8_mask",))
def dare_linear(
    group: Group,
    *,
    weight: PerDonor[float],
    density: PerDonor[float] = KEEP_ALL,
    normalize: bool = False,
    rescale: Rescale = "l1",
    lambda_: float = 1.0,
) -> Tensor:
    """Drop elements of the task vectors at random, make up for them, and add."""
    deltas = _cut(_dropped(group, density, rescale))
    return combine(group, deltas, weight, normalize, lambda_, consensus=False)


@merge_method(base="required", inert=("int8_mask",))
def dare_ties(
    group: Group,
    *,
    weight: PerDonor[float],
    density: PerDonor[float] = KEEP_ALL,
    normalize: bool = False,
    rescale: Rescale = "l1",
    lambda_: float = 1.0,
) -> Tensor:
    """Drop elements of the task vectors at random, then elect signs as TIES does."""
    deltas = _cut(_dropped(group, density, rescale))
    return combine(group, deltas, weight, normalize, lambda_, consensus=True)


def combine(
    group: Group,
    deltas: Pieces,
    weight: tuple[float, ...],
    normalize: bool,
    lambda_: float,
    *,
    consensus: bool,
) -> Tensor:
    """Weight sparsified task vectors, sum them (by sign consensus or not) and add the base."""
    base = group.base
    if not weight:
        return base
    weights = torch.tensor(weight, dtype=base.dtype, device=base.device)
    divisor = weights.sum()
    if normalize and not consensus and divisor.abs() < _NO_WEIGHT:
        divisor.fill_(1)
    out = torch.empty_like(base)
    flat_base, flat_out = base.reshape(-1), out.view(-1)
    # Element by element from here on: pieces bound the memory and stay in the cache.
    for start in range(0, flat_base.numel(), _CHUNK):
        piece = slice(start, start + _CHUNK)
        if consensus:
            mixed, agrees = _sum_of_agreeing(deltas(piece), weights)
            if normalize:
                divisor = (weights[:, None] * agrees).sum(dim=0)
                divisor[divisor == 0] = 1
        else:
            mixed = _weighted_sum(deltas(piece), weight)
        if normalize:
            mixed.div_(divisor)
        if lambda_ != 1:
            mixed.mul_(lambda_)
        torch.add(flat_base[piece], mixed, out=flat_out[piece])
    return out


def _sum_of_agreeing(pieces: list[Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the weighted pieces that have the sign of their sum; also returns which these are."""
    stacked = torch.stack(pieces).mul_(weights[:, None])
    positive = stacked.sum(dim=0) >= 0
    # Zeros have no sign and agree with nothing: they must not enter the divisor.
    agrees = torch.where(positive, stacked > 0, stacked < 0)
    return stacked.mul_(agrees).sum(dim=0), agrees


def _weighted_sum(pieces: list[Tensor], weight: tuple[float, ...]) -> Tensor:
    """Return sum_i w_i x_i: weights and products in the pieces' dtype, the sum rounded to it once.

    A reduction over few rows takes several times as long as adding them one by one. Up to four it
    adds in that order too, so the results are equal; but in 16 bits a second addition would round
    what the reduction does not.
    """
    dtype = pieces[0].dtype
    rounded = _rounded(weight, dtype)
    products = [piece.mul_(w) for piece, w in zip(pieces, rounded, strict=True)]
    if len(products) > (4 if dtype.itemsize >= 4 else 2):
        return torch.stack(products).sum(dim=0)
    mixed = products[0]
    for other in products[1:]:
        mixed.add_(other)
    return mixed


@lru_cache(maxsize=256)
def _rounded(weight: tuple[float, ...], dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(torch.tensor(weight, dtype=dtype).tolist())


def _cut(deltas: Sequence[Tensor]) -> Pieces:
    flats = [delta.reshape(-1) for delta in deltas]
    return lambda piece: [flat[piece] for flat in flats]


def _deltas(group: Group) -> list[Tensor]:
    return [donor - group.base for donor in group.donors]


def _dropped(group: Group, density: tuple[float, ...], rescale: Rescale) -> list[Tensor]:
    return [
        random(delta, kept, rescale, group.streams[i], compat=group.compat)
        for i, delta, kept in zip(group.donor_indices, _deltas(group), density, strict=True)
    ]
