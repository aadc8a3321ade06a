"""Choosing from a front: the knee, a stated preference, a few points that stand for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import UserError, nearest
from evomerge.pareto.dominance import cost_matrix
from evomerge.pareto.epsilon import epsilon_subset
from evomerge.pareto.hypervolume import hypervolume

ThinningRule: TypeAlias = Literal["farthest", "hypervolume", "epsilon"]

AUGMENTATION = 0.05
"""Share of the sum of weighted shortfalls that is added to the largest: enough to tell points apart
that are equal in their worst objective, too little to choose by the sum."""


def knee(costs: ArrayLike) -> int:
    """Return the index of the point that gives up least overall.

    Costs are scaled to the set's own range; the knee is the point farthest below the plane
    through the extremes of the objectives (Das, 1999), which on that scale is the point with the
    smallest sum. An objective in which all points tie does not count. Ties go to the lowest index.

    Args:
        costs: minimised, (n_points, n_objectives), non-dominated.

    Raises:
        ValueError: no points, or a cost is not finite.
    """
    return int(own_range(_non_empty(costs)).sum(axis=1).argmin())


def preferred(
    scaled: ArrayLike,
    names: Sequence[str],
    weights: Mapping[str, float],
    best: ArrayLike | None = None,
) -> int:
    """Return the index of the point whose worst weighted shortfall is smallest.

    The augmented weighted Tchebycheff pick (Steuer & Choo, 1983): a point F falls short of the
    best value z* of each objective, and what is minimised is

        max_n w_n (z*_n - F_n) + 0.05 sum_n w_n (z*_n - F_n)

    A weight says how much a shortfall hurts: with {'math': 2, 'code': 1} losing one unit of math
    is as bad as losing two of code, so that the pick falls about half as far below the best math
    as below the best code. A weighted sum reaches only the convex hull of a front, of one that
    curves inward only the ends; this pick reaches points between them unless weights are very
    unequal. An objective without a weight does not count, and only proportions matter. Ties go to
    the smallest sum of all shortfalls, then to the lowest index, so that no point of the set
    dominates the pick.

    Args:
        scaled: larger is better, on one scale (see `Anchors.scale_all`), (n_points, n_objectives).
        names: the objective of each column.
        weights: objective name to weight, none negative, not all 0.
        best: z*, the best value seen of each objective on that scale, (n_objectives,); of the
            points themselves by default, which it is never below.

    Raises:
        UserError: a weight names no objective, is negative or not finite, or all are 0.
        ValueError: no points, or shapes differ.
    """
    matrix = _non_empty(scaled)
    if len(names) != matrix.shape[1]:
        raise ValueError(f"{matrix.shape[1]} columns need as many names, got {list(names)}")
    for name, weight in weights.items():
        if name not in names:
            raise UserError(f"weight '{name}' names no objective; {nearest(name, names)}")
        if not 0 <= weight < np.inf:
            raise UserError(f"weight '{name}' must be 0 or more and finite, got {weight}")
    vector = np.array([weights.get(name, 0.0) for name in names])
    if not vector.any():
        raise UserError("at least one weight must be above 0, for example math=2,code=1")
    ideal = matrix.max(axis=0)
    if best is not None:
        seen = np.asarray(best, dtype=np.float64)
        if seen.shape != ideal.shape or not np.isfinite(seen).all():
            raise ValueError(f"best must be {len(ideal)} finite numbers, got {seen.tolist()}")
        ideal = np.maximum(ideal, seen)
    return int(by_preference(-matrix, vector, -ideal)[0])


def by_preference(
    costs: ArrayLike, weights: ArrayLike, ideal: ArrayLike | None = None
) -> NDArray[np.intp]:
    """Return the indices of all points, the one that `preferred` picks first.

    Args:
        costs: minimised, on one scale, (n_points, n_objectives).
        weights: of the objectives, none negative, not all 0, (n_objectives,).
        ideal: the least cost of each objective, of the points themselves by default,
            (n_objectives,).

    Raises:
        ValueError: no points, or a cost is not finite.
    """
    matrix = _non_empty(costs)
    shortfall = matrix - (matrix.min(axis=0) if ideal is None else np.asarray(ideal))
    weighted = shortfall * np.asarray(weights)
    value = weighted.max(axis=1) + AUGMENTATION * weighted.sum(axis=1)
    return np.lexsort((shortfall.sum(axis=1), value))


def thin(costs: ArrayLike, k: int, *, by: ThinningRule = "farthest") -> NDArray[np.intp]:
    """Return the indices, in increasing order, of at most `k` points that stand for all.

    farthest: start at the knee and add the point farthest from those taken (Gonzalez, 1985),
    the best of each objective first. hypervolume: drop the point whose loss costs the least
    volume until `k` are left (Beume, Naujoks & Emmerich, 2007); the reference lies a tenth of
    the range beyond the worst cost. epsilon: nobody is worse off by more than the smallest
    amount, in any objective, with the kept point nearest to them, see
    `evomerge.pareto.epsilon.epsilon_subset`; keeps no extreme for its own sake. All scale costs
    to the set's own range first.

    Args:
        costs: minimised, (n_points, n_objectives).
        k: how many to keep; all are kept when there are no more.
        by: the rule.

    Raises:
        ValueError: `k` is below 1, or a cost is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    matrix = cost_matrix(costs)
    if len(matrix) <= k:
        return np.arange(len(matrix))
    unit = own_range(matrix)
    match by:
        case "farthest":
            chosen = _farthest(unit, k)
        case "hypervolume":
            chosen = _largest_volume(unit, k)
        case "epsilon":
            chosen = epsilon_subset(unit, k).tolist()
    return np.sort(np.array(chosen, dtype=np.intp))


def own_range(costs: ArrayLike) -> NDArray[np.float64]:
    """Return costs scaled to the set's own range: 0 the best of each objective, 1 the worst.

    An objective in which all points tie is 0 everywhere.

    Args:
        costs: minimised, (n_points, n_objectives), at least one point.

    Raises:
        ValueError: no points, or a cost is not finite.
    """
    matrix = _non_empty(costs)
    low, span = matrix.min(axis=0), np.ptp(matrix, axis=0)
    return np.asarray((matrix - low) / np.where(span > 0, span, 1.0))


def _farthest(unit: NDArray[np.float64], k: int) -> list[int]:
    chosen: list[int] = []
    for index in (int(unit.sum(axis=1).argmin()), *unit.argmin(axis=0).tolist()):
        if index not in chosen and len(chosen) < k:
            chosen.append(index)
    distance = np.full(len(unit), np.inf)
    for index in chosen:
        distance = np.minimum(distance, np.linalg.norm(unit - unit[index], axis=1))
    while len(chosen) < k:
        distance[chosen] = -1.0  # duplicates of a chosen point stay eligible, itself does not
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(unit - unit[chosen[-1]], axis=1))
    return chosen


def _largest_volume(unit: NDArray[np.float64], k: int) -> list[int]:
    reference = np.full(unit.shape[1], 1.1)
    left = list(range(len(unit)))
    while len(left) > k:
        remaining = [hypervolume(unit[[j for j in left if j != i]], reference) for i in left]
        # Of equal losses the later point goes, so that a duplicate's first copy stays.
        best = max(range(len(left)), key=lambda position: (remaining[position], position))
        del left[best]
    return left


def _non_empty(costs: ArrayLike) -> NDArray[np.float64]:
    matrix = cost_matrix(costs)
    if not len(matrix):
        raise ValueError("there is no point to choose from")
    return matrix
