"""Ctrl-C and SIGTERM: the first drains, the second stops."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

GRACE_S = 20.0
"""How long what is in flight may go on after SIGTERM; schedulers kill 30 seconds after it."""


class Interrupted(KeyboardInterrupt):
    """The run stops at once; what was in flight is left to the next session."""


class Interrupt:
    """While entered, counts SIGINT and SIGTERM instead of letting them end the process.

    The first asks the run to finish what is in flight; the second raises Interrupted, wherever
    the main thread is, and so does the end of the grace that SIGTERM leaves. All of it leaves a
    journal that can be resumed. Outside the main thread signals are left alone.

    Args:
        grace_s: how long what is in flight may go on after SIGTERM.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.requested = False
        self.reason = ""
        self._grace_s = grace_s
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number, handler in (
                (signal.SIGINT, self._ask),
                (signal.SIGTERM, self._ask),
                (signal.SIGALRM, self._grace_is_over),
            ):
                self._previous[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise Interrupted(self.reason)
        self.requested = True
        self.reason = f"interrupted by {signal.Signals(number).name}"
        stops = "Ctrl-C again stops now"
        if number == signal.SIGTERM:
            signal.setitimer(signal.ITIMER_REAL, self._grace_s)
            stops = f"stopping after {self._grace_s:g} s"
        print(f"\nfinishing what is in flight; {stops}", file=sys.stderr, flush=True)

    def _grace_is_over(self, _number: int, _frame: FrameType | None) -> None:
        raise Interrupted(f"{self.reason}; what was in flight took longer than {self._grace_s:g} s")
