"""Percentile bootstrap over evaluation items (Efron & Tibshirani, 1993, ch. 13 and 16).

Items are what is random: a score is the mean over the items that happened to be in the set, and
resampling them with replacement shows how far it would move with others. Two models are compared
on the same items (paired), which removes the items' difficulty from the difference. With fewer
than about 30 items the intervals are a little too narrow. Where all items score the same every
resample does too: the percentile interval then has no width and says nothing of other items.
`agreed_interval` is for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 2_000_000  # counts drawn at once: 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval that resampling gives it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much higher the first of two models scores on the same items.

    Attributes:
        difference: mean of the first minus mean of the second.
        low: lower end of the interval.
        high: upper end of the interval.
        probability_better: share of resamples in which the first scores higher, ties half.
    """

    difference: float
    low: float
    high: float
    probability_better: float


def mean_interval(
    scores: ArrayLike, seed: int, n_resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Return the mean of per-item scores and its bootstrap interval.

    Args:
        scores: (n_items,), at least one.
        seed: of the resampling; the same seed and number of items draw the same resamples.
        n_resamples: how often items are drawn.
        confidence: probability that the interval is to cover, in (0, 1).

    Raises:
        ValueError: scores are empty, not one-dimensional or not finite, or an option is out of
            range.
    """
    return stratified_interval([scores], seed, n_resamples, confidence)


def stratified_interval(
    groups: Sequence[ArrayLike], seed: int, n_resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Return the mean over groups of their mean scores, and its bootstrap interval.

    Each group (the items of one objective) is resampled by itself and weighs the same, however
    many items it has.

    Args:
        groups: arrays (n_items of the group,), each at least one item.
        seed: of the resampling.
        n_resamples: how often items are drawn.
        confidence: probability that the interval is to cover, in (0, 1).

    Raises:
        ValueError: as `mean_interval`.
    """
    arrays = [_scores(group) for group in groups]
    mean, resampled = _stratified(arrays, seed, n_resamples)
    return interval_of(mean, resampled, confidence)


def paired_difference(
    a: ArrayLike, b: ArrayLike, seed: int, n_resamples: int = 2000, confidence: float = 0.95
) -> PairedDifference:
    """Return how much higher `a` scores than `b` on the same items, with a bootstrap interval.

    Args:
        a: scores of the first model, (n_items,).
        b: scores of the second model on the same items in the same order, (n_items,).
        seed: of the resampling.
        n_resamples: how often items are drawn.
        confidence: probability that the interval is to cover, in (0, 1).

    Raises:
        ValueError: shapes differ, or as `mean_interval`.
    """
    return stratified_difference([(a, b)], seed, n_resamples, confidence)


def stratified_difference(
    groups: Sequence[tuple[ArrayLike, ArrayLike]],
    seed: int,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> PairedDifference:
    """Return the mean over groups of the paired difference, with a bootstrap interval.

    Args:
        groups: per objective the scores of both models on its items.
        seed: of the resampling.
        n_resamples: how often items are drawn.
        confidence: probability that the interval is to cover, in (0, 1).

    Raises:
        ValueError: as `paired_difference`.
    """
    differences = []
    for first, second in groups:
        a, b = _scores(first), _scores(second)
        if a.shape != b.shape:
            raise ValueError(f"both models need the same items, got {len(a)} and {len(b)}")
        differences.append(a - b)
    mean, resampled = _stratified(differences, seed, n_resamples)
    return difference_of(mean, resampled, confidence)


def resampled_means(scores: ArrayLike, seed: int, n_resamples: int = 2000) -> NDArray[np.float64]:
    """Return the mean of each resample of the items, for several models at once.

    Every row sees the same resamples, and so does a later call with the same seed and number of
    items: rows may be compared resample by resample. Equal scores give their value exactly.

    Args:
        scores: (n_models, n_items).
        seed: of the resampling.
        n_resamples: how often items are drawn.

    Returns:
        (n_models, n_resamples).

    Raises:
        ValueError: the shape is wrong, there is no item, or a score is not finite.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(f"scores must have shape (n_models, n_items), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("scores must be finite")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    rng = np.random.default_rng(seed)
    n_items = matrix.shape[1]
    # Deviations from the first item are what is summed: they are exactly 0 when all scores agree.
    deviations = matrix - matrix[:, :1]
    means = np.empty((len(matrix), n_resamples))
    step = max(1, _BLOCK // n_items)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(n_items, size=(size, n_items))
        drawn += np.arange(size)[:, None] * n_items
        counts = np.bincount(drawn.ravel(), minlength=size * n_items).reshape(size, n_items)
        means[:, start : start + size] = deviations @ counts.T.astype(np.float64) / n_items
    return np.asarray(means + matrix[:, :1])


def interval_of(mean: float, resampled: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Return the percentile interval of a mean from its resamples, (n_resamples,).

    Raises:
        ValueError: `confidence` does not lie between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(mean, float(low), float(high))


def agreed_interval(
    value: float, n_items: int, bounds: tuple[float, float], confidence: float = 0.95
) -> Interval:
    """Return the interval of a mean whose items all score `value`, where resampling knows nothing.

    By Clopper & Pearson (1934) at most the share u of all items scores anything else, if none of
    n_items does, and such items lie between the bounds: the mean is between value - u (value - low)
    and value + u (high - value). For scores of 0 and 1 that is the exact interval of a proportion.

    Args:
        value: of every item.
        n_items: how many items there are, at least one.
        bounds: lowest and highest score that an item can have.
        confidence: probability, at least, that the interval covers, in (0, 1).

    Raises:
        ValueError: `value` is out of bounds, or there is no item, or `confidence` is out of range.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 -- slow import

    low, high = bounds
    if not low <= value <= high:
        raise ValueError(f"value must lie between {low} and {high}, got {value}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if n_items < 1:
        raise ValueError(f"n_items must be at least 1, got {n_items}")
    others = float(binomtest(0, n_items).proportion_ci(confidence, method="exact").high)
    return Interval(value, value - others * (value - low), value + others * (high - value))


def difference_of(
    difference: float, resampled: NDArray[np.float64], confidence: float = 0.95
) -> PairedDifference:
    """Return a paired difference from the resamples of the per-item differences, (n_resamples,).

    Raises:
        ValueError: `confidence` does not lie between 0 and 1.
    """
    interval = interval_of(difference, resampled, confidence)
    better = float((resampled > 0).mean() + 0.5 * (resampled == 0).mean())
    return PairedDifference(difference, interval.low, interval.high, better)


def _stratified(
    groups: Sequence[NDArray[np.float64]], seed: int, n_resamples: int
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean over groups and its value in each resample, (n_resamples,)."""
    if not groups:
        raise ValueError("at least one group of scores is needed")
    # The first group draws from the seed itself, so that one group is the plain bootstrap.
    streams = [seed, *np.random.SeedSequence(seed).generate_state(len(groups) - 1, np.uint64)]
    resampled = [
        resampled_means(group[None, :], int(stream), n_resamples)[0]
        for stream, group in zip(streams, groups, strict=True)
    ]
    mean = sum(_mean(group) for group in groups) / len(groups)
    return mean, np.mean(resampled, axis=0)


def _mean(scores: NDArray[np.float64]) -> float:
    return float(scores[0] + (scores - scores[0]).mean())


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"scores must have shape (n_items,) with an item, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"item {int(np.flatnonzero(~np.isfinite(array))[0])} has no finite score")
    return array
