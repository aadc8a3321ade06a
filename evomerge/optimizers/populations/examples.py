"""Per-example scores as vectors: for algorithms in which candidates compete for examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.types import Completed, Objective


class ScoreArray(Mapping[str, float]):
    """Scores of many examples as an array; to everybody else it is a mapping like any other.

    It spares a fitness that scores thousands of examples at once, in the process of the search, a
    dictionary for each candidate.

    Args:
        items: ids of the examples; the same object for all candidates.
        values: their scores, shape (n_items,); not copied.

    Attributes:
        ids: the examples.
        array: the scores.

    Raises:
        ValueError: there are more or fewer scores than examples.
    """

    __slots__ = ("_places", "array", "ids")

    def __init__(self, items: tuple[str, ...], values: NDArray[np.generic]) -> None:
        if values.shape != (len(items),):
            raise ValueError(f"scores have shape {values.shape}, expected ({len(items)},)")
        self.ids = items
        self._places: dict[str, int] | None = None
        self.array = values

    def __getitem__(self, item: str) -> float:
        if self._places is None:
            self._places = {one: place for place, one in enumerate(self.ids)}
        return float(self.array[self._places[item]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class ExampleScores:
    """Turns the example scores of outcomes into vectors of one order, larger being better.

    The first outcome decides which examples there are, and their order.

    Args:
        objectives: names and goals, in order.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._items: tuple[tuple[str, ...], ...] = ()

    @property
    def ids(self) -> tuple[tuple[str, str], ...]:
        """(objective, item id) of each place of the vectors; empty before the first outcome."""
        return tuple(
            (objective.name, item)
            for objective, items in zip(self._objectives, self._items, strict=False)
            for item in items
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """How many examples each objective has; empty before the first outcome."""
        return tuple(map(len, self._items))

    def vector(self, outcome: Completed) -> NDArray[np.float64]:
        """Return the scores of an outcome, shape (n_examples,).

        Raises:
            ValueError: an objective has no example scores, one of them is no finite number, or
                they are of other examples than those of the first outcome.
        """
        scores = [self._of(outcome, objective) for objective in self._objectives]
        items = self._items or tuple(map(_ids, scores))
        parts = [
            _values(objective, known, found)
            for objective, known, found in zip(self._objectives, items, scores, strict=True)
        ]
        self._items = items
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @staticmethod
    def _of(outcome: Completed, objective: Objective) -> Mapping[str, float]:
        scores = outcome.examples.get(objective.name)
        if not scores:
            raise ValueError(f"objective '{objective.name}' has no score for each example")
        return scores


def _ids(scores: Mapping[str, float]) -> tuple[str, ...]:
    return scores.ids if isinstance(scores, ScoreArray) else tuple(scores)


def _values(
    objective: Objective, items: tuple[str, ...], scores: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the scores of known items in their order."""
    if isinstance(scores, ScoreArray) and scores.ids is items:
        values = scores.array.astype(np.float64)
    elif tuple(scores) == items:  # as a rule, and quick
        values = np.fromiter(scores.values(), np.float64, len(items))
    elif scores.keys() == frozenset(items):
        values = np.fromiter(map(scores.__getitem__, items), np.float64, len(items))
    else:
        raise ValueError(_changed(objective.name, items, scores))
    if not np.isfinite(values).all():
        worst = items[int(np.argmin(np.isfinite(values)))]
        raise ValueError(
            f"objective '{objective.name}': the score of example '{worst}' is {scores[worst]}, "
            "expected a finite number"
        )
    return -values if objective.goal == "minimize" else values


def _changed(name: str, items: tuple[str, ...], scores: Mapping[str, float]) -> str:
    known = frozenset(items)
    missing = [item for item in items if item not in scores]
    new = [item for item in scores if item not in known]
    found = f"'{missing[0]}' is missing" if missing else f"'{new[0]}' is new"
    return (
        f"objective '{name}': the examples of a candidate are not those of the first one "
        f"({len(scores)} examples against {len(items)}, {found}); score all candidates on the "
        "same items"
    )
