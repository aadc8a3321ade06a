"""Who goes on to the next rung, by comparison with the peers that were scored on the same items.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) compares the members of a cohort
once all are scored. The asynchronous rule (Li et al. 2020, arXiv 1810.05934) compares a candidate
with all that were scored at its rung so far, at once: it either goes on or stops for good, so that
the merged model is still in memory and no worker waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import own_range, ranks

Floats = NDArray[np.float64]


class Peers:
    """Those that were scored at a rung so far, for the asynchronous rule.

    They are kept in layers of non-domination. A candidate that comes pushes those it dominates,
    and those they dominate, one layer down, so that nothing is sorted anew.

    Args:
        share: of the candidates that goes on.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._layers: list[Floats] = []
        self._count = 0

    def goes_on(self, costs: Sequence[float] | Floats) -> bool:
        """Add a candidate; say whether it is among the best of all so far, in `ordered`'s order.

        The first always is.

        Args:
            costs: (n_objectives,).
        """
        row = np.asarray(costs, dtype=np.float64)[None, :]
        layer = self._add(row)
        self._count += 1
        alone = crowding(self._layers[layer])
        before = sum(len(one) for one in self._layers[:layer]) + int(
            (alone[:-1] >= alone[-1]).sum()
        )
        return before < self._share * self._count

    def _add(self, row: Floats) -> int:
        """Add a row, the last of its layer; returns which layer that is."""
        first, end = 0, len(self._layers)
        while first < end:  # who is dominated by a layer is so by all above it
            middle = (first + end) // 2
            if _dominated(self._layers[middle], row).any():
                first = middle + 1
            else:
                end = middle
        coming = row
        for at in range(first, len(self._layers)):
            layer = self._layers[at]
            pushed = _dominated(coming, layer)
            if pushed.all():  # then all layers below move as they are
                self._layers.insert(at, coming)
                return first
            self._layers[at] = np.vstack([layer[~pushed], coming])
            coming = layer[pushed]
            if not len(coming):
                return first
        self._layers.append(coming)
        return first


def _dominated(costs: Floats, others: Floats) -> NDArray[np.bool_]:
    """Say which of the others are dominated by any of these, (n_others,)."""
    a, b = costs[:, None, :], others[None, :, :]
    return np.asarray(((a <= b).all(axis=2) & (a < b).any(axis=2)).any(axis=0))


def best_of_cohort(costs: Floats, share: float) -> list[int]:
    """Return the rows of a cohort that go on: the share of them, rounded up, best first.

    Args:
        costs: (n_members, n_objectives).
        share: of the members that goes on.
    """
    return [int(row) for row in ordered(costs)[: math.ceil(share * len(costs))]]


def ordered(costs: Floats) -> NDArray[np.intp]:
    """Return rows from best to worst: by non-domination rank, then by how alone they are.

    With one objective that is by cost. Within a rank the crowding distance decides (Deb et al.
    2002, Section III-B), then the earlier row. Of equal costs the first and the last row count as
    the ends of their rank: whoever comes last is not stopped by equals.

    Args:
        costs: minimised, (n_points, n_objectives).
    """
    layer = ranks(costs)
    alone = np.zeros(len(costs))
    for rank in range(int(layer.max(initial=-1)) + 1):
        rows = np.flatnonzero(layer == rank)
        alone[rows] = crowding(costs[rows])
    return np.lexsort((np.arange(len(costs)), -alone, layer))


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
