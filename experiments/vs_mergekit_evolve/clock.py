"""What a process and its workers have used, and which part of the code used it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import psutil


class Used(NamedTuple):
    """Seconds of CPU time, of all processes and threads, and on the wall."""

    cpu_s: float
    wall_s: float


def used() -> Used:
    """Return what this process and its children, living and ended, have used so far."""
    return Used(sum(sum(one.cpu_times()[:4]) for one in _tree()), time.perf_counter())


def peak_mib() -> float:
    """Return the largest memory that the process had, and each of its living children, summed."""
    return sum(_high_water_kib(one.pid) for one in _tree()) / 1024


def _tree() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _high_water_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0  # a process that is ending


class Parts:
    """What this process uses, by part of the code; a part within another counts for itself alone.

    Args:
        outermost: the part that is everything which is not watched.
    """

    def __init__(self, outermost: str) -> None:
        self._used: dict[str, Used] = {}
        self._stack = [outermost]
        self._since = Used(time.process_time(), time.perf_counter())

    def read(self) -> dict[str, Used]:
        """Return what each part has used so far."""
        self._turn()
        return dict(self._used)

    @contextmanager
    def watching(self, owner: Any, name: str, part: str) -> Iterator[None]:
        """Count the time of a method for a part; '{}' in the part's name is that around it."""
        own = getattr(owner, name)
        kept = vars(owner)[name]

        @wraps(own)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._stack.append(part.format(self._stack[-1]))
            try:
                return own(*args, **kwargs)
            finally:
                self._turn()
                self._stack.pop()

        is_bound = inspect.ismethod(own)  # of a class: without it the owner would come twice
        setattr(owner, name, staticmethod(counted) if is_bound else counted)
        try:
            yield
        finally:
            setattr(owner, name, kept)

    def _turn(self) -> None:
        now = Used(time.process_time(), time.perf_counter())
        part = self._stack[-1]
        before = self._used.get(part, Used(0.0, 0.0))
        self._used[part] = Used(
            before.cpu_s + now.cpu_s - self._since.cpu_s,
            before.wall_s + now.wall_s - self._since.wall_s,
        )
        self._since = now
