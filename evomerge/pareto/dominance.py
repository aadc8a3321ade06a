"""Pareto dominance over minimised costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cost_matrix(costs: ArrayLike) -> NDArray[np.float64]:
    """Return costs as a float64 matrix (n_points, n_objectives).

    Raises:
        ValueError: the shape is not two-dimensional, there are no objectives, or a value is not
            finite.
    """
    matrix = np.asarray(costs, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"costs must have shape (n_points, n_objectives), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise ValueError(f"costs must be finite, row {row} is {matrix[row].tolist()}")
    return matrix


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Tell whether costs `a` (n_objectives,) are nowhere worse and somewhere better than `b`.

    Raises:
        ValueError: the two differ in length, or are not finite.
    """
    pair = cost_matrix(np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)]))
    return bool((pair[0] <= pair[1]).all() and (pair[0] < pair[1]).any())


def non_dominated(costs: ArrayLike, *, dedupe: bool = False) -> NDArray[np.intp]:
    """Return the indices, in increasing order, of the rows that no row dominates.

    Equal rows do not dominate one another: all of them are returned, unless `dedupe` keeps the
    one with the lowest index.

    Args:
        costs: minimised, (n_points, n_objectives); n_points may be 0.
        dedupe: keep one of equal rows.

    Raises:
        ValueError: the shape is wrong or a cost is not finite.
    """
    matrix = cost_matrix(costs)
    # Unique rows come sorted lexicographically, and a point is never dominated by a later one.
    rows, first, inverse = np.unique(matrix, axis=0, return_index=True, return_inverse=True)
    kept = np.zeros(len(rows), dtype=bool)
    front = np.empty_like(rows)
    size = 0
    for position, row in enumerate(rows):
        if not (front[:size] <= row).all(axis=1).any():
            kept[position] = True
            front[size] = row
            size += 1
    if dedupe:
        return np.sort(first[kept])
    return np.flatnonzero(kept[inverse.reshape(-1)])


def ranks(costs: ArrayLike) -> NDArray[np.intp]:
    """Return the non-domination rank of each row, 0 for the front (Deb et al., 2002, Sec. III-A).

    Rank r holds the rows that are non-dominated once ranks below r are taken away.

    Args:
        costs: minimised, (n_points, n_objectives).

    Returns:
        (n_points,) ranks.

    Raises:
        ValueError: the shape is wrong or a cost is not finite.
    """
    matrix = cost_matrix(costs)
    result = np.empty(len(matrix), dtype=np.intp)
    left = np.arange(len(matrix))
    rank = 0
    while len(left):
        front = non_dominated(matrix[left])
        result[left[front]] = rank
        left = np.delete(left, front)
        rank += 1
    return result
