"""Hypervolume: how much of the cost space below a reference point a set of points dominates.

Zitzler & Thiele (1998). Costs are minimised; a point counts only where it is strictly better than
the reference in every objective. Exact for any number of objectives, by moocore.
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.dominance import cost_matrix


def hypervolume(costs: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume between `reference` and the points that dominate it.

    Args:
        costs: minimised, (n_points, n_objectives); order, duplicates and dominated points do not
            change the result.
        reference: (n_objectives,); points not strictly below it contribute nothing.

    Raises:
        ValueError: shapes differ or a value is not finite.
    """
    return _volume(*_checked(costs, reference))


def hypervolume_gain(costs: ArrayLike, reference: ArrayLike, point: ArrayLike) -> float:
    """Return by how much one more point enlarges the hypervolume, at least 0.

    Only what the point dominates is looked at, which is little of a large front.

    Args:
        costs: minimised, (n_points, n_objectives); n_points may be 0.
        reference: (n_objectives,).
        point: costs of the new one, (n_objectives,).

    Raises:
        ValueError: shapes differ or a value is not finite.
    """
    own = np.asarray(point, dtype=np.float64)
    matrix, corner = _checked(np.vstack([costs, own]), reference)
    if (own >= corner).any():
        return 0.0
    covered = _volume(np.maximum(matrix[:-1], own), corner)
    return max(0.0, float(np.prod(corner - own)) - covered)


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
    # moocore's own contributions take what is below 1.5e-8 for 0, whatever the scale.
    gains = [
        hypervolume_gain(np.delete(matrix, row, axis=0), corner, matrix[row])
        for row in range(len(matrix))
    ]
    return np.array(gains, dtype=np.float64)


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
            volume += hypervolume_gain(front, corner, row)
            front = np.vstack([front[~(row <= front).all(axis=1)], row])
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


def _volume(costs: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return float(moocore.hypervolume(costs, ref=reference)) if len(costs) else 0.0
