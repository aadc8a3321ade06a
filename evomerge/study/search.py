"""The search loop: ask, record, evaluate, record, tell; and its replay from the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from evomerge.journal import Event, Journal, outcome_from_json, outcome_to_json
from evomerge.journal.events import canonical
from evomerge.optimizers import Optimizer, Proposal, Scalarised
from evomerge.recipe import Recipe
from evomerge.study.config import BudgetConfig
from evomerge.study.course import Course, Part
from evomerge.study.example_ids import ExampleIds
from evomerge.study.interrupt import Interrupt
from evomerge.study.mismatch import other_choice, other_proposal
from evomerge.study.picks import Combine, trial_of
from evomerge.study.preparation import Prepared
from evomerge.study.progress import Observer, Progress, silent
from evomerge.study.records import asked, number_of, recorded, shared, trial_id
from evomerge.study.rungs.climbing import Climbing, Decision
from evomerge.study.rungs.ladder import PROXY
from evomerge.study.stages import MEANINGLESS
from evomerge.study.standing import Standing
from evomerge.study.stopping import Stopping
from evomerge.study.twins import Paid, Twins, key_of
from evomerge.study.validation import VALIDATED, Validation
from evomerge.types import Completed, Failed, Outcome, Split, Trial
from evomerge.workers import Executor, Job, JobResult

POLL_S = 0.2
NOTHING_LEFT = "nothing left to ask"
TRIAL_EVENTS = frozenset({"asked", "retried", "measured", "finished", "validated"})


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
        validation: what was compared on validation items; nothing in a study without batches.
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
        self._observe = observe
        self._optimizers: list[Optimizer] = []
        self._combine: dict[int, Combine] = {}
        self.validation = Validation(study, self.course, self._combine)
        self._validating: set[int] = set()
        self._climbing: Climbing | None = None
        if study.config.rungs is not None:
            self._climbing = Climbing(
                study.config.rungs,
                study.objectives,
                study.items,
                study.config.seed,
                study.proxies,
                study.folder,
            )
        self._origins: dict[int, str] = {}
        self._examples: ExampleIds | None = None
        self._asked = 0
        self._stopping = Stopping(journal, budget, study.config.limits.trials, self.course)
        self._pending: dict[int, _Pending] = {}
        self._ready: list[int] = []
        self._waiting: set[int] = set()
        self._standing = Standing(study.objectives, study.context.donors)
        self._n_noted = 0
        if self.course.parts:
            self._enter(self.course.parts[0])
        for event in journal.events:
            self._replay(event)
        self._note()
        over = self._part_over() is not None and self.course.is_last
        if (
            self._pending
            or self.validation.due(ended=over)
            or not (over or self._stopping.used_up(0.0))
        ):
            self.stopped = None

    def run(self, workers: Executor, interrupt: Interrupt) -> str | None:
        """Search until a reason to stop; None when interrupted with trials left to do."""
        if self.stopped:
            return self.stopped
        started = time.monotonic()
        in_flight = 0
        self._take_up()
        while True:
            if not interrupt.requested:
                in_flight += self._continue(workers, workers.capacity - in_flight)
                in_flight += self._validate(workers, workers.capacity - in_flight, ended=False)
            reason = self._exhausted(time.monotonic() - started)
            while reason is None and not interrupt.requested and in_flight < workers.capacity:
                submitted = self._ask(workers)
                if submitted is None:
                    break
                in_flight += submitted
                in_flight += self._continue(workers, workers.capacity - in_flight)
                reason = self._exhausted(time.monotonic() - started)
            if in_flight == 0 and not interrupt.requested:
                self._settle(ended=True)
                in_flight += self._continue(workers, workers.capacity)
                in_flight += self._validate(workers, workers.capacity - in_flight, ended=True)
            if in_flight == 0:
                due = self.validation.due(ended=True)
                more = reason is None or self._pending or due or not self.course.is_last
                if interrupt.requested and more:
                    return None
                late = self._stopping.used_up(time.monotonic() - started)
                if self.course.is_last:
                    return self._stop(reason or NOTHING_LEFT)
                if late is not None:
                    return self._stop(late)
                self._begin_next()
                continue
            for result in workers.wait(POLL_S):
                in_flight += self._receive(workers, result, interrupt) - 1

    def _take_up(self) -> None:
        """Do what follows from the journal alone, where an earlier session was killed before it.

        Whatever needs no evaluation is done as soon as it follows and before anything else, so
        that it comes in the same place whether or not a run was killed.
        """
        self._ready = [
            number
            for number in self._ready
            if self._must_wait(number) or self._to_score(number) is not None
        ]
        self._settle(ended=False)

    def _continue(self, workers: Executor, room: int) -> int:
        """Submit trials that climb, or that an earlier session left; returns how many jobs."""
        submitted = 0
        while self._ready and submitted < room and not self._must_wait(self._ready[0]):
            submitted += self._submit(workers, self._ready.pop(0))
            self._settle(ended=False)
        return submitted

    def paid(self, recipe: Recipe, split: Split) -> Paid | None:
        """Return the trial that scored a recipe on all items of a split; None without one."""
        items = {"search": "", "validation": VALIDATED}.get(split)
        found = None if items is None else self._twins.find(self._key(recipe, items))
        return None if found is None or "errors" in found[1] else found

    def _key(self, recipe: Recipe, items: str) -> str:
        return key_of(recipe, self._study.context) + items

    @cached_property
    def _twins(self) -> Twins:
        """What was evaluated; worked out by the first who asks, since reading a run need not."""
        twins = Twins()
        genotypes = {trial.number: trial.genotype for trial in self.trials}
        for event in self._journal.events:
            number = event.trial
            if number is None or "metrics" not in event.payload:
                continue
            if event.kind == "measured" and number in self._pending:  # on its way up
                recipe = self.course.decode(number, self._pending[number].proposal.genotype)
                twins.claim(self._key(recipe, self.validation.items_of(number)), number)
            elif event.kind in ("finished", "validated"):
                on = VALIDATED if event.kind == "validated" else self.validation.items_of(number)
                recipe = self.course.decode(number, genotypes[number])
                twins.complete(self._key(recipe, on), number, event.payload)
        return twins

    def _begin_next(self) -> None:
        """Enter the next stage, from what the finished trials say."""
        content = self.course.propose(self.validation.by_stage(self.trials), self._combine)
        if content is None:
            raise RuntimeError("the last stage was begun already")
        self._enter(self.course.begin(content, self._asked))
        self._journal.append("staged", content)
        self._note()

    def _enter(self, part: Part) -> None:
        optimizer = self._study.optimizer(part, len(self._optimizers))
        self._optimizers.append(optimizer)
        self._n_noted = 0
        names = [objective.name for objective in self._study.objectives]
        needs = optimizer.needs
        self._examples = None
        if needs.examples:
            self._examples = ExampleIds(names, nonnegative=needs.nonnegative)
        if isinstance(optimizer, Scalarised):
            self._combine[part.index] = optimizer.cost
        whole_generations = optimizer.needs.compares == "generation"
        self.validation.enter(part, whole_generations=whole_generations)
        if self._climbing is not None:
            self._climbing.enter(whole_generations=whole_generations)

    def _ask(self, workers: Executor) -> int | None:
        """Ask for one trial; None when the optimizer waits, else the number of jobs submitted."""
        if self._ready:  # the one before waits for base and donors
            return None
        number = self._asked
        proposal = self._optimizers[-1].ask(number)
        if proposal is None:
            return None
        self._journal.append("asked", self._place(number, proposal), trial=number)
        self._note()
        if self._must_wait(number):
            self._ready.append(number)
            return 0
        submitted = self._submit(workers, number)
        self._settle(ended=False)
        return submitted

    def _must_wait(self, number: int) -> bool:
        return self._climbing is not None and self._climbing.must_wait(number, self._pending)

    def _place(self, number: int, proposal: Proposal) -> dict[str, Any]:
        """Make a proposal a trial; returns what its event says."""
        self._asked = number + 1
        self._pending[number] = _Pending(proposal, 0)
        self._origins[number] = proposal.origin
        self.course.note(number, proposal.genotype)
        if self._climbing is not None:
            self._climbing.place(number, proposal.origin)
        return asked(proposal, self.validation.place(number, proposal.origin))

    def _submit(self, workers: Executor, number: int) -> int:
        """Submit a trial if it is to be scored; returns the number of jobs."""
        recipe = self._to_score(number)
        if recipe is None:
            return 0
        workers.submit(self._job(number, recipe, self._pending[number].attempt))
        return 1

    def _to_score(self, number: int) -> Recipe | None:
        """Return the recipe of a trial that is to be scored.

        One that decodes to no recipe, or to one that was completed, is finished at once; one
        whose recipe is being evaluated waits for that.
        """
        pending = self._pending[number]
        try:
            recipe = self.course.decode(number, pending.proposal.genotype)
        except MEANINGLESS as error:
            self._finish(number, Failed("invalid", str(error)), pending.attempt, {})
            return None
        key = self._key(recipe, self.validation.items_of(number))
        known = self._twins.find(key)
        if known is not None:
            self._repeat(number, known)
            return None
        if not self._twins.claim(key, number):
            self._waiting.add(number)
            return None
        self._waiting.discard(number)
        return recipe

    def _job(self, number: int, recipe: Recipe, attempt: int) -> Job:
        if self._climbing is None:
            return self.validation.job(trial_id(number), number, recipe, attempt)
        positions = self._climbing.positions(number)
        proxy = self._climbing.rung_of(number) == PROXY
        return Job(trial_id(number), recipe, "search", attempt, batch=positions, proxy=proxy)

    def _validate(self, workers: Executor, room: int, *, ended: bool) -> int:
        """Submit what is due for validation, at most `room` jobs; returns how many."""
        submitted = 0
        while submitted < room:
            due = self.validation.due(ended=ended)
            trial = next((one for one in due if one.number not in self._validating), None)
            if trial is None:
                break
            recipe = self.course.decode(trial.number, trial.genotype)
            known = self._twins.find(self._key(recipe, VALIDATED))
            if known is not None:
                self._validated(trial.number, shared(known), {})
                continue
            self._validating.add(trial.number)
            workers.submit(Job(trial_id(trial.number), recipe, "validation"))
            submitted += 1
        return submitted

    def _receive_validation(
        self, workers: Executor, result: JobResult, interrupt: Interrupt
    ) -> int:
        """Record a trial's validation; returns how many jobs were submitted because of it."""
        job, outcome = result.job, result.outcome
        number = number_of(job.id)
        if self._retries(result):
            if not interrupt.requested:
                workers.submit(replace(job, attempt=job.attempt + 1))
                return 1
            self._validating.discard(number)
            return 0  # the next session repeats it
        self._validating.discard(number)
        payload = recorded(self._journal, job.id, "validation", outcome)
        self._validated(number, payload, result.timing)
        self._stopping.note(outcome)
        if isinstance(outcome, Completed):
            for twin in self._twins.complete(self._key(job.recipe, VALIDATED), number, payload):
                self._repeat(twin, (number, payload))
        return 0

    def _validated(
        self, number: int, payload: Mapping[str, Any], timing: Mapping[str, float]
    ) -> None:
        self._journal.append("validated", payload, trial=number, timing=timing)
        self._note_validated(number, payload)

    def _note_validated(
        self, number: int, payload: Mapping[str, Any], *, replayed: bool = False
    ) -> None:
        trial = self.validation.record(number, outcome_from_json(payload))
        if trial.costs is not None:
            self._standing.add(trial, self._origins[number])
            self._report(replayed)

    def _retries(self, result: JobResult) -> bool:
        """Say whether a result is a failure that is tried again."""
        outcome = result.outcome
        retryable = isinstance(outcome, Failed) and outcome.kind != "invalid"
        return retryable and result.job.attempt < self._study.config.workers.retries

    def _receive(self, workers: Executor, result: JobResult, interrupt: Interrupt) -> int:
        """Record a result; returns how many jobs were submitted because of it."""
        number = number_of(result.job.id)
        if number not in self._pending:
            return self._receive_validation(workers, result, interrupt)
        submitted = self._receive_search(workers, number, result, interrupt)
        self._settle(ended=False)
        return submitted

    def _receive_search(
        self, workers: Executor, number: int, result: JobResult, interrupt: Interrupt
    ) -> int:
        attempt, timing = result.job.attempt, result.timing
        if self._retries(result):
            payload = {"attempt": attempt, **outcome_to_json(result.outcome, None)}
            self._journal.append("retried", payload, trial=number, timing=timing)
            self._pending[number] = _Pending(self._pending[number].proposal, attempt + 1)
            if interrupt.requested:
                return 0  # the next session repeats it
            return self._submit(workers, number)
        outcome = self._comparable(result.outcome)
        if self._climbing is not None and isinstance(outcome, Completed):
            outcome = self._measure(self._climbing, number, outcome, timing)
        self._stopping.note(outcome)
        if self._climbing is not None and isinstance(outcome, Completed):
            return 0
        payload = self._finish(number, outcome, attempt, timing)
        if isinstance(outcome, Completed):
            self._share(number, result.job.recipe, payload)
            return 0
        key = self._key(result.job.recipe, self.validation.items_of(number))
        following = None if interrupt.requested else self._twins.fail(key)
        return 0 if following is None else self._submit(workers, following)

    def _share(self, number: int, recipe: Recipe, payload: Mapping[str, Any]) -> None:
        """Finish the trials that waited for the outcome of this one."""
        key = self._key(recipe, self.validation.items_of(number))
        for twin in self._twins.complete(key, number, payload):
            self._repeat(twin, (number, payload))

    def _measure(
        self,
        climbing: Climbing,
        number: int,
        outcome: Completed,
        timing: Mapping[str, float],
    ) -> Outcome:
        """Record what a trial scored on the items of its rung; a failure where they do not fit."""
        rung, n_items = climbing.rung_of(number), _count(climbing.positions(number))
        noted = climbing.add(number, outcome)
        if isinstance(noted, Completed):
            name = "proxy" if rung == PROXY else f"rung-{rung}"
            found = recorded(self._journal, f"{trial_id(number)}.{name}", "search", outcome)
            payload = {"rung": rung, "n_items": n_items, **found}
            self._journal.append("measured", payload, trial=number, timing=timing)
            self._stopping.spend(n_items)
        return noted

    def _settle(self, *, ended: bool) -> None:
        """Finish trials that go no further, and decide on others until none can be decided on."""
        climbing = self._climbing
        while climbing is not None:
            for number in climbing.stopping:
                pending = self._pending[number]
                payload = self._finish(number, climbing.told(number), pending.attempt, {})
                recipe = self.course.decode(number, pending.proposal.genotype)
                self._share(number, recipe, payload)
            decision = climbing.decide(self._pending.keys() - self._waiting, ended=ended)
            if not (decision.climb or decision.stop):
                return
            self._journal.append("decided", asdict(decision))
            self._apply(climbing, decision)

    def _apply(self, climbing: Climbing, decision: Decision) -> None:
        climbing.apply(decision)
        for number in decision.climb:
            self._pending[number] = _Pending(self._pending[number].proposal, 0)
        self._ready += decision.climb

    def _comparable(self, outcome: Outcome) -> Outcome:
        """Fail an outcome whose examples the optimizer cannot compare with those before."""
        return self._examples.checked(outcome) if self._examples is not None else outcome

    def _finish(
        self, number: int, outcome: Outcome, attempt: int, timing: Mapping[str, float]
    ) -> dict[str, Any]:
        """Record a final outcome and pass it on; returns what was recorded."""
        split = self.validation.split_of(number)
        payload = {
            "attempt": attempt,
            **recorded(self._journal, trial_id(number), split, outcome),
        }
        self._journal.append("finished", payload, trial=number, timing=timing)
        self._tell(number, outcome)
        self._note()
        return payload

    def _repeat(self, number: int, known: Paid) -> None:
        """Finish a trial with the outcome of the one that had its recipe before."""
        payload = {"attempt": self._pending[number].attempt, **shared(known)}
        self._journal.append("finished", payload, trial=number)
        self._tell(number, self._read(payload), repeated=True)
        self._note()

    def _read(self, payload: Mapping[str, Any]) -> Outcome:
        """Read a recorded outcome, with the scores of its items where the optimizer needs them."""
        file = payload.get("examples")
        if file and self._examples is not None:
            return self._comparable(outcome_from_json(payload, self._journal.read_examples(file)))
        return outcome_from_json(payload)

    def _tell(
        self, number: int, outcome: Outcome, *, repeated: bool = False, replayed: bool = False
    ) -> None:
        proposal = self._pending.pop(number).proposal
        self._waiting.discard(number)
        if repeated or (isinstance(outcome, Failed) and outcome.kind == "invalid"):
            self._stopping.repeat()
        elif self._climbing is None and isinstance(outcome, Completed):
            self._stopping.spend(self.validation.n_items(number))
        trial = trial_of(number, proposal.genotype, outcome, self._study.objectives)
        self._optimizers[-1].tell(trial)
        if isinstance(outcome, Completed):  # the scores of single items are in the journal
            trial = replace(trial, outcome=replace(outcome, examples={}))
        self.trials.append(trial)
        if self._climbing is not None:
            self._climbing.finish(number)
        comparable = self.validation.tell(trial)
        if trial.costs is None or (comparable and trial.measured):
            self._standing.add(trial, proposal.origin)
        self._report(replayed)

    def _report(self, replayed: bool) -> None:
        part = self.course.parts[-1]
        self._observe(
            Progress(
                "search",
                len(self.trials) - part.first,
                self._stopping.allowed(part),
                self._standing.failed,
                dict(self._standing.best),
                len(self._standing.front),
                None if replayed else self._standing.hypervolume(),
                replayed,
                part.label,
            )
        )

    def _note(self) -> None:
        """Record and show what the optimizer has to say that was not recorded yet."""
        part = self.course.parts[-1] if self.course.parts else None
        if part is None:
            return
        for text in getattr(self._optimizers[-1], "notes", ())[self._n_noted :]:
            self._journal.append("noted", {"stage": part.label, "text": text})
            self._n_noted += 1
            self._observe(Progress("search", 0, None, stage=part.label, note=text))

    def _exhausted(self, session_s: float) -> str | None:
        """Say why the present stage may not ask any more."""
        return self._part_over() or self._stopping.used_up(session_s)

    def _part_over(self) -> str | None:
        """Say why the present stage is over, whatever time is left."""
        if not self.course.parts:
            return NOTHING_LEFT
        return self._stopping.out_of_trials(self._asked) or self._optimizers[-1].stop_reason()

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
        elif event.kind == "noted":
            self._n_noted += 1
        elif event.kind == "decided" and self._climbing is not None:
            self._apply(self._climbing, Decision(**event.payload))
        if number is None or event.kind not in TRIAL_EVENTS:
            return
        if event.kind == "asked":
            proposal = self._optimizers[-1].ask(number)
            if proposal is None or self._place(number, proposal) != dict(event.payload):
                raise other_proposal(self._journal, event, proposal)
            self._ready.append(number)
        elif event.kind == "retried":
            attempt = event.payload["attempt"] + 1
            self._pending[number] = _Pending(self._pending[number].proposal, attempt)
        elif event.kind == "measured" and self._climbing is not None:
            self._replay_measured(self._climbing, number, event.payload)
        elif event.kind == "validated":
            self._note_validated(number, event.payload, replayed=True)
        else:
            if number in self._ready:
                self._ready.remove(number)
            repeated = "same_as" in event.payload
            self._tell(number, self._read(event.payload), repeated=repeated, replayed=True)

    def _replay_measured(self, climbing: Climbing, number: int, payload: Mapping[str, Any]) -> None:
        self._ready.remove(number)
        self._stopping.spend(_count(climbing.positions(number)))
        file = payload.get("examples")
        outcome = outcome_from_json(payload, self._journal.read_examples(file) if file else None)
        if isinstance(outcome, Completed):
            climbing.add(number, outcome)

    def _replay_stage(self, event: Event) -> None:
        """Choose again what a stage starts from, and compare."""
        content = self.course.propose(self.validation.by_stage(self.trials), self._combine)
        if content is None or canonical(content) != canonical(event.payload):
            raise other_choice(self._journal, event, content)
        self._enter(self.course.begin(event.payload, self._asked))


def _count(positions: Mapping[str, tuple[int, ...]]) -> int:
    return sum(map(len, positions.values()))
