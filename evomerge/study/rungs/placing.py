"""Where a candidate begins and with whom it is compared, by its place in the order of asking."""

from __future__ import annotations

from evomerge.study.batches import Windows
from evomerge.study.rungs.brackets import Brackets
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.ladder import Ladder

COHORT = 9
"""Of 9, 3 and 1 go on where a third is promoted at each of two rungs."""


class Placing:
    """The brackets and cohorts of a part of the run; a cohort is all of one bracket.

    Args:
        rungs: of the study.
        ladder: its rungs.
        whole_generations: keep candidates of one generation in one cohort.

    Attributes:
        has_cohorts: members of a cohort are compared when all are scored.
        has_brackets: not everybody begins at the first rung.
        latest: the cohort that is being filled; None before the first.
    """

    def __init__(self, rungs: RungsConfig, ladder: Ladder, *, whole_generations: bool) -> None:
        self.has_cohorts = rungs.rule == "halving"
        self.latest: int | None = None
        self._size = rungs.cohort or COHORT
        self._windows = Windows(self._cohort_size, whole_generations=whole_generations)
        sizes = [ladder.total(rung) for rung in range(ladder.top + 1)]
        count = min(rungs.n_brackets, len(sizes))
        self.has_brackets = count > 1 and rungs.promote is not None
        self._brackets = Brackets(sizes, rungs.promote or 1.0, count if self.has_brackets else 1)
        self._bracket_of: dict[int, int] = {}

    def place(self, origin: str) -> tuple[int | None, int]:
        """Return cohort and bracket of the next candidate.

        Args:
            origin: of its proposal, which names its generation; of no known point.
        """
        if self.has_cohorts:
            self.latest = self._windows.place(origin)
            bracket = self._bracket(self.latest or 0)
        else:
            bracket = self._brackets.next()
        self._brackets.place(bracket)
        return self.latest, bracket

    def _bracket(self, cohort: int) -> int:
        """Return the bracket of a cohort, decided when its first member is placed."""
        if cohort not in self._bracket_of:
            self._bracket_of[cohort] = self._brackets.next()
        return self._bracket_of[cohort]

    def _cohort_size(self, cohort: int) -> int:
        return self._brackets.cohort(self._bracket(cohort), self._size)
