"""What is known of the trials of a search, as points: evaluated, failed and in flight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import non_dominated
from evomerge.types import Trial

Floats = NDArray[np.float64]


class Evaluations:
    """Points by what became of them; order is that of the tells.

    Args:
        n_genes: coordinates of a point.
        n_objectives: costs of an evaluated one.
    """

    def __init__(self, n_genes: int, n_objectives: int) -> None:
        self._n_genes = n_genes
        self._n_objectives = n_objectives
        self._points: list[Floats] = []
        self._costs: list[tuple[float, ...]] = []
        self._errors: list[tuple[float, ...]] = []
        self._failed: list[Floats] = []
        self._in_flight: dict[int, Floats] = {}

    def __len__(self) -> int:
        """Count the evaluated points."""
        return len(self._points)

    def open(self, number: int, point: Floats) -> None:
        """Note a point that goes out."""
        self._in_flight[number] = point

    def close(self, trial: Trial) -> None:
        """Note what became of a point that is out."""
        point = self._in_flight.pop(trial.number)
        if trial.costs is None:
            self._failed.append(point)
        else:
            self._points.append(point)
            self._costs.append(trial.costs)
            self._errors.append(trial.errors or (0.0,) * self._n_objectives)

    @property
    def points(self) -> Floats:
        """The evaluated points, (n_points, n_genes)."""
        return self._matrix(self._points)

    @property
    def costs(self) -> Floats:
        """Their costs, (n_points, n_objectives)."""
        return np.array(self._costs).reshape(-1, self._n_objectives)

    @property
    def errors(self) -> Floats:
        """Standard errors of costs that are estimates, 0 of others, (n_points, n_objectives)."""
        return np.array(self._errors).reshape(-1, self._n_objectives)

    @property
    def avoided(self) -> Floats:
        """Points in flight and points that failed, (n_points, n_genes)."""
        return self._matrix([*self._in_flight.values(), *self._failed])

    def modelled(self, most: int) -> NDArray[np.intp]:
        """Return which evaluated points a model is fitted to: all, or the front and the latest.

        Args:
            most: points, as far as the front has no more.
        """
        n = len(self)
        if n <= most:
            return np.arange(n)
        front = non_dominated(self.costs, dedupe=True)[-most:]
        others = np.setdiff1d(np.arange(n), front)
        latest = others[len(others) - (most - len(front)) :]
        return np.sort(np.concatenate([front, latest]))

    def _matrix(self, points: list[Floats]) -> Floats:
        return np.array(points).reshape(-1, self._n_genes)
