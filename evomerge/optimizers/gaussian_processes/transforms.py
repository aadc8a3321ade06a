"""What Gaussian processes are fitted to, and the reference point on that same scale.

A cost goes through its objective's link (logit of a share, logarithm of a loss; see
`evomerge.optimizers.links`), is standardised over the costs at hand and negated: targets are
maximised, have mean 0 and variance 1. Model, hypervolume boxes and reference point all come from
one `Targets`, so that none of them can be on another scale.

The released code of MM-MO (arXiv 2407.00487) took the reference point from raw scores and the model
from standardised ones: with scores in percent nothing the model can predict exceeds the reference,
expected improvement is 0 everywhere and so is its gradient. `published_targets` keeps that rule for
comparison.

A metric that can explode should have bounds: on a logarithmic scale one broken merge does not
squeeze all others into one point.

Noise: a score of a known number of items has the binomial variance of these. Where costs are
estimates from some of a study's items, the model is of the score on all of them: that is known
exactly where it was measured, and an estimate misses it by its error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.optimizers.costs import LARGEST_COST
from evomerge.optimizers.links import IdentityLink, Link
from evomerge.pareto import non_dominated

Floats = NDArray[np.float64]

MARGIN = 0.1
"""How far the reference point lies beyond the front, as a share of the front's range.

Farther away the ends of the front count for more. On the digits toy of `experiments/pareto`, whose
volumes are counted from 0, a whole range did better; on merges of the zoo, whose volumes are
counted from a little below the base, it did much worse."""

_TIED = 1e-12  # a relative range below this is rounding


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a set of costs, and the way there and back.

    Attributes:
        links: one for each objective, fitted to the costs.
        mean: of z, (n_objectives,).
        scale: its standard deviation, 1 where all costs tie, (n_objectives,).
        values: the targets of the costs, maximised, (n_points, n_objectives).
        noise: their known noise variance, 0 where it is unknown, (n_points, n_objectives).
        estimated: whether it is the error of estimates from some of all items, (n_objectives,).
        reference: what a target must exceed to count, (n_objectives,).
    """

    links: tuple[Link, ...]
    mean: Floats
    scale: Floats
    values: Floats
    noise: Floats
    estimated: NDArray[np.bool_]
    reference: Floats

    def forward(self, costs: ArrayLike) -> Floats:
        """Return the targets of costs, (n_points, n_objectives)."""
        return -(_linked(self.links, _bounded(costs)) - self.mean) / self.scale

    def inverse(self, targets: ArrayLike) -> Floats:
        """Return the costs of targets, (n_points, n_objectives)."""
        z = self.mean - np.asarray(targets, dtype=np.float64) * self.scale
        return np.column_stack([link.inverse(z[:, k]) for k, link in enumerate(self.links)])

    @property
    def front(self) -> NDArray[np.intp]:
        """The rows of `values` that no other dominates."""
        return non_dominated(-self.values)


def targets_of(costs: ArrayLike, links: Sequence[Link], errors: ArrayLike | None = None) -> Targets:
    """Return the targets of costs; the reference point lies a tenth of the front's range beyond it.

    Where the front has no range in an objective, the range of all points counts, and 1 where all of
    them tie.

    Args:
        costs: minimised and finite, (n_points, n_objectives), at least one point.
        links: of the objectives.
        errors: standard errors of costs that are estimates, 0 of others, as many.
    """
    matrix = _bounded(costs)
    fitted = tuple(link.fitted(matrix[:, k]) for k, link in enumerate(links))
    z = _linked(fitted, matrix)
    mean, scale = _standard(z)
    values = -(z - mean) / scale
    noise = np.zeros_like(values)
    error = np.zeros_like(values) if errors is None else np.asarray(errors, dtype=np.float64)
    estimated = np.any(error > 0, axis=0)
    for k, link in enumerate(fitted):
        if estimated[k]:
            noise[:, k] = (error[:, k] / link.slope(matrix[:, k]) / scale[k]) ** 2
        elif (variance := link.noise_variance(matrix[:, k])) is not None:
            noise[:, k] = variance / scale[k] ** 2
    front = values[non_dominated(-values)]
    span, every = np.ptp(front, axis=0), np.ptp(values, axis=0)
    span = np.where(span > _TIED, span, np.where(every > _TIED, every, 1.0))
    reference = front.min(axis=0) - MARGIN * span
    return Targets(fitted, mean, scale, values, noise, estimated, reference)


def published_targets(costs: ArrayLike) -> Targets:
    """Return standardised negated costs with the reference point of MM-MO's released code.

    It is 0.9 times the least raw score, or 1.1 times where that is negative, and is used among
    standardised scores as it stands. For comparison only.

    Args:
        costs: minimised and finite, (n_points, n_objectives), at least one point.
    """
    matrix = _bounded(costs)
    mean, scale = _standard(matrix)
    values = -(matrix - mean) / scale
    links = (IdentityLink(),) * matrix.shape[1]
    noise, estimated = np.zeros_like(values), np.zeros(len(links), dtype=bool)
    return Targets(links, mean, scale, values, noise, estimated, published_reference(-matrix))


def published_reference(scores: Floats) -> Floats:
    """Return the reference point of the released code from raw scores, (n_objectives,)."""
    least = scores.min(axis=0)
    return np.asarray(np.where(least < 0, 1.1 * least, 0.9 * least), dtype=np.float64)


def _bounded(costs: ArrayLike) -> Floats:
    return np.clip(np.asarray(costs, dtype=np.float64), -LARGEST_COST, LARGEST_COST)


def _linked(links: Sequence[Link], costs: Floats) -> Floats:
    return np.column_stack([link.forward(costs[:, k]) for k, link in enumerate(links)])


def _standard(z: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each column, 1 for one whose values tie."""
    mean = z.mean(axis=0)
    span = np.ptp(z, axis=0)
    tied = span <= _TIED * np.maximum(np.abs(z).max(axis=0), np.finfo(np.float64).tiny / _TIED)
    unit = np.where(tied, 1.0, span)
    scale = unit * np.where(tied, 1.0, ((z - mean) / unit).std(axis=0))
    return mean, scale
