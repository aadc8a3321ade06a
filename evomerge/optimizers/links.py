"""Links: the scale on which a surrogate models an objective, told by the bounds of its metric.

Accuracies saturate at their bounds and losses at zero; a quadratic or a Gaussian process fits them
better on a scale without bounds (Li et al., 2024, arXiv 2406.07529, Sec. 3, choose the link by the
bounds of the metric):

    both bounds      z = logit(p); p = (k + 1/2) / (m + 1) for k = u m of m items, else u clipped
    one bound        z = log(distance to the bound), with a floor
    none             z = cost

A link takes *costs*, which are minimised, and z grows with the cost: the goal of a metric is
accounted for once, in the bounds, so that minimising 1 - accuracy and maximising accuracy give the
same z to the last bit. Any finite cost is taken; one beyond the bounds counts as the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.types import Objective

Floats = NDArray[np.float64]

CLIP = 0.01
"""How near to a bound a share is taken at its word where the number of items is not known."""

LEAST_SLOPE = 0.02
"""Of a share by its logit: p(1 - p) in the weights of a fit is not below this."""

FLOOR = 0.01
"""Least distance to a single bound, as a share of the median distance of a set of costs."""

_LEAST_FLOOR = 1e-12
_LARGEST = float(np.finfo(np.float64).max)


class Link(Protocol):
    """The scale of one objective; arrays keep their shape and are float64."""

    def forward(self, costs: ArrayLike) -> Floats:
        """Return z, which never decreases with the cost."""
        ...

    def inverse(self, z: ArrayLike) -> Floats:
        """Return the costs of z, within the bounds."""
        ...

    def slope(self, costs: ArrayLike) -> Floats:
        """Return d cost / d z, never 0: what an error of z amounts to in units of the cost."""
        ...

    def noise_variance(self, costs: ArrayLike) -> Floats | None:
        """Return the variance of z that comes from scoring few items; None if that is unknown."""
        ...

    def fitted(self, costs: ArrayLike) -> Link:
        """Return the link for a set of costs, which sets the floor of a logarithm."""
        ...


@dataclass(frozen=True, slots=True)
class IdentityLink:
    """No bounds: z is the cost."""

    def forward(self, costs: ArrayLike) -> Floats:
        """Return the costs."""
        return np.array(costs, dtype=np.float64)

    def inverse(self, z: ArrayLike) -> Floats:
        """Return z."""
        return np.array(z, dtype=np.float64)

    def slope(self, costs: ArrayLike) -> Floats:
        """Return ones."""
        return np.ones_like(np.asarray(costs, dtype=np.float64))

    def noise_variance(self, costs: ArrayLike) -> Floats | None:  # noqa: ARG002
        """Return None."""
        return None

    def fitted(self, costs: ArrayLike) -> IdentityLink:  # noqa: ARG002
        """Return this link."""
        return self


@dataclass(frozen=True, slots=True)
class LogitLink:
    """A cost between two bounds: z is the log odds of its share u of the way from low to high.

    Attributes:
        low: the least cost.
        high: the greatest cost.
        n_items: how many items the cost is the mean of, each between the bounds; None when that is
            not known, and then shares are clipped to [0.01, 0.99].
    """

    low: float
    high: float
    n_items: int | None = None

    def forward(self, costs: ArrayLike) -> Floats:
        """Return logit(p)."""
        p = self._p(costs)
        return np.asarray(np.log(p) - np.log1p(-p))

    def inverse(self, z: ArrayLike) -> Floats:
        """Return the cost whose p has these log odds."""
        z = np.asarray(z, dtype=np.float64)
        small = np.exp(-np.abs(z))
        u = np.where(z < 0, small, 1.0) / (1.0 + small)
        if self.n_items is not None:
            u = np.clip((u * (self.n_items + 1) - 0.5) / self.n_items, 0.0, 1.0)
        costs = np.clip(self.low * (1.0 - u) + self.high * u, self.low, self.high)
        return np.asarray(costs, dtype=np.float64)

    def slope(self, costs: ArrayLike) -> Floats:
        """Return p(1 - p), at least 0.02, in units of the cost."""
        p = self._p(costs)
        unit = 1.0 if self.n_items is None else (self.n_items + 1) / self.n_items
        slope = np.maximum(p * (1.0 - p), LEAST_SLOPE) * unit
        return np.asarray(slope * self.high - slope * self.low)

    def noise_variance(self, costs: ArrayLike) -> Floats | None:
        """Return 1 / (m p(1 - p)), the binomial variance of log odds."""
        if self.n_items is None:
            return None
        p = self._p(costs)
        return np.asarray(1.0 / (self.n_items * p * (1.0 - p)))

    def fitted(self, costs: ArrayLike) -> LogitLink:  # noqa: ARG002
        """Return this link."""
        return self

    def _p(self, costs: ArrayLike) -> Floats:
        # Halves are exact and their differences cannot overflow.
        clipped = np.clip(np.asarray(costs, dtype=np.float64), self.low, self.high)
        u = (clipped / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        if self.n_items is None:
            return np.clip(u, CLIP, 1.0 - CLIP)
        return np.asarray((u * self.n_items + 0.5) / (self.n_items + 1))


@dataclass(frozen=True, slots=True)
class LogLink:
    """A cost with one bound: z is the logarithm of the distance to it.

    Attributes:
        bound: the least cost, or the greatest.
        upper: it is the greatest; z is then minus the logarithm.
        floor: the least distance; what is nearer to the bound counts as this near.
    """

    bound: float
    upper: bool = False
    floor: float = _LEAST_FLOOR

    def forward(self, costs: ArrayLike) -> Floats:
        """Return the logarithm of the distance."""
        z = np.log(self.slope(costs))
        return np.asarray(-z if self.upper else z)

    def inverse(self, z: ArrayLike) -> Floats:
        """Return the cost at that distance."""
        z = np.asarray(z, dtype=np.float64)
        with np.errstate(over="ignore"):
            distance = np.minimum(np.exp(-z if self.upper else z), _LARGEST)
            costs = self.bound - distance if self.upper else self.bound + distance
        return np.asarray(np.clip(costs, -_LARGEST, _LARGEST), dtype=np.float64)

    def slope(self, costs: ArrayLike) -> Floats:
        """Return the distance, which is what the cost changes by with its logarithm."""
        return np.maximum(self._distance(costs), self.floor)

    def noise_variance(self, costs: ArrayLike) -> Floats | None:  # noqa: ARG002
        """Return None."""
        return None

    def fitted(self, costs: ArrayLike) -> LogLink:
        """Return the link with a floor of a hundredth of the median distance.

        A cost that reaches its bound, as the base's distance from itself does, must not lie so far
        from the others on a logarithmic scale that it alone decides what the model looks like.
        """
        distance = self._distance(costs)
        distance = distance[distance > 0]
        floor = FLOOR * float(np.median(distance)) if distance.size else 0.0
        return replace(self, floor=max(floor, _LEAST_FLOOR))

    def _distance(self, costs: ArrayLike) -> Floats:
        costs = np.asarray(costs, dtype=np.float64)
        with np.errstate(over="ignore"):
            distance = self.bound - costs if self.upper else costs - self.bound
        return np.clip(distance, 0.0, _LARGEST)


def link_of(objective: Objective) -> Link:
    """Return the link of an objective by its goal, the bounds of its metric and its items.

    Raises:
        ValueError: the bounds leave no room.
    """
    low, high = objective.bounds
    if objective.goal == "maximize":
        low, high = (None if high is None else -high), (None if low is None else -low)
    if low is not None and high is not None:
        if not low < high:
            raise ValueError(f"objective '{objective.name}': bounds must be (least, greatest)")
        return LogitLink(float(low), float(high), objective.n_items)
    if low is not None:
        return LogLink(float(low))
    if high is not None:
        return LogLink(float(high), upper=True)
    return IdentityLink()


def links_of(objectives: Sequence[Objective], n_objectives: int) -> tuple[Link, ...]:
    """Return the link of each objective; identities where nothing is told of the objectives.

    Args:
        objectives: in the order of the costs, or empty.
        n_objectives: how many costs there are.

    Raises:
        ValueError: there are some objectives but not one for each cost.
    """
    if not objectives:
        return (IdentityLink(),) * n_objectives
    if len(objectives) != n_objectives:
        raise ValueError(f"expected {n_objectives} objectives, got {len(objectives)}")
    return tuple(link_of(objective) for objective in objectives)
