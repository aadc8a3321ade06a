"""The search loop: ask, record, evaluate, record, tell; and its replay from the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.errors import EvomergeError, InvalidGenotype, ReplayMismatch, UserError
from evomerge.journal import Event, Journal, outcome_from_json, outcome_to_json, read_sessions
from evomerge.optimizers import Proposal
from evomerge.study.config import BudgetConfig
from evomerge.study.interrupt import Interrupt
from evomerge.study.preparation import Prepared, library_versions
from evomerge.study.progress import Observer, Progress, silent
from evomerge.study.standing import Standing
from evomerge.types import Completed, Failed, Genotype, Outcome, Trial
from evomerge.workers import Executor, Job, JobResult

POLL_S = 0.2
MAX_FAILURES_IN_A_ROW = 25
SEARCHING = frozenset({"asked", "retried", "finished", "stopped"})


@dataclass(frozen=True, slots=True)
class _Pending:
    """A trial that was asked for and not finished."""

    proposal: Proposal
    attempt: int


class Search:
    """One study's search, continued from whatever its journal holds.

    Building it replays the journal: the optimizer is asked and told the same sequence again, and
    every genotype it proposes is compared with the recorded one.

    Args:
        study: what is searched.
        journal: the record; empty of trials for a new run.
        budget: when to stop.
        observe: told of every finished trial.

    Raises:
        ReplayMismatch: the optimizer proposes something else than the journal holds.
    """

    def __init__(
        self, study: Prepared, journal: Journal, budget: BudgetConfig, observe: Observer = silent
    ) -> None:
        self.trials: list[Trial] = []
        self.stopped: str | None = None
        self._study = study
        self._journal = journal
        self._budget = budget
        self._observe = observe
        self._optimizer = study.optimizer()
        self._asked = 0
        self._in_a_row = 0
        self._pending: dict[int, _Pending] = {}
        self._standing = Standing(study.objectives, study.context.donors)
        for event in journal.events:
            self._replay(event)
        self._spent_s = _seconds_spent(journal)
        extended = self._exhausted(0.0) is None and self._optimizer.stop_reason() is None
        if self._pending or extended:
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
                if interrupt.requested and (reason is None or self._pending):
                    return None
                return self._stop(reason or self._optimizer.stop_reason() or "nothing left to ask")
            for result in workers.wait(POLL_S):
                in_flight += self._receive(workers, result, interrupt) - 1

    def _ask(self, workers: Executor) -> int | None:
        """Ask for one trial; None when the optimizer waits, else the number of jobs submitted."""
        if self._optimizer.stop_reason() is not None:
            return None
        number = self._asked
        proposal = self._optimizer.ask(number)
        if proposal is None:
            return None
        self._journal.append("asked", _asked(proposal), trial=number)
        self._asked += 1
        self._pending[number] = _Pending(proposal, 0)
        return self._submit(workers, number, self._pending[number])

    def _submit(self, workers: Executor, number: int, pending: _Pending) -> int:
        """Submit a trial; one that decodes to no recipe is finished at once."""
        try:
            recipe = self._study.space.decode(pending.proposal.genotype)
        except (InvalidGenotype, UserError, ValueError, ArithmeticError) as error:
            self._finish(number, Failed("invalid", str(error)), pending.attempt, {})
            return 0
        workers.submit(Job(trial_id(number), recipe, "search", pending.attempt))
        return 1

    def _receive(self, workers: Executor, result: JobResult, interrupt: Interrupt) -> int:
        """Record a result; returns how many jobs were submitted again because of it."""
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
        self._finish(number, outcome, attempt, timing)
        self._count_failures(outcome)
        return 0

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
    ) -> None:
        examples = outcome.examples if isinstance(outcome, Completed) else {}
        file = self._journal.write_examples(f"{trial_id(number)}.search", examples)
        payload = {"attempt": attempt, **outcome_to_json(outcome, file)}
        self._journal.append("finished", payload, trial=number, timing=timing)
        self._tell(number, outcome)

    def _tell(self, number: int, outcome: Outcome, *, replayed: bool = False) -> None:
        proposal = self._pending.pop(number).proposal
        costs = None
        if isinstance(outcome, Completed):
            costs = tuple(
                objective.cost(outcome.metrics[objective.name])
                for objective in self._study.objectives
            )
        trial = Trial(number, proposal.genotype, outcome, costs)
        self._optimizer.tell(trial)
        self.trials.append(trial)
        self._standing.add(trial, proposal.origin)
        self._observe(
            Progress(
                "search",
                len(self.trials),
                self._budget.trials,
                self._standing.failed,
                dict(self._standing.best),
                len(self._standing.front),
                None if replayed else self._standing.hypervolume(),
                replayed,
            )
        )

    def _exhausted(self, session_s: float) -> str | None:
        """Say which budget is used up."""
        budget = self._budget
        if budget.trials is not None and self._asked >= budget.trials:
            return f"budget: {budget.trials} trials"
        if budget.hours is not None and self._spent_s + session_s >= budget.hours * 3600:
            return f"budget: {budget.hours:g} hours"
        return None

    def _stop(self, reason: str) -> str:
        self.stopped = reason
        self._journal.append("stopped", {"reason": reason})
        return reason

    def _replay(self, event: Event) -> None:
        number = event.trial
        if event.kind == "stopped":
            self.stopped = event.payload["reason"]
        if number is None or event.kind not in {"asked", "retried", "finished"}:
            return
        if event.kind == "asked":
            proposal = self._optimizer.ask(number)
            if proposal is None or _asked(proposal) != dict(event.payload):
                raise ReplayMismatch(self._mismatch(event, proposal))
            self._asked = number + 1
            self._pending[number] = _Pending(proposal, 0)
        elif event.kind == "retried":
            attempt = event.payload["attempt"] + 1
            self._pending[number] = _Pending(self._pending[number].proposal, attempt)
        else:
            file = event.payload.get("examples")
            examples = None
            if file and self._optimizer.needs.examples:
                examples = self._journal.read_examples(file)
            self._tell(number, outcome_from_json(event.payload, examples), replayed=True)

    def _mismatch(self, event: Event, proposal: Proposal | None) -> str:
        then = self._journal.events[0].payload.get("versions", {})
        now = library_versions()
        changed = [
            f"{name} {then.get(name)} → {now.get(name)}"
            for name in now
            if then.get(name) != now[name]
        ]
        got = "nothing" if proposal is None else f"{list(proposal.genotype)[:3]}…"
        return (
            f"trial {event.trial} of {self._journal.folder} cannot be replayed: recorded "
            f"{event.payload['genotype'][:3]}…, proposed {got}; "
            f"changed versions: {', '.join(changed) or 'none'}; install the recorded versions to "
            "resume, or start a new run"
        )


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
