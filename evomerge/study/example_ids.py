"""The examples that candidates compete for: every one of them must be scored on the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from evomerge.types import Completed, Failed, Outcome

HOW_TO_RETURN = (
    "return FitnessResult(metrics, {item id: score, ...}) with a score for each item, as README's "
    "'A fitness of your own' shows"
)


class ExampleIds:
    """Which examples the first completed candidate was scored on.

    Args:
        objectives: names of the objectives whose examples count.
        nonnegative: their scores must not be negative.
    """

    def __init__(self, objectives: Iterable[str], *, nonnegative: bool = False) -> None:
        self._objectives = tuple(objectives)
        self._nonnegative = nonnegative
        self._expected: Mapping[str, frozenset[str]] | None = None

    def checked(self, outcome: Outcome) -> Outcome:
        """Return an outcome, or a failed one that says which examples differ."""
        if not isinstance(outcome, Completed):
            return outcome
        message = missing_examples(outcome, self._objectives) or self._wrong_score(outcome)
        if message is None:
            found = {name: frozenset(outcome.examples[name]) for name in self._objectives}
            if self._expected is None:
                self._expected = found
            message = next(iter(_differences(self._expected, found)), None)
        return outcome if message is None else Failed("error", message)

    def _wrong_score(self, outcome: Completed) -> str | None:
        """Say which score an optimizer can do nothing with; None when all are right."""
        for name in self._objectives:
            for item, score in outcome.examples[name].items():
                if not math.isfinite(score) or (self._nonnegative and score < 0):
                    wanted = "a score of at least 0" if self._nonnegative else "a finite score"
                    return (
                        f"objective '{name}': the score of example '{item}' is {score:g}; the "
                        f"optimizer needs {wanted}"
                    )
        return None


def missing_examples(outcome: Completed, objectives: Iterable[str]) -> str | None:
    """Say which objective was not scored example by example; None when all were."""
    for name in objectives:
        if not outcome.examples.get(name):
            return (
                f"objective '{name}': the optimizer lets candidates compete for examples and its "
                f"fitness gave no score for each; {HOW_TO_RETURN}"
            )
    return None


def _differences(
    expected: Mapping[str, frozenset[str]], found: Mapping[str, frozenset[str]]
) -> Iterable[str]:
    for name, ids in expected.items():
        other = ids.symmetric_difference(found[name])
        if other:
            where = "this candidate" if min(other) in found[name] else "the first one"
            yield (
                f"objective '{name}': the scored examples changed from candidate to candidate "
                f"({len(other)} differ; '{min(other)}' is there for {where} only); a fitness must "
                "score the same items every time, under the same ids"
            )
