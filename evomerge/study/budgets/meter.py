"""What a run takes: the time it searches, workers and GPUs it holds, over all its sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from evomerge.errors import ConfigError
from evomerge.journal import Event, Journal, Session
from evomerge.study.budgets.config import BudgetConfig
from evomerge.workers import Executor, Held

KEPT_EVERY_S = 30.0
"""A killed session counts up to the last time its meter was kept."""

SEARCHING = frozenset(
    {"staged", "asked", "retried", "measured", "decided", "finished", "validated", "stopped"}
)


class Clock(Protocol):
    """Tells the time, as the module `time` does; a test has one of its own."""

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""
        ...

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run took.

    Attributes:
        search_s: seconds it searched.
        worker_s: seconds workers were held, summed over them.
        gpu_s: seconds GPUs were held, summed over them.
    """

    search_s: float = 0.0
    worker_s: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.search_s + other.search_s,
            self.worker_s + other.worker_s,
            self.gpu_s + other.gpu_s,
        )


def spent_in(sessions: Sequence[Session], events: Sequence[Event]) -> Spent:
    """Sum what sessions took.

    One of before this was noted searched up to its last event of the search, as far as is known.
    """
    total = Spent()
    for index, session in enumerate(sessions):
        if session.usage:
            total += Spent(*(session.usage.get(one.name, 0.0) for one in fields(Spent)))
            continue
        following = sessions[index + 1].started_at if index + 1 < len(sessions) else float("inf")
        stamps = [
            event.at
            for event in events
            if event.kind in SEARCHING and session.started_at <= event.at < following
        ]
        total += Spent(max(stamps, default=session.started_at) - session.started_at)
    return total


class Meter:
    """Measures a session from the moment it is made, and keeps it in the journal.

    Args:
        clock: what it goes by.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._started = clock.monotonic()
        self._workers: Executor | None = None
        self._searches = False
        self._searched_s = 0.0
        self._kept_at = -float("inf")

    def watch(self, workers: Executor) -> None:
        """Count what these workers hold."""
        self._workers = workers

    def begin_search(self) -> None:
        """Count the session as time of the search, from its beginning on."""
        self._searches = True

    def end_search(self) -> None:
        """Stop counting the time of the search; what is held counts on."""
        self._searched_s = self.session.search_s
        self._searches = False

    @property
    def held(self) -> Held:
        """What is held now, and was so far."""
        return self._workers.held() if self._workers is not None else Held()

    @property
    def session(self) -> Spent:
        """What this session took so far."""
        passed = self.clock.monotonic() - self._started
        held = self.held
        searched = passed if self._searches else self._searched_s
        return Spent(searched, held.worker_s, held.gpu_s)

    def keep(self, journal: Journal, *, now: bool = False) -> None:
        """Note in the journal what this session took, now and then or `now`."""
        at = self.clock.monotonic()
        if now or at - self._kept_at >= KEPT_EVERY_S:
            self._kept_at = at
            journal.note_usage(asdict(self.session))


def check_measurable(budget: BudgetConfig, held: Held) -> None:
    """Refuse budgets of GPUs where workers hold none: they would never end.

    Raises:
        ConfigError: naming what to remove.
    """
    if held.gpus or not held.workers:  # a cluster may have no place for any yet
        return
    what = "no worker holds a GPU"
    if budget.gpu_hours is not None:
        raise ConfigError([f"budget.gpu_hours: {what}, so this never ends; give hours instead"])
    if budget.price is not None and budget.price.per_gpu_hour:
        raise ConfigError([f"budget.price.per_gpu_hour: {what}; give per_worker_hour instead"])
