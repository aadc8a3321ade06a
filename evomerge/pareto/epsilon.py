"""A few points that stand for a whole front: the smallest epsilon for which k of them do.

A point epsilon-dominates another when it is worse by at most epsilon in every objective
(Laumanns et al., 2002, in the additive form of Zitzler et al., 2003). The k points for which the
smallest epsilon suffices are the subset of the best additive epsilon indicator.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.dominance import cost_matrix, non_dominated


def epsilon_subset(costs: ArrayLike, k: int) -> NDArray[np.intp]:
    """Return the indices, in increasing order, of `k` points that epsilon-dominate all.

    With two objectives, and with k = 1, epsilon is the smallest there is: a sweep along the front
    decides whether k points suffice for an epsilon, and only the differences between points need
    be tried (Vaz et al., 2015; Bringmann, Friedrich & Klitzke, 2014). With more objectives the
    decision is a set cover, which is NP-hard; the greedy cover of Chvátal (1979) stands in for it
    and the result is then improved by exchanging single points while that lowers epsilon, so that
    it may be above the smallest. Where fewer points suffice, those that were served worst are
    added. O(n²) memory, 16 MB for 1000 points.

    Args:
        costs: minimised, on one scale, (n_points, n_objectives).
        k: how many points, at least 1; all are returned when there are no more.

    Raises:
        ValueError: `k` is below 1, or a cost is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    matrix = cost_matrix(costs)
    if len(matrix) <= k:
        return np.arange(len(matrix))
    # A dominated point is served by whoever serves its dominator, and serves nobody better.
    front = non_dominated(matrix, dedupe=True)
    if len(front) <= k:
        chosen = front.tolist()
    elif matrix.shape[1] == 2:
        along = front[np.argsort(matrix[front, 0])]
        worse = shortfalls(matrix[along], matrix[along])
        chosen = along[_smallest(worse, lambda epsilon: _sweep(worse, epsilon, k))].tolist()
    else:
        worse = shortfalls(matrix[front], matrix[front])
        cover = _smallest(worse, lambda epsilon: _greedy(worse <= epsilon, k))
        chosen = front[_exchange(worse, cover)].tolist()
    if len(chosen) < k:
        served = shortfalls(matrix[chosen], matrix).min(axis=0)
        while len(chosen) < k:
            served[chosen] = -1.0
            chosen.append(int(served.argmax()))
            served = np.minimum(served, shortfalls(matrix[chosen[-1:]], matrix)[0])
    return np.sort(np.array(chosen, dtype=np.intp))


def shortfalls(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much each point of `a` is worse than each of `b` at worst, (n_a, n_b).

    0 where it is nowhere worse.
    """
    worst = np.zeros((len(a), len(b)))
    for column in range(a.shape[1]):  # one objective at a time, to need no third dimension
        np.maximum(worst, a[:, None, column] - b[None, :, column], out=worst)
    return worst


def _smallest(worse: NDArray[np.float64], cover: Callable[[float], list[int] | None]) -> list[int]:
    """Return the cover for the smallest epsilon that bisection finds among the differences."""
    candidates = np.unique(worse)
    found = [0]  # at the largest difference any one point covers all
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        attempt = cover(float(candidates[middle]))
        if attempt is None:
            low = middle + 1
        else:
            found, high = attempt, middle
    return found


def _sweep(worse: NDArray[np.float64], epsilon: float, k: int) -> list[int] | None:
    """Cover a front of two objectives, sorted by the first, from one end; None with k too few.

    The first point that is not covered yet is covered by itself and by its neighbours up to some
    place on the right; the last of these reaches farthest.
    """
    chosen: list[int] = []
    first = 0
    while first < len(worse):
        if len(chosen) == k:
            return None
        taken = first + int(np.searchsorted(worse[first:, first], epsilon, side="right")) - 1
        chosen.append(taken)
        first = taken + int(np.searchsorted(worse[taken, taken:], epsilon, side="right"))
    return chosen


def _greedy(covers: NDArray[np.bool_], k: int) -> list[int] | None:
    """Take the point that covers most of what is not covered yet; None when k are too few."""
    chosen: list[int] = []
    left = np.ones(len(covers), dtype=bool)
    while left.any():
        if len(chosen) == k:
            return None
        chosen.append(int(covers[:, left].sum(axis=1).argmax()))
        left &= ~covers[chosen[-1]]
    return chosen


def _exchange(worse: NDArray[np.float64], chosen: list[int]) -> list[int]:
    """Replace one chosen point after another while that lowers epsilon."""
    chosen = list(chosen)
    epsilon = worse[chosen].min(axis=0).max()
    improved = True
    while improved:
        improved = False
        for position in range(len(chosen)):
            others = chosen[:position] + chosen[position + 1 :]
            served = worse[others].min(axis=0) if others else np.full(len(worse), np.inf)
            reached = np.minimum(worse, served).max(axis=1)
            best = int(reached.argmin())
            if reached[best] < epsilon:
                chosen[position], epsilon, improved = best, reached[best], True
    return chosen
