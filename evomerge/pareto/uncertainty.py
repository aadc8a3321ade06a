"""How sure a front is when every score is a mean over items that might have been others.

Models are scored on the same items, and the items are resampled for all of them at once
(`evomerge.pareto.bootstrap.resampled_means`): in each resample every model has costs of its own,
who dominates whom can be read off, and so can the front and its hypervolume. The share of
resamples in which something holds is the bootstrap's estimate of its probability. That a model is
dominated by nobody on the items at hand says little when its lead is smaller than their noise.

    costs = [sign * resampled_means(scores, seed) for ...]      # one an objective
    resampled = np.stack(costs, axis=2)                         # (n_models, n_resamples, n_obj.)

Objectives that are scored on the same items need the same seed, others different ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.bootstrap import Interval, interval_of
from evomerge.pareto.hypervolume import hypervolume

_BLOCK = 4_000_000  # comparisons held at once: a few times 4 MB
_EQUAL = 1e-12  # of an objective's largest cost: equal means may differ in their last bits


@dataclass(frozen=True, slots=True, eq=False)
class DominanceProbabilities:
    """Who dominates whom, as a share of resamples.

    Attributes:
        non_dominated: that no other model dominates it, (n_models,).
        dominates: [i, j] that model i dominates model j, (n_models, n_models).
    """

    non_dominated: NDArray[np.float64]
    dominates: NDArray[np.float64]


def dominance_probabilities(resampled: ArrayLike) -> DominanceProbabilities:
    """Return the probability of each dominance, and of each model to be on the front.

    Models of equal costs do not dominate one another. Needs about 16 MB beside its input and its
    result; time grows with n_models² × n_resamples × n_objectives.

    Args:
        resampled: minimised costs of each resample, (n_models, n_resamples, n_objectives).

    Raises:
        ValueError: the shape is wrong, an axis is empty, or a cost is not finite.
    """
    costs = _resampled(resampled)
    n_models, n_resamples, n_objectives = costs.shape
    slack = _EQUAL * np.abs(costs).max(axis=(0, 1))
    free = np.zeros(n_models)
    dominating = np.zeros((n_models, n_models))
    step = max(1, _BLOCK // n_models**2)
    for start in range(0, n_resamples, step):
        block = costs[:, start : start + step].transpose(1, 0, 2)
        no_worse = np.ones((len(block), n_models, n_models), dtype=bool)
        for column in range(n_objectives):
            one = block[:, :, column]
            no_worse &= one[:, :, None] <= one[:, None, :] + slack[column]
        # No worse, and not the other way round as well: better somewhere.
        beats = no_worse & ~no_worse.transpose(0, 2, 1)
        free += (~beats.any(axis=1)).sum(axis=0)
        dominating += beats.sum(axis=0)
    return DominanceProbabilities(free / n_resamples, dominating / n_resamples)


def resampled_hypervolumes(resampled: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the hypervolume of the models in each resample, (n_resamples,).

    Noise makes a front look larger, because whoever is lucky is on it: these volumes lie above
    that of the scores as they stand, which itself lies above that of the true means.

    Args:
        resampled: minimised costs of each resample, (n_models, n_resamples, n_objectives).
        reference: (n_objectives,); points not strictly below it contribute nothing.

    Raises:
        ValueError: the shape is wrong, an axis is empty, or a value is not finite.
    """
    costs = _resampled(resampled)
    return np.array([hypervolume(costs[:, one], reference) for one in range(costs.shape[1])])


def hypervolume_interval(
    costs: ArrayLike, resampled: ArrayLike, reference: ArrayLike, confidence: float = 0.95
) -> Interval:
    """Return the hypervolume of models, and an interval for that of their true means.

    The basic bootstrap interval (Davison & Hinkley, 1997, Sec. 5.2): by how much resampling moves
    the volume is taken off the volume as it stands. Noise pushes both up, see
    `resampled_hypervolumes`, so that the interval lies lower than the volume and need not hold
    it; the percentile interval would err to the other side and miss the true volume of a
    close-packed front nearly always.

    Args:
        costs: minimised, as scored, (n_models, n_objectives).
        resampled: of the same models, (n_models, n_resamples, n_objectives).
        reference: (n_objectives,).
        confidence: probability that the interval is to cover, in (0, 1).

    Raises:
        ValueError: a shape is wrong, a value not finite, or `confidence` out of range.
    """
    volume = hypervolume(costs, reference)
    moved = interval_of(volume, resampled_hypervolumes(resampled, reference), confidence)
    return Interval(volume, max(0.0, 2 * volume - moved.high), max(0.0, 2 * volume - moved.low))


def _resampled(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"resampled costs must have shape (n_models, n_resamples, n_objectives), "
            f"got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError("resampled costs must be finite")
    return array
