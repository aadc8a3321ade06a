"""The search loop: keeps workers busy with what a run's history asks for."""

from __future__ import annotations

from evomerge.study.budgets.stop import Stop
from evomerge.study.history import NOTHING_LEFT, History
from evomerge.study.interrupt import Interrupt
from evomerge.workers import Executor, Job

POLL_S = 0.2


class Search:
    """One study's search, continued from whatever its journal holds.

    Stages follow one another: the next begins when the last trial of one is finished.

    Args:
        history: of the run; everything that happens is written there first.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._in_flight = 0

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
            if self._in_flight:
                for result in workers.wait(POLL_S):
                    self._in_flight -= 1
                    self._submit(workers, history.take(result, retry=not interrupt.requested))
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
        stop = history.exhausted()
        while stop is None and not interrupt.requested and self._has_room(workers):
            jobs = history.ask()
            if jobs is None:
                break
            self._submit(workers, jobs)
            self._continue(workers)
            stop = history.exhausted()
        return stop

    def _continue(self, workers: Executor) -> None:
        """Submit trials that climb, or that an earlier session left."""
        while self._has_room(workers) and (jobs := self._history.next_ready()) is not None:
            self._submit(workers, jobs)

    def _validate(self, workers: Executor, *, ended: bool) -> None:
        """Submit what is due for validation."""
        while self._has_room(workers) and (job := self._history.next_validation(ended=ended)):
            self._submit(workers, [job])

    def _has_room(self, workers: Executor) -> bool:
        return self._in_flight < workers.capacity

    def _submit(self, workers: Executor, jobs: list[Job]) -> None:
        for job in jobs:
            workers.submit(job)
        self._in_flight += len(jobs)
