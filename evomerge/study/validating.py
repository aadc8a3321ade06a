"""Trials on their way through validation: which are due, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from evomerge.journal import Journal, outcome_from_json
from evomerge.recipe import Recipe
from evomerge.study.budgets.stopping import Stopping
from evomerge.study.records import number_of, recorded, shared, trial_id
from evomerge.study.telling import Telling
from evomerge.study.twins import Twins
from evomerge.study.validation import VALIDATED, Validation
from evomerge.types import Completed
from evomerge.workers import Job, JobResult


class Validating:
    """Has the trials that are due scored on the validation items, and records it.

    Args:
        journal: the record.
        validation: says who is due.
        telling: shows what was found.
        stopping: counts failures.
        recipe_of: decodes a trial.
        origin_of: returns where a trial's proposal came from.
        retries: further attempts after a failure.
    """

    def __init__(
        self,
        journal: Journal,
        validation: Validation,
        telling: Telling,
        stopping: Stopping,
        recipe_of: Callable[[int], Recipe],
        origin_of: Callable[[int], str],
        retries: int,
    ) -> None:
        self._journal = journal
        self._validation = validation
        self._telling = telling
        self._stopping = stopping
        self._recipe_of = recipe_of
        self._origin_of = origin_of
        self._retries = retries
        self._in_flight: set[int] = set()

    def next(self, twins: Twins, *, ended: bool) -> Job | None:
        """Return the job of a trial that is due; None without one.

        Args:
            twins: what was evaluated; whoever was scored there already is recorded at once.
            ended: the present part asks for no more trials.
        """
        while True:
            due = self._validation.due(ended=ended)
            trial = next((one for one in due if one.number not in self._in_flight), None)
            if trial is None:
                return None
            recipe = self._recipe_of(trial.number)
            known = twins.find(recipe, VALIDATED)
            if known is None:
                self._in_flight.add(trial.number)
                return Job(trial_id(trial.number), recipe, "validation")
            self._record(trial.number, shared(known), {})

    def take(self, result: JobResult, *, retry: bool) -> tuple[list[Job], Mapping[str, Any] | None]:
        """Record a result.

        Args:
            result: of a job of `next` or this.
            retry: a failed attempt may be repeated now.

        Returns:
            The jobs that follow; what was recorded, where it was completed.
        """
        job, number = result.job, number_of(result.job.id)
        again = result.retryable and job.attempt < self._retries
        if again and retry:
            return [replace(job, attempt=job.attempt + 1)], None
        self._in_flight.discard(number)
        if again:
            return [], None  # the next session repeats it
        payload = recorded(self._journal, job.id, "validation", result.outcome)
        self._record(number, payload, result.timing)
        self._stopping.note(result.outcome)
        return [], payload if isinstance(result.outcome, Completed) else None

    def replay(self, number: int, payload: Mapping[str, Any]) -> None:
        """Note what was recorded of a trial before."""
        self._note(number, payload, replayed=True)

    def _record(self, number: int, payload: Mapping[str, Any], timing: Mapping[str, float]) -> None:
        self._journal.append("validated", payload, trial=number, timing=timing)
        self._note(number, payload, replayed=False)

    def _note(self, number: int, payload: Mapping[str, Any], *, replayed: bool) -> None:
        trial = self._validation.record(number, outcome_from_json(payload))
        self._telling.validated(trial, self._origin_of(number), replayed=replayed)
