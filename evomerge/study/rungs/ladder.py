"""Which search items each rung scores: nested parts of one order, the same for everyone.

Scores on the same items are compared with less noise than scores on different ones (common random
numbers), and whoever climbs is scored on the new items of a rung only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evomerge.estimators import random_order

PROXY = -1
"""The rung below the first, where the objectives' proxies are asked."""

Positions = Mapping[str, tuple[int, ...]]
"""Objective name to positions of its search items."""


class Ladder:
    """The rungs of a study.

    The last rung is always that of all items. An objective with fewer items than a rung has is
    scored on all of them there; one without items is scored once, at a candidate's first rung.

    Args:
        sizes: items of each rung below the last, increasing.
        items: objective name to the ids of its search items.
        seed: of the order; each objective has its own.

    Attributes:
        order: objective name to its items' ids in the order in which they are scored; random at
            first.
        top: the number of the last rung; the first is 0.
    """

    def __init__(self, sizes: Sequence[int], items: Mapping[str, Sequence[str]], seed: int) -> None:
        most = max((len(ids) for ids in items.values()), default=0)
        self._sizes = [size for size in sizes if size < most]
        self._place = {name: {one: k for k, one in enumerate(ids)} for name, ids in items.items()}
        self.order = {
            name: random_order(ids, own_seed(seed, number))
            for number, (name, ids) in enumerate(items.items())
        }
        self.top = len(self._sizes)

    def n_items(self, objective: str, rung: int) -> int:
        """Return how many items of an objective a candidate at a rung is scored on; -1 is none."""
        if rung < 0:
            return 0
        count = len(self.order[objective])
        return count if rung >= self.top else min(self._sizes[rung], count)

    def total(self, rung: int) -> int:
        """Return how many items a candidate at a rung is scored on, over all objectives."""
        return sum(self.n_items(name, rung) for name in self.order)

    def new_items(self, below: int, rung: int) -> Positions:
        """Return the items of a rung that lie above another one, or above none (-1)."""
        return {
            name: tuple(
                sorted(
                    self._place[name][one]
                    for one in order[self.n_items(name, below) : self.n_items(name, rung)]
                )
            )
            for name, order in self.order.items()
        }


def own_seed(seed: int, *names: int) -> int:
    """Derive a seed from a study's, so that nothing else draws the same numbers."""
    return int(np.random.SeedSequence([seed, *names]).generate_state(1)[0])
