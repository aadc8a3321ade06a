"""Watching a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from evomerge.study import Observer, Progress
from evomerge.study.progress import silent

PLAIN_EVERY_S = 15.0
_TITLES = {"search": "searching", "score": "scoring"}


@contextmanager
def watching(*, quiet: bool) -> Iterator[Observer]:
    """Yield an observer that shows progress on standard error."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        with _Live(console) as live:
            yield live
    else:
        yield _Plain()


class _Live:
    """One bar a phase, in the search one a stage."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Live:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, step: Progress) -> None:
        title = title_of(step)
        if step.note:
            self._bars.console.print(step.note, markup=False, highlight=False)
            return
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=step.total, scores="")
        task = self._tasks[title]
        self._bars.update(task, completed=step.done, total=step.total, scores=describe(step))


class _Plain:
    """A line now and then, and always the last of a phase."""

    def __init__(self) -> None:
        self._last = 0.0
        self._started = time.monotonic()

    def __call__(self, step: Progress) -> None:
        if step.note:
            print(step.note, file=sys.stderr, flush=True)
            return
        now = time.monotonic()
        last_one = step.total is not None and step.done >= step.total
        if step.replayed or (now - self._last < PLAIN_EVERY_S and not last_one):
            return
        self._last = now
        total = f"/{step.total}" if step.total is not None else ""
        elapsed = f"{now - self._started:.0f} s"
        line = f"{title_of(step)} {step.done}{total} after {elapsed}  {describe(step)}"
        print(line.rstrip(), file=sys.stderr, flush=True)


def title_of(step: Progress) -> str:
    """Say what is being done, and in which stage."""
    return f"{_TITLES[step.phase]} {step.stage}".rstrip()


def describe(step: Progress) -> str:
    """Put the state of a search in a few words."""
    words = [f"{name} {value:.3g}" for name, value in step.best.items()]
    if step.front:
        words.append(f"front {step.front}")
    if step.hypervolume is not None:
        words.append(f"hypervolume {step.hypervolume:.3f}")
    if step.failed:
        words.append(f"failed {step.failed}")
    return "  ".join(words)
