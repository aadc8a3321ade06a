"""Spherical interpolation of two models: Shoemake 1985, "Animating rotation with quaternions".

As merging uses it, the angle is that between the raw tensors, taken as vectors, and the two
coefficients act on the raw tensors: norms are interpolated, nothing is renormalised.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from evomerge.merging.method import Group, merge_method

_CHUNK = 1 << 20
_PARALLEL = 0.9995  # above this |cosine| the sine in the denominator loses its digits
_TINY = 1e-8


@merge_method(base="required", min_inputs=2, max_inputs=2, singleton="pass")
def slerp(group: Group, *, t: float) -> Tensor:
    """Interpolate from the base (t = 0) to the other input (t = 1)."""
    a, b = group.base, group.donors[0]
    from_a, from_b = coefficients(cosine(a, b), t)
    work = torch.promote_types(a.dtype, torch.float32)
    out = torch.empty_like(a)
    flat_a, flat_b, flat_out = a.reshape(-1), b.reshape(-1), out.view(-1)
    for start in range(0, flat_a.numel(), _CHUNK):
        piece = slice(start, start + _CHUNK)
        flat_out[piece] = (
            flat_a[piece].to(work).mul(from_a).add_(flat_b[piece].to(work).mul(from_b))
        )
    return out


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine between two tensors; a zero tensor is orthogonal to everything.

    Sums run in float64 over fixed pieces, so the angle is the same on every device.
    """
    aa = bb = ab = 0.0
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, flat_a.numel(), _CHUNK):
        x, y = (flat[start : start + _CHUNK].double() for flat in (flat_a, flat_b))
        aa += float(x.square().sum())
        bb += float(y.square().sum())
        ab += float((x * y).sum())
    norm_a, norm_b = (norm if norm > _TINY else 1.0 for norm in (math.sqrt(aa), math.sqrt(bb)))
    return min(max(ab / norm_a / norm_b, -1.0), 1.0)


def coefficients(dot: float, t: float) -> tuple[float, float]:
    """Return what the two ends are multiplied by; (nearly) collinear ends are mixed linearly."""
    if math.isnan(dot) or abs(dot) > _PARALLEL:
        return 1 - t, t
    theta = math.acos(dot)
    return math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)
