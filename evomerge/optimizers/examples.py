"""Per-example scores as vectors: for algorithms in which candidates compete for examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.types import Completed, Objective


class ExampleScores:
    """Turns the example scores of outcomes into vectors of one order, larger being better.

    The first outcome decides which examples there are.

    Args:
        objectives: names and goals, in order.

    Attributes:
        ids: (objective, item id) of each place of the vectors; empty before the first outcome.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self.ids: tuple[tuple[str, str], ...] = ()

    def vector(self, outcome: Completed) -> NDArray[np.float64]:
        """Return the scores of an outcome, shape (n_examples,).

        Raises:
            ValueError: an objective has no example scores, or other examples than before.
        """
        if not self.ids:
            self.ids = tuple(
                (objective.name, item)
                for objective in self._objectives
                for item in self._of(outcome, objective)
            )
        parts = []
        for objective in self._objectives:
            scores = self._of(outcome, objective)
            values = np.fromiter(scores.values(), np.float64, len(scores))
            parts.append(-values if objective.goal == "minimize" else values)
        found = np.concatenate(parts)
        if len(found) != len(self.ids) or not self._in_order(outcome):
            raise ValueError("the examples of a candidate are not those of the first one")
        return found

    def _in_order(self, outcome: Completed) -> bool:
        names = (
            (objective.name, item)
            for objective in self._objectives
            for item in outcome.examples[objective.name]
        )
        return all(one == other for one, other in zip(names, self.ids, strict=True))

    @staticmethod
    def _of(outcome: Completed, objective: Objective) -> Mapping[str, float]:
        scores = outcome.examples.get(objective.name)
        if not scores:
            raise ValueError(f"objective '{objective.name}' has no score for each example")
        return scores
