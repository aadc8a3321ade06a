"""Why trials failed: messages that differ in nothing but numbers are one cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.journal import Event

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?")
_LONGEST = 70


@dataclass(frozen=True, slots=True)
class Cause:
    """Failed trials with one cause.

    Attributes:
        kind: invalid, error, lost or timeout.
        line: the first line of the messages, numbers that differ replaced by '…'.
        trials: their numbers, in order.
        example: the whole message of the first of them.
        traceback: of the same trial; '' where it has none.
    """

    kind: str
    line: str
    trials: tuple[int, ...]
    example: str
    traceback: str

    @property
    def short(self) -> str:
        """What it is called in a picture, at most 70 characters long."""
        text = f"{self.kind}: {self.line}"
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def causes_of(events: Sequence[Event]) -> tuple[Cause, ...]:
    """Group the failed trials of a run, the most frequent cause first."""
    groups: dict[tuple[str, str], list[Event]] = {}
    failed = [
        event
        for event in events
        if event.kind == "finished" and event.trial is not None and "failed" in event.payload
    ]
    for event in sorted(failed, key=_trial):
        key = (event.payload["failed"], _NUMBER.sub("…", _line(event)))
        groups.setdefault(key, []).append(event)
    causes = []
    for (kind, pattern), members in groups.items():
        lines = {_line(event) for event in members}
        first = members[0].payload
        causes.append(
            Cause(
                kind,
                lines.pop() if len(lines) == 1 else pattern,
                tuple(map(_trial, members)),
                first["message"],
                first.get("traceback", ""),
            )
        )
    return tuple(sorted(causes, key=lambda one: (-len(one.trials), one.trials)))


def _line(event: Event) -> str:
    return str((event.payload["message"].splitlines() or ["?"])[0])


def _trial(event: Event) -> int:
    return -1 if event.trial is None else event.trial
