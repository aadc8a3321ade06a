"""The front of the surrogates, and which of its points are worth a real evaluation.

Predictions cost microseconds, so the search is NSGA-II, or NSGA-III for more than three objectives
(MAP, arXiv 2406.07529, Sec. 3: any multi-objective algorithm will do here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.util.ref_dirs import get_reference_directions

from evomerge.optimizers.map.evolution import evolved
from evomerge.optimizers.map.quadratic import Quadratic, features
from evomerge.pareto import non_dominated

Floats = npt.NDArray[np.float64]

POPULATION = 100
GENERATIONS = 60
MOST_CROWDED = 3
"""Objectives for which crowding spreads a population over the front."""
DISTINCT = 1e-3
"""Points this near to an evaluated one, in every gene on the unit cube, are not proposed."""

# Das-Dennis divisions of NSGA-III's reference directions: as many as fit into the population.
_DIVISIONS = {4: 6, 5: 4, 6: 3, 7: 3, 8: 2}


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predicted points, none of them evaluated.

    Attributes:
        points: on the unit cube, (n_points, n_genes); the non-dominated ones first.
        costs: predicted, (n_points, n_objectives).
        n_front: how many are non-dominated.
    """

    points: Floats
    costs: Floats
    n_front: int

    @property
    def front(self) -> Floats:
        """The points that are predicted to be non-dominated."""
        return self.points[: self.n_front]


class _Surrogates(Problem):  # type: ignore[misc]  # pymoo has no types
    """The surrogates as a problem of pymoo, with a limit on the leverage where there is one."""

    def __init__(
        self, surrogates: Sequence[Quadratic], low: Floats, high: Floats, *, limit: bool
    ) -> None:
        super().__init__(
            n_var=len(low), n_obj=len(surrogates), n_ieq_constr=int(limit), xl=low, xu=high
        )
        self._surrogates = surrogates
        self._betas = np.column_stack([one.beta for one in surrogates])
        self._limited = limit

    def evaluated(self, x: Floats) -> tuple[Floats, Floats]:
        """Return costs on the scale of the links, and by how much leverages exceed their limit."""
        # A monotone link changes no dominance.
        phi = features(x)
        costs = phi @ self._betas
        if not self._limited:
            return costs, np.zeros(len(x))
        over = [np.maximum(one.leverage(phi) - one.limit, 0.0) for one in self._surrogates]
        return costs, np.sum(over, axis=0)

    def _evaluate(self, x: Floats, out: dict[str, Any], *_: Any, **__: Any) -> None:
        out["F"], violations = self.evaluated(x)
        if self._limited:
            out["G"] = violations[:, None]


def predicted_front(
    surrogates: Sequence[Quadratic],
    low: Floats,
    high: Floats,
    seed: int,
    *,
    start: Floats,
    limit_leverage: bool = False,
    generations: int = GENERATIONS,
    algorithm: Callable[[int, Floats], Any] | None = None,
    canonical: Callable[[Floats], Floats] | None = None,
) -> Predicted:
    """Search the surrogates for their front.

    Args:
        surrogates: one per objective.
        low: lower corner of the box that is searched, (n_genes,).
        high: upper corner.
        seed: of the search.
        start: points of the first generation, an even number, (n_start, n_genes).
        limit_leverage: reject points of a larger leverage than any fitted point has.
        generations: of the search.
        algorithm: builds another algorithm of pymoo from the number of objectives and the first
            generation.
        canonical: makes points of equal genotypes equal, (n_points, n_genes).
    """
    problem = _Surrogates(surrogates, low, high, limit=limit_leverage)
    start = np.clip(start, low, high)
    if algorithm is None:
        random = np.random.default_rng(seed)
        directions = None
        if len(surrogates) > MOST_CROWDED:
            directions = _directions(len(surrogates))
        points = evolved(problem.evaluated, low, high, start, generations, random, directions)
    else:
        search = algorithm(len(surrogates), start)
        search.setup(problem, termination=NoTermination(), seed=seed, verbose=False)
        for _ in range(generations):
            search.next()
        points = np.clip(search.pop.get("X").astype(np.float64), low, high)
    points = points[problem.evaluated(points)[1] <= 0]
    if canonical is not None:
        points = canonical(points)
    costs = np.column_stack([one.costs(points) for one in surrogates])
    kept = non_dominated(costs) if len(points) else np.empty(0, dtype=np.intp)
    order = np.concatenate([kept, np.setdiff1d(np.arange(len(points)), kept)])
    return Predicted(points[order], costs[order], len(kept))


def chosen(predicted: Predicted, count: int, evaluated: Floats) -> Floats:
    """Choose points for evaluation: the best of each objective, then the farthest from all chosen.

    Distances are Euclidean in predicted costs, each scaled to its range over the front. When the
    front has too few distinct points the dominated ones follow.

    Args:
        predicted: what to choose from.
        count: how many.
        evaluated: points that were evaluated or are chosen already, (n_evaluated, n_genes).

    Returns:
        (at most count, n_genes).
    """
    taken = list(evaluated)
    picked: list[int] = []

    def take(index: int) -> None:
        point = predicted.points[index]
        if not taken or np.abs(np.array(taken) - point).max(axis=1).min() > DISTINCT:
            taken.append(point)
            picked.append(index)

    n_front = predicted.n_front
    if n_front:
        front = predicted.costs[:n_front]
        low, span = front.min(axis=0), np.ptp(front, axis=0)
        scaled = (front - low) / np.where(span > 0, span, 1.0)
        for index in front.argmin(axis=0):
            if len(picked) < count:
                take(int(index))
        distance = np.full(n_front, np.inf)
        for index in picked:
            distance = np.minimum(distance, np.linalg.norm(scaled - scaled[index], axis=1))
        distance[picked] = -1.0
        while len(picked) < count and (distance >= 0).any():
            index = int(distance.argmax())
            before = len(picked)
            take(index)
            if len(picked) > before:
                gap = np.linalg.norm(scaled - scaled[index], axis=1)
                distance = np.where(distance < 0, distance, np.minimum(distance, gap))
            distance[index] = -1.0
    for index in range(n_front, len(predicted.points)):
        if len(picked) == count:
            break
        take(index)
    return predicted.points[picked]


@cache
def _directions(n_objectives: int) -> Floats:
    divisions = _DIVISIONS.get(n_objectives, 1)
    found = get_reference_directions("das-dennis", n_objectives, n_partitions=divisions)
    return np.asarray(found)
