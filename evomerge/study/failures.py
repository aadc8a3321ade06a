"""Stopping a night in which nothing works any more: a full disk, a broken device."""

from __future__ import annotations

from pathlib import Path

from evomerge.errors import EvomergeError
from evomerge.types import Completed, Outcome

MAX_FAILURES_IN_A_ROW = 25


class FailuresInARow:
    """Counts evaluations that failed one after another for other reasons than their candidate.

    Args:
        run: the run directory, for the message.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._count = 0

    def count(self, outcome: Outcome) -> None:
        """Note an outcome.

        Raises:
            EvomergeError: too many failed in a row.
        """
        if isinstance(outcome, Completed):
            self._count = 0
        elif outcome.kind != "invalid":
            self._count += 1
            if self._count >= MAX_FAILURES_IN_A_ROW:
                raise EvomergeError(
                    f"{self._count} trials failed in a row, the last with: {outcome.message}; "
                    f"mend the cause, then 'evomerge resume {self._run}'"
                )
