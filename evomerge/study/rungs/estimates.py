"""What a trial that was scored on a part of the items is worth on all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.types import Bounds

Floats = NDArray[np.float64]


def difference_estimate(
    scores: Floats, measured: Sequence[Floats], n_items: int, bounds: Bounds
) -> tuple[float, float]:
    """Estimate the mean of all items from the first n, and its standard error.

    The mean of the first n plus what the trials that were scored on all items have more on all of
    them than on these: a difference estimator (Särndal, Swensson and Wretman 1992, Section 6.3)
    whose auxiliary variable is their mean. What makes a part of the items harder than all of them
    makes it so for everyone, so that estimates from rungs compare with measured scores.

    Args:
        scores: of the first n items, (n,), n >= 1.
        measured: scores of all items by the trials that have them, each (n_items,).
        n_items: N.
        bounds: of the metric; the estimate is kept within.

    Returns:
        Estimate and standard error, the latter of drawing n of N differences without replacement.
    """
    others = np.mean(measured, axis=0) if measured else np.zeros(n_items)
    difference = scores - others[: len(scores)]
    value = within(float(difference.mean() + others.mean()), bounds)
    low, high = bounds
    largest = float(np.abs(difference).max())
    if not largest:
        largest = float(np.ptp(others)) if low is None or high is None else high - low
    return value, _standard_error(difference, n_items, largest)


def within(value: float, bounds: Bounds) -> float:
    """Return a metric, or the bound it is beyond."""
    low, high = bounds
    value = value if low is None else max(low, value)
    return value if high is None else min(high, value)


def _standard_error(differences: Floats, n_items: int, largest: float) -> float:
    """Return the standard error of a mean of n of N items.

    A few differences that agree say little of how much others differ: one that is off by the
    largest of them, and one that is not, are imagined beside them (Agresti and Coull 1998). Where
    all are 0, as of items that nobody solves, the largest is what there could be.
    """
    n = len(differences)
    spread = float(np.var(differences, ddof=1)) if n > 1 else 0.0
    share = 1 / (n + 2)
    least = share * (1 - share) * largest**2
    return math.sqrt(max(spread, least) / n * (1 - n / n_items))
