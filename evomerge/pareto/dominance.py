"""Pareto dominance over minimised costs, by moocore."""

from __future__ import annotations

import moocore
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
    if not len(matrix):
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(moocore.is_nondominated(matrix, keep_weakly=not dedupe))


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
    if not len(matrix):
        return np.zeros(0, dtype=np.intp)
    return np.asarray(moocore.pareto_rank(matrix), dtype=np.intp)
