"""Choosing from a front: the knee, a stated preference, a few points that stand for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import UserError, nearest
from evomerge.pareto.dominance import cost_matrix
from evomerge.pareto.hypervolume import hypervolume


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
    return int(_unit(_non_empty(costs)).sum(axis=1).argmin())


def preferred(scaled: ArrayLike, names: Sequence[str], weights: Mapping[str, float]) -> int:
    """Return the index of the point with the largest weighted sum of scaled scores.

    Weights are rates of exchange: with {'math': 2, 'code': 1} one unit of math is worth two of
    code. An objective without a weight does not count. Ties go to the lowest index.

    Args:
        scaled: larger is better, on one scale (see `Anchors.scale_all`), (n_points, n_objectives).
        names: the objective of each column.
        weights: objective name to weight, none negative, not all 0.

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
    return int((matrix @ vector).argmax())


def thin(
    costs: ArrayLike, k: int, *, by: Literal["farthest", "hypervolume"] = "farthest"
) -> NDArray[np.intp]:
    """Return the indices, in increasing order, of at most `k` points that stand for all.

    farthest: start at the knee and add the point farthest from those taken (Gonzalez, 1985),
    the best of each objective first. hypervolume: drop the point whose loss costs the least
    volume until `k` are left (Beume, Naujoks & Emmerich, 2007); the reference lies a tenth of
    the range beyond the worst cost. Both scale costs to the set's own range first.

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
    unit = _unit(matrix)
    chosen = _farthest(unit, k) if by == "farthest" else _largest_volume(unit, k)
    return np.sort(np.array(chosen, dtype=np.intp))


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


def _unit(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    low, span = costs.min(axis=0), np.ptp(costs, axis=0)
    return np.asarray((costs - low) / np.where(span > 0, span, 1.0))
