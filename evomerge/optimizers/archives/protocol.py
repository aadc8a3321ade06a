"""What all archives have in common.

Names and conventions are those of pyribs 0.12 (Tjanaka et al. 2023): objectives are maximised,
batches are arrays, `add` answers with a status and a value. Solutions are trial numbers. What is
ours: of equal objectives the lower number is kept, so that the members of an archive are a
function of the set of offers and not of their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

REJECTED, IMPROVED, NEW = 0, 1, 2
"""What became of an offer: nothing, it took somebody's place, it took a free one."""

Floats: TypeAlias = NDArray[np.float64]
Ranges: TypeAlias = Sequence[tuple[float, float]]
"""Lowest and highest value of each measure."""


@dataclass(frozen=True, slots=True)
class Elite:
    """A member of an archive.

    Attributes:
        solution: its trial number.
        objective: what it is kept for, larger being better.
        measures: its place.
        index: number of its cell.
    """

    solution: int
    objective: float
    measures: tuple[float, ...]
    index: int

    def outdone_by(self, objective: float, solution: int) -> bool:
        """Say whether another is better, or as good with a lower number."""
        return (objective, -solution) > (self.objective, -self.solution)


@dataclass(frozen=True, slots=True)
class AddInfo:
    """What became of one offer.

    Attributes:
        status: REJECTED, IMPROVED or NEW.
        value: as in pyribs. In cells: the objective where the cell was free, otherwise how far
            it is above the objective of the cell's elite, which is not positive for a rejected
            offer, and 0 for an equal one that came in by its lower number. Without cells: what
            members are chosen by.
        displaced: the trial number of the elite whose cell it took, None if it took none.
    """

    status: int
    value: float
    displaced: int | None = None


class Archive(Protocol):
    """Keeps the best individuals, each for its measures."""

    @property
    def cells(self) -> int:
        """How many members there can be."""
        ...

    @property
    def clipped(self) -> int:
        """How many offers lay outside the ranges and were counted at their edge."""
        ...

    @property
    def best_elite(self) -> Elite | None:
        """The member of the highest objective; None in an empty archive."""
        ...

    def __len__(self) -> int:
        """How many members there are."""
        ...

    def __contains__(self, solution: object) -> bool:
        """Say whether a trial number is a member."""
        ...

    def elites(self) -> tuple[Elite, ...]:
        """Return the members by index."""
        ...

    def add_single(self, solution: int, objective: float, measures: ArrayLike) -> AddInfo:
        """Offer one individual.

        Raises:
            ValueError: a number is not finite, or there is another number of measures.
        """
        ...

    def add(
        self, solution: ArrayLike, objective: ArrayLike, measures: ArrayLike
    ) -> dict[str, NDArray[Any]]:
        """Offer a batch.

        Args:
            solution: trial numbers, shape (n,).
            objective: shape (n,).
            measures: shape (n, n_measures).

        Returns:
            'status' int32 and 'value' float64, shape (n,): what would become of each if it were
            offered to the archive as it was before.

        Raises:
            ValueError: a number is not finite, or a shape does not fit.
        """
        ...

    def data(self) -> dict[str, NDArray[Any]]:
        """Return the members by index.

        Returns:
            'solution' int64 (n,), 'objective' float64 (n,), 'measures' float64 (n, n_measures)
            and 'index' int64 (n,).
        """
        ...


def checked_ranges(ranges: Ranges) -> Floats:
    """Return ranges as an array, shape (n_measures, 2).

    Raises:
        ValueError: there are none, or one is empty or not finite.
    """
    found = np.array(ranges, dtype=np.float64).reshape(-1, 2)
    if not len(found):
        raise ValueError("ranges: expected one pair for each measure, got none")
    if not np.isfinite(found).all() or (found[:, 0] >= found[:, 1]).any():
        raise ValueError(f"ranges: expected finite pairs with low < high, got {found.tolist()}")
    return found


def checked_offer(objective: float, measures: ArrayLike, n_measures: int) -> Floats:
    """Return the measures of one offer, shape (n_measures,).

    Raises:
        ValueError: a number is not finite, or there is another number of measures.
    """
    found = np.asarray(measures, dtype=np.float64)
    if found.shape != (n_measures,):
        raise ValueError(f"measures: expected shape ({n_measures},), got {found.shape}")
    if not (np.isfinite(objective) and np.isfinite(found).all()):
        raise ValueError(
            f"an archive takes finite numbers, got objective {objective} and measures "
            f"{found.tolist()}"
        )
    return found


def checked_batch(
    solution: ArrayLike, objective: ArrayLike, measures: ArrayLike, n_measures: int
) -> list[tuple[int, float, Floats]]:
    """Return a batch as single offers.

    Raises:
        ValueError: a number is not finite, or a shape does not fit.
    """
    numbers = np.asarray(solution, dtype=np.int64)
    objectives = np.asarray(objective, dtype=np.float64)
    rows = np.asarray(measures, dtype=np.float64)
    expected = {"solution": (numbers, 1), "objective": (objectives, 1), "measures": (rows, 2)}
    for name, (array, n_axes) in expected.items():
        if array.ndim != n_axes or len(array) != len(numbers):
            raise ValueError(
                f"{name}: expected {n_axes} axes, the first of length {numbers.size}, "
                f"got shape {array.shape}"
            )
    return [
        (int(number), float(value), checked_offer(float(value), row, n_measures))
        for number, value, row in zip(numbers, objectives, rows, strict=True)
    ]


def info_arrays(infos: Sequence[AddInfo]) -> dict[str, NDArray[Any]]:
    """Return what became of a batch as arrays."""
    return {
        "status": np.array([info.status for info in infos], dtype=np.int32),
        "value": np.array([info.value for info in infos], dtype=np.float64),
    }


def elite_arrays(elites: Sequence[Elite], n_measures: int) -> dict[str, NDArray[Any]]:
    """Return members as arrays, see `Archive.data`."""
    measures = np.array([elite.measures for elite in elites], dtype=np.float64)
    return {
        "solution": np.array([elite.solution for elite in elites], dtype=np.int64),
        "objective": np.array([elite.objective for elite in elites], dtype=np.float64),
        "measures": measures.reshape(len(elites), n_measures),
        "index": np.array([elite.index for elite in elites], dtype=np.int64),
    }
