"""What ends a search: its budget, or a night in which nothing works any more."""

from __future__ import annotations

from evomerge.errors import EvomergeError
from evomerge.journal import Journal, read_sessions
from evomerge.study.config import BudgetConfig
from evomerge.study.course import Course, Part
from evomerge.types import Completed, Outcome

MAX_FAILURES_IN_A_ROW = 25
MAX_REPEATS_IN_A_ROW = 1000
SEARCHING = frozenset(
    {"staged", "asked", "retried", "measured", "decided", "finished", "validated", "stopped"}
)


class Stopping:
    """Keeps a search within its budget, and stops one that only fails.

    Args:
        journal: the record so far.
        budget: when to stop, over all stages; what was added belongs to the last.
        planned: trials of the study file, over all stages; None where only time limits it.
        course: the stages so far.
    """

    def __init__(
        self, journal: Journal, budget: BudgetConfig, planned: int | None, course: Course
    ) -> None:
        self._folder = journal.folder
        self._budget = budget
        self._added = (budget.trials or 0) - (planned or 0)
        self._course = course
        self._spent_s = seconds_spent(journal)
        self._failures = 0
        self._items = 0.0
        self._repeats = 0

    def allowed(self, part: Part) -> int | None:
        """Return how many trials a part may ask for; None where only time limits it."""
        if part.trials is None:
            return None
        return part.trials + (self._added if self._course.is_last else 0)

    def out_of_trials(self, asked: int) -> str | None:
        """Say why the present part may ask for no more trials.

        Args:
            asked: how many the run has asked for, all its parts together.
        """
        part = self._course.parts[-1]
        allowed = self.allowed(part)
        if allowed is not None and asked - part.first >= allowed:
            return f"budget: {self._budget.trials} trials"
        return None

    def spend(self, items: float) -> None:
        """Note how many single items were scored; one by a proxy may count less."""
        self._items += items
        self._repeats = 0

    def repeat(self) -> None:
        """Note a trial that cost nothing: its recipe was scored before, or it means none."""
        self._repeats += 1

    def used_up(self, session_s: float) -> str | None:
        """Say why nothing may be asked for any more, in any part of the run.

        Args:
            session_s: seconds this session has searched.
        """
        items, hours = self._budget.items, self._budget.hours
        if items is not None and self._items >= items:
            return f"budget: {items} items"
        if self._budget.trials is None and self._repeats >= MAX_REPEATS_IN_A_ROW:
            return f"{self._repeats} proposals in a row were nothing new"
        if hours is not None and self._spent_s + session_s >= hours * 3600:
            return f"budget: {hours:g} hours"
        return None

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
                    f"mend the cause, then 'evomerge resume {self._folder}'"
                )


def seconds_spent(journal: Journal) -> float:
    """Sum what earlier sessions searched for: up to the last event of the search in each."""
    sessions = read_sessions(journal.folder)[:-1]
    stamps = [event.at for event in journal.events if event.kind in SEARCHING]
    total = 0.0
    for index, session in enumerate(sessions):
        following = sessions[index + 1].started_at if index + 1 < len(sessions) else float("inf")
        inside = [at for at in stamps if session.started_at <= at < following]
        total += max(inside, default=session.started_at) - session.started_at
    return total
