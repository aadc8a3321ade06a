"""The search loop: ask, record, evaluate, record, tell; and its replay from the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evomerge.errors import EvomergeError, InvalidGenotype, UserError
from evomerge.journal import Event, Journal, outcome_from_json, outcome_to_json, read_sessions
from evomerge.journal.events import canonical
from evomerge.optimizers import Optimizer, Proposal, Scalarised
from evomerge.recipe import Recipe
from evomerge.study.config import BudgetConfig
from evomerge.study.course import Course, Part
from evomerge.study.interrupt import Interrupt
from evomerge.study.picks import Combine
from evomerge.study.preparation import Prepared
from evomerge.study.progress import Observer, Progress, silent
from evomerge.study.replay import other_choice, other_proposal
from evomerge.study.standing import Standing
from evomerge.study.twins import Paid, Twins, key_of
from evomerge.types import Completed, Failed, Genotype, Outcome, Trial
from evomerge.workers import Executor, Job, JobResult

POLL_S = 0.2
MAX_FAILURES_IN_A_ROW = 25
SEARCHING = frozenset({"staged", "asked", "retried", "finished", "stopped"})
NOTHING_LEFT = "nothing left to ask"
RESULT_KEYS = ("metrics", "notes", "examples")


@dataclass(frozen=True, slots=True)
class _Pending:
    """A trial that was asked for and not finished."""

    proposal: Proposal
    attempt: int


class Search:
    """One study's search, continued from whatever its journal holds.

    Building it replays the journal: the optimizer is asked and told the same sequence again, and
    every genotype it proposes is compared with the recorded one; so is what each stage starts
    from. Stages follow one another: the next begins when the last trial of one is finished.

    Args:
        study: what is searched.
        journal: the record; empty of trials for a new run.
        budget: when to stop, over all stages; what was added belongs to the last.
        observe: told of every finished trial.

    Attributes:
        trials: finished trials, in the order they finished.
        course: the stages so far.
        stopped: why the search is over; None while it is not.

    Raises:
        ReplayMismatch: the optimizer proposes something else than the journal holds.
    """

    def __init__(
        self, study: Prepared, journal: Journal, budget: BudgetConfig, observe: Observer = silent
    ) -> None:
        self.trials: list[Trial] = []
        self.course = Course(study)
        self.stopped: str | None = None
        self._study = study
        self._journal = journal
        self._budget = budget
        self._observe = observe
        self._optimizers: list[Optimizer] = []
        self._combine: dict[int, Combine] = {}
        self._asked = 0
        self._in_a_row = 0
        self._pending: dict[int, _Pending] = {}
        self._standing = Standing(study.objectives, study.context.donors)
        if self.course.parts:
            self._enter(self.course.parts[0])
        for event in journal.events:
            self._replay(event)
        self._spent_s = _seconds_spent(journal)
        over = self._part_over() is not None and self.course.is_last
        if self._pending or not (over or self._out_of_time(0.0)):
            self.stopped = None

    def run(self, workers: Executor, interrupt: Interrupt) -> str | None:
        """Search until a reason to stop; None when interrupted with trials left to do."""
        if self.stopped:
            return self.stopped
        started = time.monotonic()
        in_flight = 0
        for number, pending in sorted(self._pending.items()):
            in_flight += self._submit(workers, number, pending)
        while True:
            reason = self._exhausted(time.monotonic() - started)
            while reason is None and not interrupt.requested and in_flight < workers.capacity:
                submitted = self._ask(workers)
                if submitted is None:
                    break
                in_flight += submitted
                reason = self._exhausted(time.monotonic() - started)
            if in_flight == 0:
                more = reason is None or self._pending or not self.course.is_last
                if interrupt.requested and more:
                    return None
                late = self._out_of_time(time.monotonic() - started)
                if self.course.is_last:
                    return self._stop(reason or NOTHING_LEFT)
                if late is not None:
                    return self._stop(late)
                self._begin_next()
                continue
            for result in workers.wait(POLL_S):
                in_flight += self._receive(workers, result, interrupt) - 1

    def paid(self, recipe: Recipe) -> Paid | None:
        """Return the completed trial of a recipe."""
        return self._twins.find(self._key(recipe))

    def _key(self, recipe: Recipe) -> str:
        return key_of(recipe, self._study.context)

    @cached_property
    def _twins(self) -> Twins:
        """What was evaluated; worked out by the first who asks, since reading a run need not."""
        twins = Twins()
        genotypes = {trial.number: trial.genotype for trial in self.trials}
        for event in self._journal.events:
            if event.kind != "finished" or event.trial is None or "metrics" not in event.payload:
                continue
            recipe = self.course.decode(event.trial, genotypes[event.trial])
            twins.complete(self._key(recipe), event.trial, event.payload)
        return twins

    def _begin_next(self) -> None:
        """Enter the next stage, from what the finished trials say."""
        content = self.course.propose(self.trials, self._combine)
        if content is None:
            raise RuntimeError("the last stage was begun already")
        self._enter(self.course.begin(content, self._asked))
        self._journal.append("staged", content)

    def _enter(self, part: Part) -> None:
        optimizer = self._study.optimizer(part, len(self._optimizers))
        self._optimizers.append(optimizer)
        if isinstance(optimizer, Scalarised):
            self._combine[part.index] = optimizer.cost

    def _ask(self, workers: Executor) -> int | None:
        """Ask for one trial; None when the optimizer waits, else the number of jobs submitted."""
        number = self._asked
        proposal = self._optimizers[-1].ask(number)
        if proposal is None:
            return None
        self._journal.append("asked", _asked(proposal), trial=number)
        self._asked += 1
        self._pending[number] = _Pending(proposal, 0)
        return self._submit(workers, number, self._pending[number])

    def _submit(self, workers: Executor, number: int, pending: _Pending) -> int:
        """Submit a trial; returns the number of jobs.

        One that decodes to no recipe, or to one that was completed, is finished at once; one
        whose recipe is being evaluated waits for that.
        """
        try:
            recipe = self.course.decode(number, pending.proposal.genotype)
        except (InvalidGenotype, UserError, ValueError, ArithmeticError) as error:
            self._finish(number, Failed("invalid", str(error)), pending.attempt, {})
            return 0
        key = self._key(recipe)
        known = self._twins.find(key)
        if known is not None:
            self._repeat(number, known)
            return 0
        if not self._twins.claim(key, number):
            return 0
        workers.submit(Job(trial_id(number), recipe, "search", pending.attempt))
        return 1

    def _receive(self, workers: Executor, result: JobResult, interrupt: Interrupt) -> int:
        """Record a result; returns how many jobs were submitted because of it."""
        number = int(result.job.id.removeprefix("trial-"))
        outcome, attempt = result.outcome, result.job.attempt
        retryable = isinstance(outcome, Failed) and outcome.kind != "invalid"
        timing = result.timing
        if retryable and attempt < self._study.config.workers.retries:
            payload = {"attempt": attempt, **outcome_to_json(outcome, None)}
            self._journal.append("retried", payload, trial=number, timing=timing)
            self._pending[number] = _Pending(self._pending[number].proposal, attempt + 1)
            if interrupt.requested:
                return 0  # the next session repeats it
            return self._submit(workers, number, self._pending[number])
        payload = self._finish(number, outcome, attempt, timing)
        self._count_failures(outcome)
        key = self._key(result.job.recipe)
        if isinstance(outcome, Completed):
            for twin in self._twins.complete(key, number, payload):
                self._repeat(twin, (number, payload))
            return 0
        following = None if interrupt.requested else self._twins.fail(key)
        return (
            0 if following is None else self._submit(workers, following, self._pending[following])
        )

    def _count_failures(self, outcome: Outcome) -> None:
        """Stop a night in which nothing works any more: a full disk, a broken device."""
        if isinstance(outcome, Completed):
            self._in_a_row = 0
        elif outcome.kind != "invalid":
            self._in_a_row += 1
            if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise EvomergeError(
                    f"{self._in_a_row} trials failed in a row, the last with: {outcome.message}; "
                    f"mend the cause, then 'evomerge resume {self._journal.folder}'"
                )

    def _finish(
        self, number: int, outcome: Outcome, attempt: int, timing: Mapping[str, float]
    ) -> dict[str, Any]:
        """Record a final outcome and pass it on; returns what was recorded."""
        examples = outcome.examples if isinstance(outcome, Completed) else {}
        file = self._journal.write_examples(f"{trial_id(number)}.search", examples)
        payload = {"attempt": attempt, **outcome_to_json(outcome, file)}
        self._journal.append("finished", payload, trial=number, timing=timing)
        self._tell(number, outcome)
        return payload

    def _repeat(self, number: int, known: Paid) -> None:
        """Finish a trial with the outcome of the one that had its recipe before."""
        trial, found = known
        shared = {key: found[key] for key in RESULT_KEYS if key in found}
        payload = {"attempt": self._pending[number].attempt, **shared, "same_as": trial}
        self._journal.append("finished", payload, trial=number)
        self._tell(number, self._read(payload))

    def _read(self, payload: Mapping[str, Any]) -> Outcome:
        """Read a recorded outcome, with the scores of its items where the optimizer needs them."""
        file = payload.get("examples")
        if file and self._optimizers[-1].needs.examples:
            return outcome_from_json(payload, self._journal.read_examples(file))
        return outcome_from_json(payload)

    def _tell(self, number: int, outcome: Outcome, *, replayed: bool = False) -> None:
        proposal = self._pending.pop(number).proposal
        costs = None
        if isinstance(outcome, Completed):
            costs = tuple(
                objective.cost(outcome.metrics[objective.name])
                for objective in self._study.objectives
            )
        trial = Trial(number, proposal.genotype, outcome, costs)
        self._optimizers[-1].tell(trial)
        self.trials.append(trial)
        self._standing.add(trial, proposal.origin)
        part = self.course.parts[-1]
        self._observe(
            Progress(
                "search",
                len(self.trials) - part.first,
                self._allowed(part),
                self._standing.failed,
                dict(self._standing.best),
                len(self._standing.front),
                None if replayed else self._standing.hypervolume(),
                replayed,
                part.label,
            )
        )

    def _exhausted(self, session_s: float) -> str | None:
        """Say why the present stage may not ask any more."""
        return self._part_over() or self._out_of_time(session_s)

    def _part_over(self) -> str | None:
        """Say why the present stage is over, whatever time is left."""
        if not self.course.parts:
            return NOTHING_LEFT
        part = self.course.parts[-1]
        allowed = self._allowed(part)
        if allowed is not None and self._asked - part.first >= allowed:
            return f"budget: {self._budget.trials} trials"
        return self._optimizers[-1].stop_reason()

    def _allowed(self, part: Part) -> int | None:
        """Return how many trials a stage may ask for; what was added belongs to the last."""
        added = (self._budget.trials or 0) - (self._study.config.limits.trials or 0)
        if part.trials is None:
            return None
        return part.trials + (added if self.course.is_last else 0)

    def _out_of_time(self, session_s: float) -> str | None:
        hours = self._budget.hours
        if hours is not None and self._spent_s + session_s >= hours * 3600:
            return f"budget: {hours:g} hours"
        return None

    def _stop(self, reason: str) -> str:
        self.stopped = reason
        self._journal.append("stopped", {"reason": reason})
        return reason

    def _replay(self, event: Event) -> None:
        number = event.trial
        if event.kind == "stopped":
            self.stopped = event.payload["reason"]
        elif event.kind == "staged":
            self._replay_stage(event)
        if number is None or event.kind not in {"asked", "retried", "finished"}:
            return
        if event.kind == "asked":
            proposal = self._optimizers[-1].ask(number)
            if proposal is None or _asked(proposal) != dict(event.payload):
                raise other_proposal(self._journal, event, proposal)
            self._asked = number + 1
            self._pending[number] = _Pending(proposal, 0)
        elif event.kind == "retried":
            attempt = event.payload["attempt"] + 1
            self._pending[number] = _Pending(self._pending[number].proposal, attempt)
        else:
            self._tell(number, self._read(event.payload), replayed=True)

    def _replay_stage(self, event: Event) -> None:
        """Choose again what a stage starts from, and compare."""
        content = self.course.propose(self.trials, self._combine)
        if content is None or canonical(content) != canonical(event.payload):
            raise other_choice(self._journal, event, content)
        self._enter(self.course.begin(event.payload, self._asked))


def trial_id(number: int) -> str:
    """Name a trial in jobs and files."""
    return f"trial-{number:06d}"


def _asked(proposal: Proposal) -> dict[str, list[float | int | str] | str]:
    genotype: Genotype = proposal.genotype
    return {"genotype": list(genotype), "origin": proposal.origin}


def _seconds_spent(journal: Journal) -> float:
    """Sum what earlier sessions searched for: up to the last event of the search in each."""
    sessions = read_sessions(journal.folder)[:-1]
    stamps = [event.at for event in journal.events if event.kind in SEARCHING]
    total = 0.0
    for index, session in enumerate(sessions):
        following = sessions[index + 1].started_at if index + 1 < len(sessions) else float("inf")
        inside = [at for at in stamps if session.started_at <= at < following]
        total += max(inside, default=session.started_at) - session.started_at
    return total
