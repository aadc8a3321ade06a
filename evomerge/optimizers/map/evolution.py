"""NSGA-II and NSGA-III on arrays, for functions that cost less than the objects of individuals do.

pymoo's algorithms keep an object for each individual: milliseconds a generation, where surrogates
of a hundred points take microseconds. The operators have the settings of its NSGA-II.
Survival is by non-domination rank, feasible points first, and within the rank that does not fit as
a whole by crowding (Deb et al., 2002) or by reference directions (Deb and Jain, 2014). Parents win
tournaments by rank and crowding; by rank and chance where directions are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

from evomerge.optimizers.map.hyperplane import Hyperplane
from evomerge.optimizers.map.variation import crossed, mutated
from evomerge.pareto import ranks

Floats = npt.NDArray[np.float64]
Evaluate: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
"""Points (n_points, n_genes) to costs (n_points, n_objectives) and by how much each point violates
what is required, (n_points,), 0 if it does not."""
Preference: TypeAlias = Callable[[Floats, npt.NDArray[np.intp], int], Floats]
"""Costs (n_points, n_objectives) of feasible points, their ranks (n_points,) and how many survive,
to how much each point is preferred to others of its rank, (n_points,), where that decides."""

_CROSSED, _CROSSOVER_ETA, _GENE_CROSSED = 0.9, 15.0, 0.5
_MUTATED, _MUTATION_ETA = 0.9, 20.0


def evolved(
    evaluate: Evaluate,
    low: Floats,
    high: Floats,
    start: Floats,
    generations: int,
    random: np.random.Generator,
    directions: Floats | None = None,
) -> Floats:
    """Return the last population, (n_points, n_genes); the violating points come last.

    Args:
        evaluate: what is minimised.
        low: lower corner of the box that is searched, (n_genes,).
        high: upper corner.
        start: first generation, an even number of points in the box.
        generations: how many follow.
        random: of all that is drawn.
        directions: survive by these and not by crowding, (n_directions, n_objectives).
    """
    prefer = crowding if directions is None else Niches(directions, random)
    count = len(start)
    points, (costs, violations) = start, evaluate(start)
    best = _best(costs, violations, count, prefer)
    for _ in range(generations):
        # `best` is from best to worst, so that a tournament is won by the earlier place.
        winners = random.integers(count, size=(2, count)).min(axis=0)
        children = _children(points[best[winners]], low, high, random)
        new_costs, new_violations = evaluate(children)
        points = np.vstack([points[best], children])
        costs = np.vstack([costs[best], new_costs])
        violations = np.concatenate([violations[best], new_violations])
        violations[_repeated(points)] = np.inf
        best = _best(costs, violations, count, prefer)
    return np.asarray(points[best])


def crowding(costs: Floats, layer: npt.NDArray[np.intp], count: int) -> Floats:
    """Prefer points that are alone in their rank; see `Preference`."""
    found = np.zeros(len(costs))
    taken = rank = 0
    while taken < min(count, len(costs)):
        rows = np.flatnonzero(layer == rank)
        found[rows] = calc_crowding_distance(costs[rows], filter_out_duplicates=False)
        taken += len(rows)
        rank += 1
    return found


class Niches:
    """Prefer points of niches that few points survive from; see `Preference`.

    A point's niche is the reference direction that it is nearest to. NSGA-III takes one point after
    the other from a niche that has the fewest: its nearest where there is none yet, else any. So
    each point has a place in its niche's queue, and the places are what is compared here.

    Args:
        directions: (n_directions, n_objectives).
        random: where the choice is free.
    """

    def __init__(self, directions: Floats, random: np.random.Generator) -> None:
        self._units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self._normal = Hyperplane(directions.shape[1])
        self._random = random

    def __call__(self, costs: Floats, layer: npt.NDArray[np.intp], count: int) -> Floats:
        """Return minus the place of each point of the rank that does not fit as a whole.

        Of other ranks the order is drawn.
        """
        found = self._random.random(len(costs))
        if not len(costs):
            return found
        niche, distance = self._nearest(costs, np.flatnonzero(layer == 0))
        sizes = np.bincount(layer)
        last = int(np.searchsorted(np.cumsum(sizes), min(count, len(costs))))
        taken = np.bincount(niche[layer < last], minlength=len(self._units))
        rows = np.flatnonzero(layer == last)
        own = niche[rows]
        draw = self._random.random((2, len(rows)))
        by_distance = np.lexsort((distance[rows], own))
        nearest = by_distance[_starts(own[by_distance])]
        draw[0, nearest[taken[own[nearest]] == 0]] = -1.0
        queue = np.lexsort((draw[0], own))
        numbers = np.arange(len(rows))
        begins = np.maximum.accumulate(np.where(_starts(own[queue]), numbers, 0))
        place = np.empty(len(rows))
        place[queue] = numbers - begins
        found[rows] = -(taken[own] + place + 0.5 * draw[1])  # ties are drawn
        return found

    def _nearest(
        self, costs: Floats, front: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], Floats]:
        """Return the niche of each point, and the square of its distance from the direction."""
        self._normal.update(costs, front)
        ideal, nadir = self._normal.ideal, self._normal.nadir
        scaled = (costs - ideal) / np.where(nadir > ideal, nadir - ideal, 1e-12)
        squares = (scaled**2).sum(axis=1)[:, None] - (scaled @ self._units.T) ** 2
        niche = squares.argmin(axis=1)
        return niche, squares[np.arange(len(costs)), niche]


def _starts(sorted_values: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return where another value begins."""
    return np.concatenate([[True], sorted_values[1:] != sorted_values[:-1]])[: len(sorted_values)]


def _best(
    costs: Floats, violations: Floats, count: int, prefer: Preference
) -> npt.NDArray[np.intp]:
    """Return the best rows, best first: by violation, rank, and preference within it.

    Points that violate have no rank: else one of them could be what dominates a feasible point.
    """
    layer = np.zeros(len(costs), dtype=np.intp)
    preferred = np.zeros(len(costs))
    feasible = np.flatnonzero(violations <= 0)
    layer[feasible] = ranks(costs[feasible])
    preferred[feasible] = prefer(costs[feasible], layer[feasible], count)
    return np.lexsort((-preferred, layer, violations))[:count]


def _repeated(points: Floats) -> npt.NDArray[np.bool_]:
    """Return which points are the same as one before them."""
    plain = np.ascontiguousarray(points + 0.0)  # no negative zeros
    rows = plain.view(f"V{plain.itemsize * plain.shape[1]}").ravel().tolist()
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row, number) < number for number, row in enumerate(rows)])


def _children(parents: Floats, low: Floats, high: Floats, random: np.random.Generator) -> Floats:
    """Cross each parent of the first half with one of the second, and mutate what comes of it."""
    n_pairs, n_genes = len(parents) // 2, parents.shape[1]
    pairs = parents.reshape(2, n_pairs, n_genes)
    made = crossed(pairs, low, high, random, eta=_CROSSOVER_ETA, probability=_GENE_CROSSED)
    children = np.where((random.random(n_pairs) < _CROSSED)[None, :, None], made, pairs)
    children = children.reshape(parents.shape)
    each = min(0.5, 1.0 / n_genes)
    mutants = mutated(children, low, high, random, eta=_MUTATION_ETA, probability=each)
    changed = random.random(len(children)) < _MUTATED
    return np.asarray(np.where(changed[:, None], mutants, children))
