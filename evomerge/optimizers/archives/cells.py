"""An elite in every cell: MAP-Elites (Mouret and Clune 2015, arXiv 1504.04909)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.optimizers.archives.protocol import (
    IMPROVED,
    NEW,
    REJECTED,
    AddInfo,
    Elite,
    Floats,
    Ranges,
    checked_batch,
    checked_offer,
    checked_ranges,
    elite_arrays,
    info_arrays,
)

TOLERANCE = 1e-9
"""Of a share of a range: 0.3 of [0, 0.75] is an edge of 15 bins, 6 x 0.05 in floats is not 0.3."""


class CellArchive(ABC):
    """An archive of cells; a subclass says in `index_of` which measures share one.

    Args:
        ranges: lowest and highest value of each measure; what lies outside counts at the edge.

    Attributes:
        clipped: see `evomerge.optimizers.archives.Archive`.

    Raises:
        ValueError: a range is empty or not finite.
    """

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = checked_ranges(ranges)
        self._elites: dict[int, Elite] = {}
        self._members: dict[int, int] = {}  # trial number to how many cells it holds
        self.clipped = 0

    @property
    @abstractmethod
    def cells(self) -> int:
        """How many cells there are."""

    @abstractmethod
    def index_of(self, measures: ArrayLike) -> NDArray[np.int64]:
        """Return the cells of measures.

        Args:
            measures: shape (n, n_measures).

        Returns:
            Shape (n,).
        """

    @property
    def lower_bounds(self) -> Floats:
        """Lowest value of each measure, shape (n_measures,)."""
        return self._ranges[:, 0]

    @property
    def upper_bounds(self) -> Floats:
        """Highest value of each measure, shape (n_measures,)."""
        return self._ranges[:, 1]

    @property
    def empty(self) -> bool:
        """Whether there are no members."""
        return not self._elites

    @property
    def best_elite(self) -> Elite | None:
        """The member of the highest objective, of equals the lowest trial number."""
        ranked = self._elites.values()
        return max(ranked, key=lambda one: (one.objective, -one.solution), default=None)

    def __len__(self) -> int:
        return len(self._elites)

    def __contains__(self, solution: object) -> bool:
        return solution in self._members

    def elites(self) -> tuple[Elite, ...]:
        """Return the members by index."""
        return tuple(self._elites[index] for index in sorted(self._elites))

    def data(self) -> dict[str, NDArray[Any]]:
        """Return the members as arrays, see `evomerge.optimizers.archives.Archive`."""
        return elite_arrays(self.elites(), len(self._ranges))

    def retrieve_single(self, measures: ArrayLike) -> Elite | None:
        """Return the elite of the cell of some measures, None if nobody holds it."""
        return self._elites.get(int(self.index_of(np.asarray(measures)[None])[0]))

    def add_single(self, solution: int, objective: float, measures: ArrayLike) -> AddInfo:
        """Offer one individual: it takes its cell iff the cell's elite is worse.

        Raises:
            ValueError: a number is not finite, or there is another number of measures.
        """
        place = checked_offer(objective, measures, len(self._ranges))
        return self._enter(solution, objective, place)

    def add(
        self, solution: ArrayLike, objective: ArrayLike, measures: ArrayLike
    ) -> dict[str, NDArray[Any]]:
        """Offer a batch, see `evomerge.optimizers.archives.Archive`.

        Raises:
            ValueError: a number is not finite, or a shape does not fit.
        """
        offers = checked_batch(solution, objective, measures, len(self._ranges))
        infos = [self._verdict(self._newcomer(*offer)) for offer in offers]
        for offer in offers:
            self._enter(*offer)
        return info_arrays(infos)

    def _unit(self, measures: Floats) -> Floats:
        """Return measures as shares of their ranges, not clipped."""
        low, high = self._ranges[:, 0], self._ranges[:, 1]
        unit: Floats = (measures - low) / (high - low)
        return unit

    def _newcomer(self, solution: int, objective: float, measures: Floats) -> Elite:
        index = int(self.index_of(measures[None])[0])
        return Elite(solution, float(objective), tuple(measures.tolist()), index)

    def _verdict(self, one: Elite) -> AddInfo:
        """Say what becomes of an offer."""
        held = self._elites.get(one.index)
        if held is None:
            return AddInfo(NEW, one.objective)
        gain = one.objective - held.objective
        if held.outdone_by(one.objective, one.solution):
            return AddInfo(IMPROVED, gain, held.solution)
        return AddInfo(REJECTED, gain)

    def _enter(self, solution: int, objective: float, measures: Floats) -> AddInfo:
        unit = self._unit(measures)
        self.clipped += bool(((unit < -TOLERANCE) | (unit > 1 + TOLERANCE)).any())
        one = self._newcomer(solution, objective, measures)
        info = self._verdict(one)
        if info.status != REJECTED:
            self._elites[one.index] = one
            self._members[solution] = self._members.get(solution, 0) + 1
            if info.displaced is not None:
                self._leave(info.displaced)
        return info

    def _leave(self, solution: int) -> None:
        self._members[solution] -= 1
        if not self._members[solution]:
            del self._members[solution]
