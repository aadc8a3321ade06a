"""Who goes on to the next rung, by comparison with the peers that were scored on the same items.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) compares the members of a cohort
once all are scored. The asynchronous rule (Li et al. 2020, arXiv 1810.05934) compares a candidate
with all that were scored at its rung so far, at once: it either goes on or stops for good, so that
the merged model is still in memory and no worker waits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import own_range, ranks

Floats = NDArray[np.float64]


def goes_on(costs: Floats, others: Floats, share: float) -> bool:
    """Say whether a candidate is among the best of those scored at its rung so far.

    Args:
        costs: the candidate's, (n_objectives,).
        others: those of its peers, (n_peers, n_objectives).
        share: of peers and candidate together that goes on; the first always does.
    """
    every = np.vstack([others, costs[None, :]]) if len(others) else costs[None, :]
    place = int(np.flatnonzero(ordered(every) == len(every) - 1)[0])
    return place < share * len(every)


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
    2002, Section III-B), and of equals the earlier row.

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
