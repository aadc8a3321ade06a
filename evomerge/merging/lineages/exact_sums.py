"""Inner products in float64 that come out the same on every machine.

Products of float32 numbers are exact in float64. They are summed by halving: the upper half of
the vector is added to the lower, element by element, until few lanes are left, whose sum is
rounded once (`math.fsum`). No step leaves its order to a library.
"""

from __future__ import annotations

import math

from torch import Tensor

_LANES = 4096


def dot(x: Tensor, y: Tensor) -> float:
    """Return the inner product of two float64 vectors."""
    total = x * y
    n = total.numel()
    while n > _LANES:
        half = -(-n // 2)
        total[: n - half].add_(total[half:n])
        n = half
    return _rounded(total[:n].tolist())


def precise_dot(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the inner product of two float64 vectors as a float and what it is rounded by.

    Differences of such sums keep their digits. Each addition keeps its rounding error (Knuth 1969,
    The Art of Computer Programming 2, 4.2.2, theorem B).
    """
    total = x * y
    errors = total.new_zeros(total.shape)
    n = total.numel()
    while n > _LANES:
        half = -(-n // 2)
        a, b = total[: n - half], total[half:n]
        added = a + b
        from_b = added - a
        lost = (a - (added - from_b)) + (b - from_b)
        errors[: n - half].add_(errors[half:n]).add_(lost)
        a.copy_(added)
        n = half
    lanes = [*total[:n].tolist(), *errors[:n].tolist()]
    rounded = _rounded(lanes)
    return rounded, _rounded([*lanes, -rounded])


def _rounded(lanes: list[float]) -> float:
    """Return the sum, rounded once; NaN where it is no number."""
    try:
        return math.fsum(lanes)
    except (OverflowError, ValueError):  # too large, or inf - inf
        return math.nan
