"""The trials of a run: asked for, on their way, finished; all of it as the journal has it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from typing import Any

from evomerge.journal import Event, Journal, outcome_from_json, outcome_to_json
from evomerge.journal.events import canonical
from evomerge.optimizers import Proposal
from evomerge.recipe import Recipe
from evomerge.study.budgets.config import BudgetConfig
from evomerge.study.budgets.meter import Meter
from evomerge.study.budgets.stop import Stop
from evomerge.study.budgets.stopping import Stopping
from evomerge.study.course import Course, Part
from evomerge.study.mismatch import other_choice, other_proposal
from evomerge.study.picks import Combine
from evomerge.study.preparation import Prepared
from evomerge.study.progress import Observer
from evomerge.study.records import asked, number_of, recorded, trial_id
from evomerge.study.rungs.climbing import Climbing, Decision
from evomerge.study.rungs.ladder import PROXY
from evomerge.study.stages import MEANINGLESS
from evomerge.study.telling import Telling
from evomerge.study.twins import Paid, Twins
from evomerge.study.validating import Validating
from evomerge.study.validation import VALIDATED, Validation
from evomerge.types import Completed, Failed, Outcome, Split, Trial
from evomerge.workers import Job, JobResult

NOTHING_LEFT = Stop("nothing left to ask")
FOR_READERS = frozenset({"genes", "ended"})
"""What the event of a stage says for readers of the journal only: the names of its genes, and why
the stage before it ended."""

TRIAL_EVENTS = frozenset({"asked", "retried", "measured", "finished", "validated"})


class History:
    """What has happened in a run, and what follows from it without an evaluation.

    Building it replays the journal: the optimizer is asked and told the same sequence again, and
    every genotype it proposes is compared with the recorded one; so is what each stage starts
    from. Whatever needs no evaluation is done as soon as it follows and before anything else, so
    that it comes in the same place whether or not a run was killed.

    Args:
        study: what is searched.
        journal: the record; empty of trials for a new run.
        budget: when to stop, over all stages; what was added belongs to the last.
        meter: of this session.
        observe: told of every finished trial.

    Attributes:
        course: the stages so far.
        validation: what was compared on validation items; nothing in a study without such.
        stopped: why the search is over; None while it is not.

    Raises:
        ReplayMismatch: the optimizer proposes something else than the journal holds.
    """

    def __init__(
        self,
        study: Prepared,
        journal: Journal,
        budget: BudgetConfig,
        meter: Meter,
        observe: Observer,
    ) -> None:
        self.course = Course(study)
        self.stopped: Stop | None = None
        self._study = study
        self._journal = journal
        self._combine: dict[int, Combine] = {}
        self.validation = Validation(study, self.course, self._combine)
        self._meter = meter
        self._stopping = Stopping(journal, study.config.limits, budget, self.course, meter)
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
        self._telling = Telling(
            study,
            journal,
            self.course,
            self.validation,
            self._stopping,
            observe,
            self._climbing.notes if self._climbing else (),
        )
        self._proposals: list[Proposal] = []
        self._attempts: dict[int, int] = {}  # of the trials that are not finished
        self._ready: list[int] = []
        self._was_lifted = False
        self._validating = Validating(
            journal,
            self.validation,
            self._telling,
            self._stopping,
            self._recipe,
            lambda number: self._proposals[number].origin,
            study.config.workers.retries,
        )
        if self.course.parts:
            self._enter(self.course.parts[0])
        for event in journal.events:
            self._replay(event)
        self._telling.note()
        over = self._part_over() if self.course.is_last else None
        if self._attempts or self.validation.due(ended=over is not None):
            self.stopped = None
        elif self._was_lifted and (stop := over or self.used_up()):
            self.stop(stop)

    @property
    def trials(self) -> list[Trial]:
        """Finished trials, in the order they finished."""
        return self._telling.trials

    @property
    def has_pending(self) -> bool:
        """Whether a trial was asked for and is not finished."""
        return bool(self._attempts)

    @property
    def climbs(self) -> bool:
        """Whether candidates go from rung to rung."""
        return self._climbing is not None

    def together(self) -> AbstractContextManager[None]:
        """Commit what happens inside in one go; see `Journal.together`."""
        return self._journal.together()

    def paid(self, recipe: Recipe, split: Split) -> Paid | None:
        """Return the trial that scored a recipe on all items of a split; None without one."""
        items = {"search": "", "validation": VALIDATED}.get(split)
        return None if items is None else self._twins.find(recipe, items, measured=True)

    def take_up(self) -> None:
        """Do what follows from the journal alone, where an earlier session was killed before it."""
        self._meter.begin_search()
        self._ready = [
            number
            for number in self._ready
            if self._must_wait(number) or self._to_score(number) is not None
        ]
        self.settle(ended=False)

    def ask(self) -> list[Job] | None:
        """Ask for one trial; None when the optimizer waits, else the jobs to be done for it."""
        if self._ready:  # the one before waits for base and donors
            return None
        number = len(self._proposals)
        proposal = self._telling.ask(number)
        if proposal is None:
            return None
        self._journal.append("asked", self._place(number, proposal), trial=number)
        self._telling.note()
        if self._must_wait(number):
            self._ready.append(number)
            return []
        jobs = self._jobs(number)
        self.settle(ended=False)
        return jobs

    def next_ready(self) -> list[Job] | None:
        """Return the jobs of a trial that climbs, or that an earlier session left; None without."""
        if not self._ready or self._must_wait(self._ready[0]):
            return None
        jobs = self._jobs(self._ready.pop(0))
        self.settle(ended=False)
        return jobs

    def next_validation(self, *, ended: bool) -> Job | None:
        """Return the job of a trial that is due for validation; None without one.

        Args:
            ended: the present part asks for no more trials.
        """
        return self._validating.next(self._twins, ended=ended)

    def take(self, result: JobResult, *, retry: bool) -> list[Job]:
        """Record a result; returns the jobs that follow.

        Args:
            result: of a job of `ask`, `next_ready`, `next_validation` or this.
            retry: a failed attempt, or one that waited for it, may follow now.
        """
        number = number_of(result.job.id)
        if number not in self._attempts:
            jobs, payload = self._validating.take(result, retry=retry)
            if payload is not None:
                self._share(number, result.job.recipe, VALIDATED, payload)
            return jobs
        jobs = self._take_search(number, result, retry=retry)
        self.settle(ended=False)
        return jobs

    def settle(self, *, ended: bool) -> None:
        """Finish trials that go no further, and decide on others until none can be decided on.

        Args:
            ended: nothing is in flight and nothing more is coming.
        """
        climbing = self._climbing
        while climbing is not None:
            for number in climbing.stopping:
                payload = self._finish(number, climbing.told(number), {})
                items = self.validation.items_of(number)
                self._share(number, self._recipe(number), items, payload)
            decision = climbing.decide(self._attempts.keys() - self._twins.waiting, ended=ended)
            if not (decision.climb or decision.stop):
                return
            self._journal.append("decided", asdict(decision))
            self._apply(climbing, decision)

    def exhausted(self) -> Stop | None:
        """Say why the present stage may not ask any more."""
        return self._part_over() or self.used_up()

    def used_up(self) -> Stop | None:
        """Say why no stage may."""
        return self._stopping.used_up()

    def keep_account(self) -> None:
        """Note in the journal what this session took, now and then."""
        self._meter.keep(self._journal)

    def begin_next(self, ended: Stop | None) -> None:
        """Enter the next stage, from what the finished trials say.

        Args:
            ended: why the one before it asked for nothing more.

        Raises:
            RuntimeError: there is no next one.
        """
        content = self.course.propose(self.validation.by_stage(self.trials), self._combine)
        if content is None:
            raise RuntimeError("the last stage was begun already")
        part = self.course.begin(content, len(self._proposals))
        self._enter(part)
        known: dict[str, Any] = {"genes": [gene.name for gene in part.space.domain.genes]}
        if len(self.course.parts) > 1:
            known["ended"] = (ended or NOTHING_LEFT).record()
        self._journal.append("staged", {**content, **known})
        self._telling.note()

    def stop(self, stop: Stop) -> Stop:
        """Record why the search is over; returns it."""
        self._meter.end_search()
        self.stopped = stop
        self._journal.append("stopped", stop.record())
        return stop

    def _part_over(self) -> Stop | None:
        """Say why the present stage is over, whatever time is left."""
        if not self.course.parts:
            return NOTHING_LEFT
        reason = self._telling.optimizers[-1].stop_reason()
        return self._stopping.part_over(len(self._proposals)) or (Stop(reason) if reason else None)

    def _recipe(self, number: int) -> Recipe:
        return self.course.decode(number, self._proposals[number].genotype)

    @cached_property
    def _twins(self) -> Twins:
        """What was evaluated; worked out by the first who asks, since reading a run need not."""
        context, events = self._study.context, self._journal.events
        return Twins.read(context, events, self.validation, self._recipe, self._attempts)

    def _enter(self, part: Part) -> None:
        optimizer = self._study.optimizer(part, len(self._telling.optimizers))
        self._telling.enter(optimizer)
        self._stopping.enter()
        combination = getattr(optimizer, "combination", None)
        if combination is not None:
            self._combine[part.index] = combination.cost
        generations = optimizer.needs.generations
        self.validation.enter(part, whole_generations=generations)
        if self._climbing is not None:
            self._climbing.enter(
                whole_generations=generations,
                combine=self._combine.get(part.index),
                foresee=lambda number: self._telling.foreseen(self._proposals[number].genotype),
            )

    def _place(self, number: int, proposal: Proposal) -> dict[str, Any]:
        """Make a proposal a trial; returns what its event says."""
        self._proposals.append(proposal)
        self._attempts[number] = 0
        self.course.note(number, proposal.genotype)
        place = self.validation.place(number, proposal.origin)
        if self._climbing is not None:
            place |= self._climbing.place(number, proposal.origin)
        return asked(proposal, place)

    def _must_wait(self, number: int) -> bool:
        return self._climbing is not None and self._climbing.must_wait(number, self._attempts)

    def _jobs(self, number: int) -> list[Job]:
        """Return the job of a trial, if it is to be scored."""
        recipe = self._to_score(number)
        if recipe is None:
            return []
        attempt = self._attempts[number]
        if self._climbing is None:
            return [self.validation.job(trial_id(number), number, recipe, attempt)]
        positions = self._climbing.positions(number)
        proxy = self._climbing.rung_of(number) == PROXY
        return [Job(trial_id(number), recipe, "search", attempt, batch=positions, proxy=proxy)]

    def _to_score(self, number: int) -> Recipe | None:
        """Return the recipe of a trial that is to be scored.

        One that decodes to no recipe, or to one that was completed, is finished at once; one
        whose recipe is being evaluated waits for that. Known points are measured with rungs,
        unless these have them climb: an estimate of their recipe is no outcome for them.
        """
        try:
            recipe = self._recipe(number)
        except MEANINGLESS as error:
            self._finish(number, Failed("invalid", str(error)), {})
            return None
        items = self.validation.items_of(number)
        measured = self._climbing is not None and self._climbing.is_whole(number)
        known = self._twins.find(recipe, items, measured=measured)
        if known is not None:
            self._repeat(number, known)
            return None
        return recipe if self._twins.claim(recipe, items, number, measured=measured) else None

    def _take_search(self, number: int, result: JobResult, *, retry: bool) -> list[Job]:
        attempt = result.job.attempt
        if result.retryable and attempt < self._study.config.workers.retries:
            payload = {"attempt": attempt, **outcome_to_json(result.outcome, None)}
            self._journal.append("retried", payload, trial=number, timing=result.timing)
            self._attempts[number] = attempt + 1
            return self._jobs(number) if retry else []  # else the next session repeats it
        outcome = self._telling.comparable(result.outcome)
        if self._climbing is not None and isinstance(outcome, Completed):
            outcome = self._measure(self._climbing, number, outcome, result.timing)
        self._stopping.note(outcome)
        if self._climbing is not None and isinstance(outcome, Completed):
            return []
        payload = self._finish(number, outcome, result.timing)
        recipe, items = result.job.recipe, self.validation.items_of(number)
        if isinstance(outcome, Completed):
            self._share(number, recipe, items, payload)
            return []
        following = self._twins.fail(recipe, items) if retry else None
        return [] if following is None else self._jobs(following)

    def _measure(
        self, climbing: Climbing, number: int, outcome: Completed, timing: Mapping[str, float]
    ) -> Outcome:
        """Record what a trial scored on the items of its rung; a failure where they do not fit."""
        rung, price = climbing.rung_of(number), climbing.price(number)
        n_items = sum(map(len, climbing.positions(number).values()))
        noted = climbing.add(number, outcome)
        if isinstance(noted, Completed):
            name = "proxy" if rung == PROXY else f"rung-{rung}"
            found = recorded(self._journal, f"{trial_id(number)}.{name}", "search", outcome)
            payload = {"rung": rung, "n_items": n_items, **found}
            timing = {**timing, "items": price}
            self._journal.append("measured", payload, trial=number, timing=timing)
            self._stopping.spend(price)
            self._telling.note()
        return noted

    def _apply(self, climbing: Climbing, decision: Decision) -> None:
        climbing.apply(decision)
        for number in decision.climb:
            self._attempts[number] = 0
        self._ready += decision.climb

    def _finish(self, number: int, outcome: Outcome, timing: Mapping[str, float]) -> dict[str, Any]:
        """Finish a trial with an outcome of its own; returns what was recorded."""
        attempt, n_items = self._close(number)
        split, proposal = self.validation.split_of(number), self._proposals[number]
        return self._telling.finish(
            number, proposal, outcome, split, attempt, timing, n_items=n_items
        )

    def _repeat(self, number: int, known: Paid) -> None:
        """Finish a trial with the outcome of another."""
        attempt, _ = self._close(number)
        self._telling.repeat(number, self._proposals[number], known, attempt)

    def _share(self, number: int, recipe: Recipe, items: str, payload: Mapping[str, Any]) -> None:
        """Finish the trials that waited for the outcome of this one on these items."""
        twins, unsatisfied = self._twins.complete(recipe, items, number, payload)
        for twin in twins:
            self._repeat(twin, (number, payload))
        self._ready += unsatisfied

    def _close(self, number: int) -> tuple[int, int]:
        """Take a trial off the books; returns its attempt and the items its end pays for."""
        attempt = self._attempts.pop(number)
        if self._climbing is None:
            return attempt, self.validation.n_items(number)
        self._climbing.finish(number)
        return attempt, 0  # they were paid for rung by rung

    def _replay(self, event: Event) -> None:
        if event.kind == "stopped":
            self.stopped = Stop.read(event.payload)
        elif event.kind == "extended" and self.stopped is not None:
            self.stopped, self._was_lifted = None, True
        elif event.kind == "staged":
            self._replay_stage(event)
        elif event.kind == "noted":
            self._telling.replay_note(event.payload)
        elif event.kind == "decided" and self._climbing is not None:
            self._apply(self._climbing, Decision(**event.payload))
        elif event.trial is not None and event.kind in TRIAL_EVENTS:
            self._replay_trial(event, event.trial)

    def _replay_trial(self, event: Event, number: int) -> None:
        if event.kind == "asked":
            proposal = self._telling.ask(number)
            if proposal is None or self._place(number, proposal) != dict(event.payload):
                raise other_proposal(self._journal, event, proposal)
            self._ready.append(number)
        elif event.kind == "retried":
            self._attempts[number] = event.payload["attempt"] + 1
        elif event.kind == "validated":
            self._validating.replay(number, event.payload)
        elif event.kind == "measured" and self._climbing is not None:
            self._replay_measured(self._climbing, number, event.payload)
        else:
            if number in self._ready:
                self._ready.remove(number)
            _, n_items = self._close(number)
            self._telling.replay(number, self._proposals[number], event.payload, n_items=n_items)

    def _replay_measured(self, climbing: Climbing, number: int, payload: Mapping[str, Any]) -> None:
        self._ready.remove(number)
        self._stopping.spend(climbing.price(number))
        file = payload.get("examples")
        outcome = outcome_from_json(payload, self._journal.read_examples(file) if file else None)
        if isinstance(outcome, Completed):
            climbing.add(number, outcome)

    def _replay_stage(self, event: Event) -> None:
        """Choose again what a stage starts from, and compare."""
        content = self.course.propose(self.validation.by_stage(self.trials), self._combine)
        then = {key: value for key, value in event.payload.items() if key not in FOR_READERS}
        if content is None or canonical(content) != canonical(then):
            raise other_choice(self._journal, event, content)
        self._enter(self.course.begin(event.payload, len(self._proposals)))
