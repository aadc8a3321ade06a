"""An archive of fixed size without cells, by dominated novelty.

    D_i = {j: j better than i}                    the better ones
    s_i = mean distance from i to its k nearest in D_i, infinite if D_i is empty

The members are the individuals of highest s: whoever is worse than a neighbour in the space of
measures goes first. Where fewer than k are better the mean is over those.

Source: Bahlous-Boldi, Faldor, Grillotti, Janmohamed, Coiffard, Spector and Cully 2025, "Dominated
Novelty Search", arXiv 2502.00593. There D is taken within the surviving population. Here it is
taken over everybody ever offered, so that the members do not depend on the order of the offers;
somebody who lost the place may get it back. Of two equal objectives the lower trial number counts
as better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.optimizers.archives.protocol import (
    NEW,
    REJECTED,
    AddInfo,
    Elite,
    Floats,
    Ranges,
    checked_batch,
    checked_offer,
    checked_ranges,
    info_arrays,
)


class DominatedNoveltyArchive:
    """The individuals of highest dominated novelty; memory and time grow with the offers.

    Args:
        capacity: how many.
        ranges: lowest and highest value of each measure, by which distances are scaled; values
            outside are as good as those inside.
        k_neighbors: k.

    Attributes:
        cells: the capacity.
        clipped: 0.

    Raises:
        ValueError: the capacity or k is not positive, or a range is empty.
    """

    clipped = 0

    def __init__(self, *, capacity: int, ranges: Ranges, k_neighbors: int = 3) -> None:
        if capacity < 1 or k_neighbors < 1:
            raise ValueError(
                f"expected capacity and k_neighbors of at least 1, got {capacity}, {k_neighbors}"
            )
        self.cells = capacity
        self._ranges = checked_ranges(ranges)
        self._k = k_neighbors
        self._size = 0
        self._solution = np.empty(0, dtype=np.int64)
        self._objective: Floats = np.empty(0)
        self._measures: Floats = np.empty((0, len(self._ranges)))
        self._nearest: Floats = np.empty((0, k_neighbors))  # distances to better ones, increasing
        self._members = np.empty(0, dtype=np.int64)  # rows, by trial number

    @property
    def empty(self) -> bool:
        """Whether there are no members."""
        return not len(self._members)

    @property
    def best_elite(self) -> Elite | None:
        """The member of the highest objective, of equals the lowest trial number."""
        if not len(self._members):
            return None
        return self._elite(int(np.argmax(self._objective[self._members])))  # the first of equals

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, solution: object) -> bool:
        return bool((self._solution[self._members] == solution).any())

    def elites(self) -> tuple[Elite, ...]:
        """Return the members by trial number; their index is their place in this order."""
        return tuple(self._elite(place) for place in range(len(self._members)))

    def data(self) -> dict[str, NDArray[Any]]:
        """Return the members as arrays, see `evomerge.optimizers.archives.Archive`."""
        return {
            "solution": self._solution[self._members],
            "objective": self._objective[self._members],
            "measures": self._measures[self._members],
            "index": np.arange(len(self._members)),
        }

    def dominated_novelty(self) -> Floats:
        """Return s of the members, in the order of `elites`."""
        return self._scores()[self._members]

    def add_single(self, solution: int, objective: float, measures: ArrayLike) -> AddInfo:
        """Offer one individual.

        Returns:
            NEW for a member, else REJECTED; the value is its dominated novelty.

        Raises:
            ValueError: a number is not finite, or there is another number of measures.
        """
        place = checked_offer(objective, measures, len(self._ranges))
        row = self._record(solution, objective, place)
        scores = self._select()
        status = NEW if (self._members == row).any() else REJECTED
        return AddInfo(status, float(scores[row]))

    def add(
        self, solution: ArrayLike, objective: ArrayLike, measures: ArrayLike
    ) -> dict[str, NDArray[Any]]:
        """Offer a batch; unlike in cells, the answer is how things stand after all of it.

        Raises:
            ValueError: a number is not finite, or a shape does not fit.
        """
        offers = checked_batch(solution, objective, measures, len(self._ranges))
        rows = [self._record(*offer) for offer in offers]
        scores, members = self._select(), set(self._members.tolist())
        return info_arrays(
            [AddInfo(NEW if row in members else REJECTED, float(scores[row])) for row in rows]
        )

    def _elite(self, place: int) -> Elite:
        row = self._members[place]
        measures = tuple(self._measures[row].tolist())
        return Elite(int(self._solution[row]), float(self._objective[row]), measures, place)

    def _scores(self) -> Floats:
        """Return s of everybody."""
        nearest = self._nearest[: self._size]
        known = np.isfinite(nearest)
        sums = np.where(known, nearest, 0.0).sum(axis=1)
        found: Floats = np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), np.inf)
        return found

    def _record(self, solution: int, objective: float, measures: Floats) -> int:
        """Note an individual and how near it is to those that are better or worse."""
        row = self._size
        self._grow()
        width = self._ranges[:, 1] - self._ranges[:, 0]
        distance = np.linalg.norm((self._measures[:row] - measures) / width, axis=1)
        others, numbers = self._objective[:row], self._solution[:row]
        better = (others > objective) | ((others == objective) & (numbers < solution))
        near = np.sort(distance[better])[: self._k]
        self._nearest[row] = np.inf
        self._nearest[row, : len(near)] = near
        worse = np.flatnonzero(~better)
        wider = np.column_stack([self._nearest[worse], distance[worse]])
        self._nearest[worse] = np.sort(wider, axis=1)[:, : self._k]
        self._solution[row], self._objective[row] = solution, objective
        self._measures[row] = measures
        self._size += 1
        return row

    def _grow(self) -> None:
        """Make room for one more."""
        if self._size < len(self._solution):
            return
        room = max(16, self._size)
        self._solution = np.concatenate([self._solution, np.empty(room, dtype=np.int64)])
        self._objective = np.concatenate([self._objective, np.empty(room)])
        self._measures = np.concatenate([self._measures, np.empty((room, len(self._ranges)))])
        self._nearest = np.concatenate([self._nearest, np.empty((room, self._k))])

    def _select(self) -> Floats:
        """Choose the members: by s, then objective, then the lower trial number; return all s."""
        scores = self._scores()
        numbers, objectives = self._solution[: self._size], self._objective[: self._size]
        order = np.lexsort((numbers, -objectives, -scores))[: self.cells]
        self._members = order[np.argsort(numbers[order])]
        return scores
