"""The search loop: keeps workers busy with what a run's history asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evomerge.study.budgets.stop import Stop
from evomerge.study.history import NOTHING_LEFT, History
from evomerge.study.interrupt import Interrupt
from evomerge.study.pace import Pace
from evomerge.workers import Executor, Job, JobResult

POLL_S = 0.2
QUICK_S = 0.02
"""Proposals that come within so many seconds are committed together."""


class Search:
    """One study's search, continued from whatever its journal holds.

    Stages follow one another: the next begins when the last trial of one is finished.

    Args:
        history: of the run; everything that happens is written there first.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._in_flight = 0
        self._jobs: list[Job] = []
        self._pace = Pace()

    def run(self, workers: Executor, interrupt: Interrupt) -> Stop | None:
        """Search until a reason to stop; None when interrupted with trials left to do."""
        history = self._history
        if history.stopped:
            return history.stopped
        history.take_up()
        while True:
            history.keep_account()
            stop = self._feed(workers, interrupt)
            if self._in_flight == 0 and not interrupt.requested:
                history.settle(ended=True)
                self._continue(workers)
                self._validate(workers, ended=True)
                self._hand_over(workers)
            if self._in_flight:
                self._pace.rest()
                results = workers.wait(POLL_S)
                self._pace.take(results)
                self._take(workers, results, retry=not interrupt.requested)
                continue
            due = history.validation.due(ended=True)
            is_last = history.course.is_last
            if interrupt.requested and (stop is None or history.has_pending or due or not is_last):
                return None
            if is_last:
                return history.stop(stop or NOTHING_LEFT)
            used_up = history.used_up()
            if used_up is not None:
                return history.stop(used_up)
            history.begin_next(stop)

    def _feed(self, workers: Executor, interrupt: Interrupt) -> Stop | None:
        """Submit as much as there is room for; says why nothing more is asked for."""
        history = self._history
        if not interrupt.requested:
            self._continue(workers)
            self._validate(workers, ended=False)
            self._hand_over(workers)
        waits = False
        stop = history.exhausted()
        while stop is None and not (waits or interrupt.requested) and self._has_room(workers):
            quick_until = time.monotonic() + QUICK_S
            with self._together(workers):
                while stop is None and self._has_room(workers):
                    jobs = history.ask()
                    waits = jobs is None
                    if waits:
                        break
                    self._submit(jobs or [])
                    self._continue(workers)
                    stop = history.exhausted()
                    if interrupt.requested or time.monotonic() >= quick_until:
                        break
        return stop

    def _take(self, workers: Executor, results: Sequence[JobResult], *, retry: bool) -> None:
        """Record results, and submit what follows from them alone."""
        self._in_flight -= len(results)
        if not retry:  # a scheduler that stops the driver stops workers too: no candidate's fault
            results = [result for result in results if not result.is_lost]
        if len(results) == 1:  # on disk before the optimizer is told, which may think for long
            self._submit(self._history.take(results[0], retry=retry))
            self._hand_over(workers)
            return
        with self._together(workers):
            for result in results:
                self._submit(self._history.take(result, retry=retry))

    def _continue(self, workers: Executor) -> None:
        """Submit trials that climb, or that an earlier session left."""
        while self._has_room(workers) and (jobs := self._history.next_ready()) is not None:
            self._submit(jobs)

    def _validate(self, workers: Executor, *, ended: bool) -> None:
        """Submit what is due for validation."""
        while self._has_room(workers) and (job := self._history.next_validation(ended=ended)):
            self._submit([job])

    def _has_room(self, workers: Executor) -> bool:
        ahead = 0 if self._history.climbs else self._pace.ahead(workers.capacity)
        return self._in_flight < workers.capacity + ahead

    @contextmanager
    def _together(self, workers: Executor) -> Iterator[None]:
        """Commit what happens inside in one go, and only then hand over the jobs of it."""
        with self._history.together():
            yield
        self._hand_over(workers)

    def _submit(self, jobs: Sequence[Job]) -> None:
        self._jobs += jobs
        self._in_flight += len(jobs)

    def _hand_over(self, workers: Executor) -> None:
        """Give the workers what was submitted; all that it follows from is on disk."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            workers.submit(job)
