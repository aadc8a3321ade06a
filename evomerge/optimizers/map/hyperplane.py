"""The scale on which NSGA-III compares objectives (Deb and Jain 2014, IEEE TEVC 18(4), Sec. IV-C).

The hyperplane through the extreme points of the front cuts each axis where that objective counts
one. What pymoo computes, to the last bit, in less than half the time and without its change of the
filters of warnings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_OFF_AXIS = 1e6
"""Weight of the other objectives in the achievement that an extreme point minimises."""
_NEGLIGIBLE = 1e-3
_LEAST_RANGE = 1e-6
_TOLERANCE = 1e-5 + 1e-8


class Hyperplane:
    """Ideal and nadir point of a population that moves.

    Args:
        n_objectives: of the costs.

    Attributes:
        ideal: the least cost of each objective that was ever seen, (n_objectives,).
        nadir: where the hyperplane cuts the axes, (n_objectives,); the worst of the front where it
            cuts none, and the worst of the population where that leaves no range.
    """

    def __init__(self, n_objectives: int) -> None:
        self.ideal = np.full(n_objectives, np.inf)
        self.nadir = np.full(n_objectives, -np.inf)
        self._worst = np.full(n_objectives, -np.inf)
        self._extremes = np.empty((0, n_objectives))
        self._weights = np.where(np.eye(n_objectives) > 0, 1.0, _OFF_AXIS)[:, :, None]

    def update(self, costs: Floats, front: npt.NDArray[np.intp]) -> None:
        """Move by a population.

        Args:
            costs: (n_points, n_objectives), at least one point.
            front: the rows that are non-dominated.
        """
        worst, on_front = costs.max(axis=0), costs[front]
        self.ideal = np.minimum(self.ideal, costs.min(axis=0))
        self._worst = np.maximum(self._worst, worst)
        candidates = np.concatenate([self._extremes, on_front])
        beyond = candidates - self.ideal
        beyond[beyond < _NEGLIGIBLE] = 0.0
        achievements = (self._weights * beyond.T[:, None, :]).max(axis=0)
        self._extremes = candidates[achievements.argmin(axis=1)]
        cut = self._cut()
        nadir = on_front.max(axis=0) if cut is None else np.minimum(cut, self._worst)
        self.nadir = np.where(nadir - self.ideal <= _LEAST_RANGE, worst, nadir)

    def _cut(self) -> Floats | None:
        """Return where the plane through the extreme points cuts the axes, if it does."""
        extremes = self._extremes - self.ideal
        try:
            plane = np.linalg.solve(extremes, np.ones(len(extremes)))
        except np.linalg.LinAlgError:
            return None
        with np.errstate(divide="ignore"):
            intercepts = 1.0 / plane
        exact = np.abs(extremes @ plane - 1.0).max() <= _TOLERANCE
        return self.ideal + intercepts if exact and intercepts.min() > _LEAST_RANGE else None
