"""Ctrl-C and SIGTERM: the first drains, the second stops."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupt:
    """While entered, counts SIGINT and SIGTERM instead of letting them end the process.

    The first asks the run to finish what is in flight; the second raises KeyboardInterrupt. Both
    leave a journal that can be resumed. Outside the main thread signals are left alone.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nfinishing what is in flight; Ctrl-C again stops now", file=sys.stderr, flush=True)
        self.reason = f"interrupted by {signal.Signals(number).name}"
