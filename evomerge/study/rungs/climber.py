"""One trial on its way up: what it was scored on, in the ladder's order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evomerge.study.example_ids import HOW_TO_RETURN
from evomerge.study.rungs.ladder import Ladder
from evomerge.types import Bounds, Completed

Floats = NDArray[np.float64]

_SAME = 1e-6
"""How far a metric may be from the mean of its items' scores, relative to 1: rounding."""


@dataclass(slots=True)
class Climber:
    """A trial's books.

    Attributes:
        part: of the run.
        cohort: with whom it is compared, under successive halving.
        bracket: in which it is, the number of the rung it begins at.
        origin: which known point it is, scored on all items at once; '' for all others.
        rung: the one it is scored at, or waits at.
        scored: the highest rung it was scored at; -1 before.
        outcome: of all its items so far.
        scores: objective name to these items' scores, in the ladder's order.
        costs: what it is compared by at each rung it was scored at.
        promising: it was among the best of those that its rung had scored by then.
    """

    part: int
    cohort: int | None
    bracket: int
    origin: str
    rung: int
    scored: int = -1
    outcome: Completed = field(default_factory=lambda: Completed({}))
    scores: dict[str, Floats] = field(default_factory=dict)
    costs: dict[int, list[float]] = field(default_factory=dict)
    promising: bool = True

    def add(self, outcome: Completed, ladder: Ladder, bounds: Mapping[str, Bounds]) -> None:
        """Note the scores of the new items of its rung.

        Args:
            outcome: of these items.
            ladder: says which they are.
            bounds: of the scores, by objective, where they count on them.

        Raises:
            ValueError: they are not what a rung needs; the message is for the user.
        """
        for name, order in ladder.order.items():
            wanted = order[ladder.n_items(name, self.scored) : ladder.n_items(name, self.rung)]
            if wanted:
                new = rung_scores(name, wanted, outcome, bounds.get(name, (None, None)))
                before = self.scores.get(name, np.empty(0))
                self.scores[name] = np.concatenate([before, new])
        examples = {
            name: dict(zip(ladder.order[name], scores.tolist(), strict=False))
            for name, scores in self.scores.items()
        }
        means = {name: float(scores.mean()) for name, scores in self.scores.items()}
        metrics = {**self.outcome.metrics, **outcome.metrics, **means}
        self.outcome = Completed(metrics, examples, self._notes(outcome, ladder))
        self.scored = self.rung

    def _notes(self, outcome: Completed, ladder: Ladder) -> dict[str, float]:
        """Return secondary metrics, but for those that say nothing of all items: of a part."""
        if self.scored < 0 and self.rung >= ladder.top:
            return dict(outcome.notes)
        notes = {**self.outcome.notes, **outcome.notes}
        return {key: one for key, one in notes.items() if key.split("/")[0] not in ladder.order}

    def forget(self, *, measured: bool) -> None:
        """Let go of what nobody asks for once a trial is finished.

        Args:
            measured: others are compared with its scores of all items.
        """
        self.outcome = replace(self.outcome, examples={})
        if not measured:
            self.scores = {}

    def reorder(self, ladder: Ladder) -> None:
        """Put the scores of all items into a new order."""
        for name, order in ladder.order.items():
            examples = self.outcome.examples[name]
            self.scores[name] = np.array([examples[item] for item in order])


def rung_scores(
    name: str, wanted: Sequence[str], outcome: Completed, bounds: Bounds = (None, None)
) -> Floats:
    """Return an objective's scores of the given items, in their order.

    Args:
        name: of the objective.
        wanted: ids of the items.
        outcome: what was scored.
        bounds: of the score of an item, where something counts on them.

    Raises:
        ValueError: there are others, the metric is not their mean, or one is out of bounds; the
            message is for the user.
    """
    scores = outcome.examples.get(name, {})
    if set(scores) != set(wanted):
        raise ValueError(
            f"objective '{name}': rungs need a score for each of the {len(wanted)} items and its "
            f"fitness gave {len(scores)}; {HOW_TO_RETURN}"
        )
    mean = math.fsum(scores.values()) / len(scores)
    if abs(mean - outcome.metrics[name]) > _SAME * max(1.0, abs(mean)):
        raise ValueError(
            f"objective '{name}': rungs need a metric that is the mean of its items' scores, and "
            f"it is {outcome.metrics[name]:g} where their mean is {mean:g}; remove 'rungs', or "
            "optimise another metric"
        )
    low, high = bounds
    for item, score in scores.items():
        if (low is not None and score < low) or (high is not None and score > high):
            raise ValueError(
                f"objective '{name}': item '{item}' scored {score:g}, beyond its bounds "
                f"[{low}, {high}], which race and estimators count on; give the bounds it keeps"
            )
    return np.array([scores[item] for item in wanted])
