"""Preferring, among candidates of similar worth, those that fill the front and keep apart.

After AP-BMM (arXiv 2512.09972, released code): worth (min-max scaled) + 0.25 gap - 0.15 proximity.
Gaps lie between neighbours on a front, which has an order in two objectives only; with more, the
distance to the front and to what is pending, in predicted targets, takes their place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GAP, PROXIMITY = 0.25, 0.15
_DECAY = 4.0  # of proximity with distance


def reranked(
    worths: Floats,
    means: Floats,
    front: Floats,
    pending: Floats,
    features: Floats,
    pending_features: Floats,
) -> Floats:
    """Return what candidates are chosen by, larger is better, (n_candidates,).

    Args:
        worths: logarithms of what they are worth, (n_candidates,).
        means: predicted targets, (n_candidates, n_objectives).
        front: targets of the non-dominated evaluated points, (n_front, n_objectives).
        pending: predicted targets of the points in flight, (n_pending, n_objectives).
        features: of the candidates, (n_candidates, n_features).
        pending_features: of the points in flight, (n_pending, n_features).
    """
    worth = _scaled(np.exp(worths - worths.max()))
    known = np.vstack([front, pending])
    filling = gap(means, front) if front.shape[1] == 2 else _scaled(distances(means, known))
    near = np.exp(-_DECAY * distances(features, pending_features))
    return np.asarray(worth + GAP * filling - PROXIMITY * near)


def gap(means: Floats, front: Floats) -> Floats:
    """Return how well candidates sit in wide gaps of a front of two objectives, (n_candidates,).

    The largest over neighbouring pairs of (gap / largest gap) exp(-(d / sigma)^2 / 2), d the
    distance to the pair's middle and sigma the front's diagonal / (its size - 1); 0 where the front
    has no two points.

    Args:
        means: predicted targets, (n_candidates, 2).
        front: targets, (n_front, 2).
    """
    line = np.unique(front, axis=0)  # sorted by the first objective
    if len(line) < 2:
        return np.zeros(len(means))
    widths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    middles = (line[1:] + line[:-1]) / 2
    sigma = np.linalg.norm(np.ptp(line, axis=0)) / (len(line) - 1)
    apart = np.linalg.norm(means[:, None] - middles[None], axis=2)
    return np.asarray((widths / widths.max() * np.exp(-0.5 * (apart / sigma) ** 2)).max(axis=1))


def distances(points: Floats, others: Floats) -> Floats:
    """Return the Euclidean distance of each point to the nearest other, inf without any."""
    if not len(others):
        return np.full(len(points), np.inf)
    return np.asarray(np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1))


def _scaled(values: Floats) -> Floats:
    span = float(np.ptp(values))
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)
