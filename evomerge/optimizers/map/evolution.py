"""NSGA-II on arrays, for functions that cost less than the objects of individuals do.

pymoo's algorithms keep an object for each individual: milliseconds a generation, where surrogates
of a hundred points take microseconds. The operators are pymoo's, with the settings of its NSGA-II;
survival is by non-domination rank and crowding (Deb et al., 2002), feasible points first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pymoo.operators.crossover.sbx import cross_sbx
from pymoo.operators.mutation.pm import mut_pm
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

from evomerge.pareto import ranks

Floats = npt.NDArray[np.float64]
Evaluate: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
"""Points (n_points, n_genes) to costs (n_points, n_objectives) and by how much each point violates
what is required, (n_points,), 0 if it does not."""

_CROSSED, _CROSSOVER_ETA, _EXCHANGED = 0.9, 15.0, 0.5
_MUTATED, _MUTATION_ETA = 0.9, 20.0


def evolved(
    evaluate: Evaluate,
    low: Floats,
    high: Floats,
    start: Floats,
    generations: int,
    random: np.random.Generator,
) -> Floats:
    """Return the last population, (n_points, n_genes); the violating points come last.

    Args:
        evaluate: what is minimised.
        low: lower corner of the box that is searched, (n_genes,).
        high: upper corner.
        start: first generation, an even number of points in the box.
        generations: how many follow.
        random: of all that is drawn.
    """
    count = len(start)
    points, (costs, violations) = start, evaluate(start)
    best = _best(costs, violations, count)
    for _ in range(generations):
        # `best` is from best to worst, so that a tournament is won by the earlier place.
        winners = random.integers(count, size=(2, count)).min(axis=0)
        children = _children(points[best[winners]], low, high, random)
        new_costs, new_violations = evaluate(children)
        points = np.vstack([points[best], children])
        costs = np.vstack([costs[best], new_costs])
        violations = np.concatenate([violations[best], new_violations])
        violations[_repeated(points)] = np.inf
        best = _best(costs, violations, count)
    return np.asarray(points[best])


def _best(costs: Floats, violations: Floats, count: int) -> npt.NDArray[np.intp]:
    """Return the best rows, best first: by violation, rank, and how alone they are in it.

    Points that violate have no rank: else one of them could be what dominates a feasible point.
    """
    layer = np.zeros(len(costs), dtype=np.intp)
    crowding = np.zeros(len(costs))
    feasible = np.flatnonzero(violations <= 0)
    layer[feasible] = ranks(costs[feasible])
    taken = 0
    for rank in range(len(feasible)):
        rows = feasible[layer[feasible] == rank]
        if taken >= count or not len(rows):
            break  # the others are not needed
        crowding[rows] = calc_crowding_distance(costs[rows])
        taken += len(rows)
    return np.lexsort((-crowding, layer, violations))[:count]


def _repeated(points: Floats) -> npt.NDArray[np.bool_]:
    """Return which points are the same as one before them."""
    rows = (
        np.ascontiguousarray(points).view(f"V{points.itemsize * points.shape[1]}").ravel().tolist()
    )
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row, number) < number for number, row in enumerate(rows)])


def _children(parents: Floats, low: Floats, high: Floats, random: np.random.Generator) -> Floats:
    """Cross each parent of the first half with one of the second, and mutate what comes of it."""
    n_pairs, n_genes = len(parents) // 2, parents.shape[1]
    pairs = parents.reshape(2, n_pairs, n_genes)
    crossed = cross_sbx(
        pairs,
        low,
        high,
        np.full((n_pairs, 1), _CROSSOVER_ETA),
        np.full((n_pairs, 1), 0.5),
        np.full((n_pairs, 1), _EXCHANGED),
        random_state=random,
    )
    children = np.where((random.random(n_pairs) < _CROSSED)[None, :, None], crossed, pairs)
    children = children.reshape(parents.shape)
    mutants = mut_pm(
        children,
        low,
        high,
        np.full(len(children), _MUTATION_ETA),
        np.full(len(children), min(0.5, 1.0 / n_genes)),
        at_least_once=False,
        random_state=random,
    )
    changed = random.random(len(children)) < _MUTATED
    return np.asarray(np.where(changed[:, None], mutants, children))
