"""Hypervolume: how much of the cost space below a reference point a set of points dominates.

Zitzler & Thiele (1998). Costs are minimised; a point counts only where it is strictly better than
the reference in every objective. One, two and three objectives are swept exactly here, more are
left to the exact algorithm that pymoo uses.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.dominance import cost_matrix, non_dominated


def hypervolume(costs: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume between `reference` and the points that dominate it.

    Args:
        costs: minimised, (n_points, n_objectives); order, duplicates and dominated points do not
            change the result.
        reference: (n_objectives,); points not strictly below it contribute nothing.

    Raises:
        ValueError: shapes differ or a value is not finite.
    """
    matrix, corner = _checked(costs, reference)
    return _volume(corner - matrix)


def contributions(costs: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the volume that each point alone dominates, (n_points,).

    Duplicates and dominated points contribute 0.

    Args:
        costs: minimised, (n_points, n_objectives).
        reference: (n_objectives,).

    Raises:
        ValueError: shapes differ or a value is not finite.
    """
    matrix, corner = _checked(costs, reference)
    gains = corner - matrix
    result = np.zeros(len(gains))
    front = non_dominated(matrix)
    total = _volume(gains[front])
    for index in front:
        # Dominated points stay in: they cover part of what the point leaves behind.
        without = _volume(np.delete(gains, index, axis=0))
        # Two nearly equal volumes are subtracted: rounding may leave a tiny negative number.
        result[index] = max(0.0, total - without)
    return result


def running_hypervolume(costs: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the hypervolume of the first 1, 2, ... n points, (n_points,); it never decreases.

    Args:
        costs: minimised, (n_points, n_objectives), in the order in which they were found.
        reference: (n_objectives,).

    Raises:
        ValueError: shapes differ or a value is not finite.
    """
    matrix, corner = _checked(costs, reference)
    result = np.zeros(len(matrix))
    front = matrix[:0]
    volume = 0.0
    for index, row in enumerate(matrix):
        if (row < corner).all() and not (front <= row).all(axis=1).any():
            front = np.vstack([front[~(row <= front).all(axis=1)], row])
            volume = max(volume, _volume(corner - front))
        result[index] = volume
    return result


def _checked(
    costs: ArrayLike, reference: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matrix = cost_matrix(costs)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (matrix.shape[1],):
        raise ValueError(
            f"the reference must have shape ({matrix.shape[1]},) like a row of costs, "
            f"got {corner.shape}"
        )
    if not np.isfinite(corner).all():
        raise ValueError(f"the reference must be finite, got {corner.tolist()}")
    return matrix, corner


def _volume(gains: NDArray[np.float64]) -> float:
    """Volume of the union of boxes [0, gain], maximised coordinates, (n_points, n_objectives)."""
    gains = gains[(gains > 0).all(axis=1)]
    if not len(gains):
        return 0.0
    match gains.shape[1]:
        case 1:
            return float(gains.max())
        case 2:
            return _area(gains)
        case 3:
            return _swept_volume(gains)
        case _:
            # Loaded late: most fronts have at most three objectives.
            from pymoo.indicators.hv import HV  # noqa: PLC0415

            front = gains[non_dominated(-gains, dedupe=True)]
            return float(HV(ref_point=np.zeros(gains.shape[1]))(-front))


def _area(gains: NDArray[np.float64]) -> float:
    """Area of the union of boxes [0, x] × [0, y]: a staircase from the largest x down."""
    gains = gains[np.lexsort((gains[:, 1], gains[:, 0]))[::-1]]
    heights = np.maximum.accumulate(gains[:, 1])
    steps = np.diff(heights, prepend=0.0)
    return float(gains[:, 0] @ steps)


def _swept_volume(gains: NDArray[np.float64]) -> float:
    """Volume of the union of boxes: sweep z downward, keeping the staircase of (x, y) above it.

    The area grows by what each new box adds, so that every z slab costs one product (Fonseca,
    Paquete & López-Ibáñez, 2006, use the same sweep).
    """
    order = np.argsort(-gains[:, 2], kind="stable")
    xs: list[float] = []  # increasing
    ys: list[float] = []  # decreasing: (xs[i], ys[i]) are the corners of the staircase
    area = 0.0
    volume = 0.0
    for position, index in enumerate(order):
        x, y, z = gains[index].tolist()
        area += _add_corner(xs, ys, x, y)
        below = gains[order[position + 1], 2] if position + 1 < len(order) else 0.0
        volume += area * (z - float(below))
    return volume


def _add_corner(xs: list[float], ys: list[float], x: float, y: float) -> float:
    """Insert box [0, x] × [0, y] in the staircase and return the area it adds."""
    right = bisect_left(xs, x)
    floor = ys[right] if right < len(xs) else 0.0
    if floor >= y:
        return 0.0
    if right < len(xs) and xs[right] == x:
        right += 1  # a corner straight below the new one is covered by it
    left = right
    added = 0.0
    edge = x
    level = floor
    while left > 0 and ys[left - 1] <= y:  # corners that the new box covers
        left -= 1
        added += (edge - xs[left]) * (y - level)
        edge, level = xs[left], ys[left]
    start = xs[left - 1] if left > 0 else 0.0
    added += (edge - start) * (y - level)
    xs[left:right] = [x]
    ys[left:right] = [y]
    return added
