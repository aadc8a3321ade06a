"""What ends a search: its budget, or a night in which nothing works any more."""

from __future__ import annotations

from evomerge.errors import EvomergeError
from evomerge.journal import Journal, read_sessions
from evomerge.study.budgets.config import BudgetConfig, Kind
from evomerge.study.budgets.gauges import Account, Gauge, gauges
from evomerge.study.budgets.meter import Meter, spent_in
from evomerge.study.budgets.stagnation import Stagnation
from evomerge.study.budgets.stop import Stop
from evomerge.study.course import Course, Part
from evomerge.study.standing import Standing
from evomerge.types import Completed, Outcome

MAX_FAILURES_IN_A_ROW = 25
MAX_REPEATS_IN_A_ROW = 1000
OF_THE_RUN: tuple[Kind, ...] = ("items", "hours", "deadline", "gpu_hours", "money")
"""Budgets that end every part of a run; the others end the present part."""


class Stopping:
    """Keeps a search within its budget, and stops one that only fails.

    Args:
        journal: the record so far.
        limits: when the study file says to stop, over all stages.
        budget: the same with what was added; added trials belong to the last stage.
        course: the stages so far.
        meter: of this session.
    """

    def __init__(
        self,
        journal: Journal,
        limits: BudgetConfig,
        budget: BudgetConfig,
        course: Course,
        meter: Meter,
    ) -> None:
        self._journal = journal
        self._budget = budget
        self._added = (budget.trials or 0) - (limits.trials or 0)
        self._course = course
        self._meter = meter
        self._earlier = spent_in(read_sessions(journal.folder)[:-1], journal.events)
        self._stagnation = None if limits.stagnation is None else Stagnation(limits.stagnation)
        self._trials = 0
        self._items = 0.0
        self._cost = 0.0
        self._n_events = 0
        self._failures = 0
        self._repeats = 0

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """How much of each budget is used."""
        for event in self._journal.events[self._n_events :]:
            self._cost += event.timing.get("cost", 0.0)
        self._n_events = len(self._journal.events)
        account = Account(
            now=self._meter.clock.time(),
            trials=self._trials,
            items=self._items,
            cost=self._cost,
            lasting=0 if self._stagnation is None else self._stagnation.lasting,
            spent=self._earlier + self._meter.session,
            held=self._meter.held,
        )
        return gauges(self._budget, account)

    def allowed(self, part: Part) -> int | None:
        """Return how many trials a part may ask for; None where something else limits it."""
        if part.trials is None:
            return None
        return part.trials + (self._added if self._course.is_last else 0)

    def enter(self) -> None:
        """Begin the next part of the run."""
        if self._stagnation is not None:
            self._stagnation.enter()

    def part_over(self, asked: int) -> Stop | None:
        """Say why the present part may ask for no more trials.

        Args:
            asked: how many the run has asked for, all its parts together.
        """
        part = self._course.parts[-1]
        allowed = self.allowed(part)
        if allowed is not None and asked - part.first >= allowed:
            trials = self._budget.trials if self._course.is_last else allowed
            return Stop(f"budget: {trials} trials", "trials")
        if self._stagnation is not None:
            (gauge,) = (one for one in self.gauges if one.kind == "stagnation")
            if gauge.used >= gauge.limit:
                return Stop.of(gauge)
        return None

    def used_up(self) -> Stop | None:
        """Say why nothing may be asked for any more, in any part of the run."""
        for gauge in self.gauges:
            if gauge.kind in OF_THE_RUN and gauge.used >= gauge.limit:
                return Stop.of(gauge)
        if self._budget.trials is None and self._repeats >= MAX_REPEATS_IN_A_ROW:
            return Stop(f"{self._repeats} proposals in a row were nothing new")
        return None

    def spend(self, items: float) -> None:
        """Note how many single items were scored; one by a proxy may count less."""
        self._items += items
        self._repeats = 0

    def repeat(self) -> None:
        """Note a trial that cost nothing: its recipe was scored before, or it means none."""
        self._repeats += 1

    def see(self, standing: Standing, trials: int) -> None:
        """Note how the search stands after so many finished trials."""
        self._trials = trials
        if self._stagnation is not None:
            unit = self._stagnation.config.unit
            self._stagnation.see(standing, trials if unit == "trials" else self._items)

    def note(self, outcome: Outcome) -> None:
        """Note an evaluation.

        Raises:
            EvomergeError: too many failed in a row for other reasons than their candidate: a full
                disk, a broken device.
        """
        if isinstance(outcome, Completed):
            self._failures = 0
        elif outcome.kind != "invalid":
            self._failures += 1
            if self._failures >= MAX_FAILURES_IN_A_ROW:
                raise EvomergeError(
                    f"{self._failures} trials failed in a row, the last with: {outcome.message}; "
                    f"mend the cause, then 'evomerge resume {self._journal.folder}'"
                )
