"""Watching a run: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from evomerge.cli.pace import Pace
from evomerge.study import Observer, Progress
from evomerge.study.budgets.gauges import amount, span
from evomerge.study.progress import silent

PLAIN_EVERY_S = 15.0
REFRESHES_PER_S = 2
_TITLES = {"search": "searching", "score": "scoring"}
_BUDGETS = {"gpu_hours": "GPU-hours"}


@contextmanager
def watching(*, quiet: bool) -> Iterator[Observer]:
    """Yield an observer that shows progress on standard error."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        view = LiveView(console)
        with Live(view, console=console, refresh_per_second=REFRESHES_PER_S):
            yield view
    else:
        yield PlainLines(sys.stderr)


class LiveView:
    """What a terminal shows while a run goes on: a bar for each stage, and how the search stands.

    It is drawn again and again, so that budgets of time go on between two steps.

    Args:
        console: where notes of the optimizer are printed above it.
        clock: returns seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._pace = Pace(clock)
        self._step: Progress | None = None
        self._is_searching = True
        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )

    def __call__(self, step: Progress) -> None:
        """Show a step."""
        if step.note:
            self._console.print(step.note, markup=False, highlight=False)
            return
        title = title_of(step)
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=step.total)
        self._bars.update(self._tasks[title], completed=step.done, total=step.total)
        self._pace.see(step)
        self._is_searching = step.phase == "search"
        if self._is_searching:
            self._step = step

    def __rich__(self) -> Group:
        """Draw it."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        step = self._step
        if step is not None:
            rows = {
                "best": best_words(step),
                "front": front_words(step),
                "budget": ", ".join(gauge.words for gauge in self._pace.gauges),
                "pace": pace_words(self._pace, step) if self._is_searching else "",
            }
            for name, words in rows.items():
                if words:
                    table.add_row(f"  {name}", Text(words))
        return Group(self._bars, table)


class PlainLines:
    """A line now and then, and always the last of a phase.

    Args:
        out: where to.
        clock: returns seconds.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._pace = Pace(clock)
        self._last = -PLAIN_EVERY_S
        self._started = clock()

    def __call__(self, step: Progress) -> None:
        """Show a step, or not."""
        if step.note:
            print(step.note, file=self._out, flush=True)
            return
        self._pace.see(step)
        now = self._clock() - self._started
        last_one = step.total is not None and step.done >= step.total
        if step.replayed or (now - self._last < PLAIN_EVERY_S and not last_one):
            return
        self._last = now
        total = f"/{step.total}" if step.total is not None else ""
        words = [f"{title_of(step)} {step.done}{total} after {now:.0f} s"]
        if step.phase == "search":
            front = front_words(step)
            words += [best_words(step), front and f"front of {front}", pace_words(self._pace, step)]
        print("; ".join(filter(None, words)), file=self._out, flush=True)


def title_of(step: Progress) -> str:
    """Say what is being done, and in which stage."""
    return f"{_TITLES[step.phase]} {step.stage}".rstrip()


def best_words(step: Progress) -> str:
    """Name the best score of each objective."""
    return "  ".join(f"{name} {value:.3g}" for name, value in step.best.items())


def front_words(step: Progress) -> str:
    """Say how large the front is; nothing where one objective has none."""
    if not step.front or len(step.best) < 2:
        return ""
    words = f"{step.front}"
    return words if step.hypervolume is None else f"{words}, hypervolume {step.hypervolume:.3f}"


def pace_words(pace: Pace, step: Progress) -> str:
    """Say how fast it goes, how much fails, and when it is going to end."""
    words = []
    if pace.trials_per_s is not None:
        words.append(rate_words(pace.trials_per_s))
    if step.failed:
        words.append(f"{step.failed} failed")
    ending = pace.ending()
    if ending is not None:
        at = datetime.now() + timedelta(seconds=ending.left_s)
        kind = _BUDGETS.get(ending.kind, ending.kind)
        words.append(f"ends in about {span(ending.left_s)} by {kind}, {at:%a %H:%M}")
    return ", ".join(words)


def rate_words(per_s: float) -> str:
    """Write a rate by the unit of time in which it is about a handful."""
    units = ((1.0, "s"), (60.0, "min"))
    unit_s, name = next((one for one in units if per_s * one[0] >= 1), (3600.0, "h"))
    return f"{amount(per_s * unit_s)} trials/{name}"
