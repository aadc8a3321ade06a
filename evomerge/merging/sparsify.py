"""Which elements of a task vector are kept, and how the rest is made up for.

`magnitude` is the trimming of TIES (Yadav et al. 2023, arXiv 2306.01708), `random` the dropping of
DARE (Yu et al. 2024, arXiv 2311.03099). A density of 1 or more returns the task vector untouched.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from evomerge.merging.random import Stream

Rescale: TypeAlias = Literal["none", "l1", "inverse_density"]
_GUARD = 1e-7  # below this sum of magnitudes there is nothing to match


def kept_count(density: float, n: int) -> int:
    """Return how many of `n` elements magnitude trimming keeps, at least one."""
    return max(1, int(density * n))


def magnitudes_of(delta: Tensor) -> Tensor:
    """Return the flat magnitudes that order a tensor, in float32 at least."""
    return delta.reshape(-1).abs().to(torch.promote_types(delta.dtype, torch.float32))


def threshold(magnitudes: Tensor, k: int) -> float:
    """Return the k-th largest of flat magnitudes."""
    position = magnitudes.numel() - k
    if magnitudes.device.type == "cpu":
        # Five times as fast as torch.kthvalue, which is what other devices have.
        return float(np.partition(magnitudes.numpy(), position)[position])
    return float(torch.kthvalue(magnitudes, position + 1).values)


def magnitude_mask(magnitudes: Tensor, k: int) -> Tensor:
    """Mark exactly the k largest magnitudes; among equals those with the lowest index.

    Args:
        magnitudes: flat.
        k: 1 <= k <= magnitudes.numel().

    Returns:
        Flat bool. NaN counts as large, so that it reaches the result and is seen.
    """
    smallest_kept = threshold(magnitudes, k)
    mask = (magnitudes <= smallest_kept).logical_not_()
    missing = k - int(mask.count_nonzero())
    if missing > 0:
        mask[(magnitudes == smallest_kept).nonzero()[:missing, 0]] = True
    return mask


def magnitude(delta: Tensor, density: float, rescale: Rescale, *, compat: bool) -> Tensor:
    """Keep the max(1, trunc(density * n)) elements of largest magnitude."""
    if density >= 1:
        return delta
    if density <= 0 or delta.numel() == 0:
        return torch.zeros_like(delta)
    k = kept_count(density, delta.numel())
    mask = magnitude_mask(magnitudes_of(delta), k).view(delta.shape)
    return rescaled(delta, mask, density, rescale, compat=compat)


def random(
    delta: Tensor, density: float, rescale: Rescale, stream: Stream, *, compat: bool
) -> Tensor:
    """Keep each element with probability `density`, decided by its own random number."""
    if density >= 1:
        return delta
    mask = stream.mask(delta.numel(), density, delta.device).view(delta.shape)
    return rescaled(delta, mask, density, rescale, compat=compat)


def rescaled(
    delta: Tensor, mask: Tensor, density: float, rescale: Rescale, *, compat: bool
) -> Tensor:
    """Apply a mask and make up for what it removed.

    Args:
        delta: the task vector.
        mask: bool, same shape.
        density: nominal kept fraction, above 0 where it divides.
        rescale: 'l1' matches the sum of magnitudes before masking, 'inverse_density' divides by
            the density (unbiased, as DARE is published), 'none' leaves the kept values alone.
        compat: sum in the work dtype, as mergekit 0.1.5 does; otherwise in float64, so that the
            factor does not depend on how a device orders a sum.
    """
    if compat and delta.dtype == torch.float16:
        # mergekit masks and rescales float16 in float32 on the CPU.
        return rescaled(delta.float(), mask, density, rescale, compat=compat).half()
    kept = delta * mask
    if rescale == "none" or density <= 0:
        return kept
    if rescale == "inverse_density":
        return kept.div_(density)
    dtype = None if compat else torch.float64
    before, after = delta.abs().sum(dtype=dtype), kept.abs().sum(dtype=dtype)
    if before < _GUARD or after < _GUARD:
        return kept
    return kept.mul_((before / after).to(delta.dtype))
