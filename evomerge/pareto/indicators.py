"""How near one front is to another: GD, IGD, IGD+, additive epsilon, coverage and win rate.

All take minimised costs on one scale (scale both fronts with the same anchors first): `front` is
what was found, (n_points, n_objectives), `reference` what it is measured against,
(n_reference, n_objectives).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.dominance import cost_matrix


def gd(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the mean distance from a found point to the nearest reference point (closeness).

    Van Veldhuizen (1999), with the mean of distances. 0 exactly when every found point is a
    reference point.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    return float(_distances(found, wanted).min(axis=1).mean())


def igd(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the mean distance from a reference point to the nearest found point.

    Coello & Reyes Sierra (2004). 0 exactly when every reference point was found.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    return float(_distances(wanted, found).min(axis=1).mean())


def igd_plus(front: ArrayLike, reference: ArrayLike) -> float:
    """Return IGD where only objectives in which the found point is worse count.

    Ishibuchi et al. (2015). Unlike IGD it never rates a front below one that it dominates.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    shortfall = np.maximum(found[None, :, :] - wanted[:, None, :], 0.0)
    return float(np.sqrt((shortfall**2).sum(axis=2)).min(axis=1).mean())


def additive_epsilon(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the least by which all found costs must fall for the front to cover the reference.

    Zitzler et al. (2003): the largest over reference points of the smallest over found points of
    the largest difference. At most 0 exactly when every reference point is equalled or dominated.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    worst = (found[:, None, :] - wanted[None, :, :]).max(axis=2)
    return float(worst.min(axis=0).max())


def coverage(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the share of reference points that a found point equals or dominates.

    Zitzler & Thiele (1998). Not symmetric: give both directions.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    covered = np.all(found[None, :, :] <= wanted[:, None, :], axis=2)
    return float(np.any(covered, axis=1).mean())


def win_rate(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the share of (found, reference, objective) triples in which the found cost is lower.

    Li et al. (MAP, 2024, arXiv 2406.07529). 0.5 is parity. It ignores dominance and coverage:
    adding good extreme points can lower it. Use it to compare with that paper only.

    Raises:
        ValueError: a set is empty, or the numbers of objectives differ.
    """
    found, wanted = _pair(front, reference)
    return float((found[:, None, :] < wanted[None, :, :]).mean())


def _pair(
    front: ArrayLike, reference: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found, wanted = cost_matrix(front), cost_matrix(reference)
    if not len(found) or not len(wanted):
        raise ValueError(f"both sets need a point, got {len(found)} and {len(wanted)}")
    if found.shape[1] != wanted.shape[1]:
        raise ValueError(
            f"both sets need the same objectives, got {found.shape[1]} and {wanted.shape[1]}"
        )
    return found, wanted


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances, (n_a, n_b); differences first, so that equal points are exactly 0."""
    return np.asarray(np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)))
