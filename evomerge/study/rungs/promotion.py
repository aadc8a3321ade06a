"""Who goes on to the next rung, by comparison with the peers that were scored on the same items.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) compares the members of a cohort
once all are scored. The asynchronous rule (Li et al. 2020, arXiv 1810.05934) compares a candidate
with those that were scored at its rung before, at once: it either goes on or stops for good, so
that the merged model is still in memory and no worker waits.

Two things differ from the paper, whose candidates are drawn at random and whose scores rarely tie.
A candidate is compared with the latest peers and not with all so far, and no more go on than the
share of all that were scored: an optimizer that improves would send up nearly everything it
proposes, each being better than most of its past. And of equals, which are many where a score is
the mean of ten right or wrong answers, a share goes on that is drawn by lot, the seed's, where
letting all of them on would leave most of the budget to a rung that cannot tell them apart.
experiments/evaluation_economy measures both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import own_range, ranks

Floats = NDArray[np.float64]

GOING_ON = 5
"""A candidate is compared with so many peers that this number of them goes on."""


class Peers:
    """Those that were scored at a rung lately, for the asynchronous rule.

    Args:
        share: of the candidates that goes on.
        seed: of the lots by which equals are told apart.
    """

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._random = np.random.default_rng(seed)
        latest = round(GOING_ON / share)
        self._costs: deque[Sequence[float] | Floats] = deque(maxlen=latest)
        self._lots: deque[float] = deque(maxlen=latest)
        self._n_scored, self._n_gone = 0, 0

    def goes_on(self, costs: Sequence[float] | Floats) -> bool:
        """Add a candidate; say whether it is among the best of the latest, itself included.

        So many of them are as the share comes to, rounded, and one at least: the first goes on.
        Nobody goes on while the share of all so far has gone on already.

        Args:
            costs: (n_objectives,).
        """
        self._costs.append(costs)
        self._lots.append(float(self._random.random()))
        count = len(self._costs)
        best = ordered(np.array(self._costs), np.array(self._lots))
        is_good = count - 1 in best[: max(1, round(self._share * count))]
        self._n_scored += 1
        goes_on = is_good and self._n_gone < max(1.0, self._share * self._n_scored)
        self._n_gone += goes_on
        return goes_on


def best_of_cohort(costs: Floats, share: float, seed: int) -> list[int]:
    """Return the rows of a cohort that go on: the share of them, rounded up, best first.

    Args:
        costs: (n_members, n_objectives).
        share: of the members that goes on.
        seed: of the lots by which equals are told apart.
    """
    lots = np.random.default_rng(seed).random(len(costs))
    count = math.ceil(share * len(costs) - 1e-9)
    return [int(row) for row in ordered(costs, lots)[:count]]


def ordered(costs: Floats, lots: Floats) -> NDArray[np.intp]:
    """Return rows from best to worst: by non-domination rank, then by how alone they are.

    With one objective that is by cost. Within a rank the crowding distance decides (Deb et al.
    2002, Section III-B), that of a point being the same for all rows there, then the lots.

    Args:
        costs: minimised, (n_points, n_objectives).
        lots: the lower goes first, (n_points,).
    """
    if costs.shape[1] == 1:
        return np.lexsort((lots, costs[:, 0]))
    points, place = np.unique(costs, axis=0, return_inverse=True)
    layer = ranks(points)
    alone = np.zeros(len(points))
    for rank in range(int(layer.max(initial=-1)) + 1):
        rows = np.flatnonzero(layer == rank)
        alone[rows] = crowding(points[rows])
    place = place.reshape(-1)
    return np.lexsort((lots, -alone[place], layer[place]))


def crowding(costs: Floats) -> Floats:
    """Return the crowding distance of each point among the others, infinite at the ends.

    Args:
        costs: of points that do not dominate one another, (n_points, n_objectives).
    """
    n, n_objectives = costs.shape
    distance = np.zeros(n)
    if n == 0:
        return distance
    unit = own_range(costs)
    for k in range(n_objectives):
        order = np.argsort(unit[:, k], kind="stable")
        value = unit[order, k]
        distance[order[[0, -1]]] = np.inf
        if n > 2:
            distance[order[1:-1]] += value[2:] - value[:-2]
    return distance
