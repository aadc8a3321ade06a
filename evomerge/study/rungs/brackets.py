"""Brackets: candidates that begin at different rungs (Hyperband: Li et al. 2018, JMLR 18(185)).

A few items may order candidates otherwise than all of them do. Hyperband hedges against that: in a
bracket of their own some candidates begin at the second rung, fewer at the third, and a few are
scored on all items at once. Each bracket is to cost the same, which decides how many candidates it
gets (Algorithm 1 there).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


class Brackets:
    """Which bracket the next candidates belong to.

    Bracket b begins at rung b, the first being 0; the paper counts them from the top.

    Args:
        sizes: items a candidate is scored on by the end of each rung, increasing, (n_rungs,).
        share: of the candidates of a rung that goes on to the next.
        count: of brackets, from the first rung up; at most one for each rung.

    Attributes:
        shares: of all candidates, by bracket; they sum to 1. A candidate's cost is counted as in
            the paper, as if each rung scored all its items anew: with rungs that grow by 1 / share
            the shares are then in the paper's proportions, eta^s / (s + 1), s rungs below the top.
    """

    def __init__(self, sizes: Sequence[int], share: float, count: int) -> None:
        costs = [
            sum(size * share**rung for rung, size in enumerate(sizes[first:]))
            for first in range(count)
        ]
        total = sum(1 / cost for cost in costs)
        self.shares = tuple(1 / (cost * total) for cost in costs)
        self._placed = [0] * count

    def next(self) -> int:
        """Return the bracket that lacks most of its due; of equals the one that begins lower."""
        total = sum(self._placed)
        lacking = [
            share * total - placed for share, placed in zip(self.shares, self._placed, strict=True)
        ]
        return max(range(len(lacking)), key=lambda bracket: (round(lacking[bracket], 9), -bracket))

    def place(self, bracket: int) -> None:
        """Note a candidate of a bracket."""
        self._placed[bracket] += 1

    def cohort(self, bracket: int, size: int) -> int:
        """Return how many candidates a cohort of a bracket has.

        Args:
            bracket: in question.
            size: of a cohort of the first bracket.
        """
        return math.ceil(size * self.shares[bracket] / self.shares[0] - 1e-9)
