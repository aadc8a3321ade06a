"""What is known before a candidate is asked: the benchmark, full answers of the endpoints, items.

Ids are sorted once, so that neither the order of a benchmark nor that of answers can change an
estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.estimators.item_model import ItemParameters, similar_id, unique_ids

Answers = Mapping[str, float]
"""Score in [0, 1] by item id."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Answers in the order of a benchmark.

    Attributes:
        positions: which items were answered, ascending, (n_answers,).
        values: the answers, (n_answers,).
    """

    positions: NDArray[np.intp]
    values: NDArray[np.float64]


class Benchmark:
    """The items whose mean score is wanted, and how much each counts.

    Args:
        item_ids: every item, each once.
        subtasks: the subtask of each item; each subtask then counts the same, however many items
            it has: item i weighs 1 / (n_subtasks × n_items of its subtask). All items weigh the
            same without.

    Attributes:
        ids: sorted.
        weights: of the items in the score, (n_items,), their sum is 1.

    Raises:
        UserError: no items, an id appears twice, or an item has no subtask; it is named.
    """

    def __init__(self, item_ids: Iterable[str], subtasks: Mapping[str, str] | None = None) -> None:
        self.ids = tuple(sorted(unique_ids(item_ids)))
        self.weights = balanced_weights(self.ids, subtasks)
        self._position = {name: number for number, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, answers: Answers, whose: str = "the candidate") -> Answered:
        """Check answers and put them in order.

        Raises:
            UserError: an id is not of this benchmark or a score is not in [0, 1]; it is named.
        """
        try:
            positions = [self._position[name] for name in answers]
        except KeyError as error:
            name = error.args[0]
            raise UserError(
                f"{whose} answered item '{name}', which is not in the benchmark; "
                f"{similar_id(str(name), self.ids)}"
            ) from None
        order = np.array(positions, dtype=np.intp)
        values = np.fromiter(answers.values(), dtype=np.float64, count=len(answers))
        good = (values >= 0.0) & (values <= 1.0)
        if not good.all():
            wrong = int(np.argmin(good))
            raise UserError(
                f"{whose} scored {values[wrong]:g} on item '{self.ids[order[wrong]]}'; "
                "estimators need scores between 0 and 1"
            )
        ascending = np.argsort(order)
        return Answered(order[ascending], values[ascending])

    def read_all(self, answers: Answers, whose: str) -> NDArray[np.float64]:
        """Return answers to every item, (n_items,).

        Raises:
            UserError: as `read`, or an item is missing; it is named.
        """
        answered = self.read(answers, whose)
        if len(answered.values) < len(self):
            missing = next(name for name in self.ids if name not in answers)
            raise UserError(
                f"{whose} did not answer item '{missing}' ({len(answered.values)} of {len(self)} "
                "answered); endpoints have to be scored on every item"
            )
        return answered.values


class Evidence:
    """Everything an estimator is built from.

    Args:
        item_ids: every item of the benchmark.
        endpoints: full answers of the donors and the base, by model name.
        items: item parameters of at least these items; fitted on the answers when None.
        answers: more answers to fit item parameters on, by model name; gaps are allowed.
        subtasks: subtask of each item, see `Benchmark`.
        rank: how many abilities a fitted item model has, 1 or 2.
        seed: of the fit's start.

    Raises:
        UserError: an item id is unknown, missing or listed twice, or a model name is used twice.
    """

    def __init__(
        self,
        item_ids: Iterable[str],
        *,
        endpoints: Mapping[str, Answers] | None = None,
        items: ItemParameters | None = None,
        answers: Mapping[str, Answers] | None = None,
        subtasks: Mapping[str, str] | None = None,
        rank: int = 1,
        seed: int = 0,
    ) -> None:
        self.benchmark = Benchmark(item_ids, subtasks)
        self.endpoints = {
            name: self.benchmark.read_all(given, f"endpoint '{name}'")
            for name, given in sorted((endpoints or {}).items())
        }
        self._given = None if items is None else items.select(self.benchmark.ids)
        self._table = {**(endpoints or {}), **(answers or {})}
        if len(self._table) < len(endpoints or {}) + len(answers or {}):
            twice = next(name for name in (endpoints or {}) if name in (answers or {}))
            raise UserError(
                f"model '{twice}' stands among endpoints and among answers; name it once"
            )
        self._rank, self._seed = rank, seed

    @cached_property
    def items(self) -> ItemParameters:
        """Item parameters in the benchmark's order: those given, or fitted when first needed.

        Raises:
            UserError: no parameters were given and there are no answers to fit them on.
        """
        if self._given is not None:
            return self._given
        if not self._table:
            raise UserError(
                "item parameters are needed: give them, or full answers of endpoints to fit them on"
            )
        from evomerge.estimators.self_fit import fit_items  # noqa: PLC0415  # loads scipy

        return fit_items(self._table, self.benchmark.ids, self._rank, self._seed).items


def balanced_weights(
    item_ids: Iterable[str], subtasks: Mapping[str, str] | None = None
) -> NDArray[np.float64]:
    """Return how much each item counts when every subtask counts the same, (n_items,).

    w_i = 1 / (n_subtasks × n_items of the subtask of i); without subtasks 1 / n_items. Their sum
    is 1.

    Raises:
        UserError: an item has no subtask; it is named.
    """
    ids = tuple(item_ids)
    if subtasks is None:
        return np.full(len(ids), 1.0 / len(ids))
    for name in ids:
        if name not in subtasks:
            raise UserError(f"item '{name}' has no subtask; give one for every item, or for none")
    _, inverse, sizes = np.unique(
        [subtasks[name] for name in ids], return_inverse=True, return_counts=True
    )
    return np.asarray(1.0 / (len(sizes) * sizes[inverse]))
