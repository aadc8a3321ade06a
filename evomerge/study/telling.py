"""What becomes of a trial: recorded, then told to the optimizer and to who watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evomerge.allocation import keep_freed_memory
from evomerge.journal import Journal, outcome_from_json
from evomerge.optimizers import Optimizer, Proposal
from evomerge.study.budgets.stopping import Stopping
from evomerge.study.course import Course
from evomerge.study.example_ids import ExampleIds
from evomerge.study.one_thread import OneThread
from evomerge.study.picks import trial_of
from evomerge.study.preparation import Prepared
from evomerge.study.progress import Observer, Progress
from evomerge.study.records import recorded, shared, trial_id
from evomerge.study.standing import Standing
from evomerge.study.twins import Paid
from evomerge.study.validation import Validation
from evomerge.types import Completed, Failed, Genotype, Outcome, Split, Trial

OPTIMIZER, RUNGS = "optimizer", "rungs"
"""Whose note it is."""


class Telling:
    """Passes outcomes on, in the order in which the journal has them.

    Args:
        study: what is searched.
        journal: the record.
        course: the stages so far.
        validation: says which scores compare.
        stopping: counts what was spent.
        observe: told of every finished trial.
        notes: what is found beside the optimizer, growing.

    Attributes:
        trials: finished trials, in the order they finished.
        optimizers: one for each part of the run so far.
    """

    def __init__(
        self,
        study: Prepared,
        journal: Journal,
        course: Course,
        validation: Validation,
        stopping: Stopping,
        observe: Observer,
        notes: Sequence[str] = (),
    ) -> None:
        self.trials: list[Trial] = []
        self.optimizers: list[Optimizer] = []
        self._study = study
        self._journal = journal
        self._course = course
        self._validation = validation
        self._stopping = stopping
        self._observe = observe
        self._standing = Standing(study.objectives, study.context.donors)
        self._examples: ExampleIds | None = None
        self._notes = notes
        self._n_noted = {OPTIMIZER: 0, RUNGS: 0}
        self._one_thread = OneThread()
        keep_freed_memory()  # Gaussian processes are asked thousands of times for a proposal

    def enter(self, optimizer: Optimizer) -> None:
        """Begin the next part of the run."""
        self.optimizers.append(optimizer)
        self._n_noted[OPTIMIZER] = 0
        self._examples = None
        needs = optimizer.needs
        if needs.examples:
            names = [objective.name for objective in self._study.objectives]
            self._examples = ExampleIds(names, nonnegative=needs.nonnegative)

    def ask(self, number: int) -> Proposal | None:
        """Return what the optimizer proposes for a trial."""
        with self._one_thread():
            return self.optimizers[-1].ask(number)

    def foreseen(self, genotype: Genotype) -> tuple[Sequence[float], Sequence[float]] | None:
        """Ask a model of the optimizer's what a trial will cost, and how sure it is."""
        predict = getattr(self.optimizers[-1], "predict", None)
        if predict is None:
            return None
        with self._one_thread():
            found: tuple[Sequence[float], Sequence[float]] | None = predict(genotype)
        return found

    def comparable(self, outcome: Outcome) -> Outcome:
        """Fail an outcome whose examples the optimizer cannot compare with those before."""
        return self._examples.checked(outcome) if self._examples is not None else outcome

    def finish(
        self,
        number: int,
        proposal: Proposal,
        outcome: Outcome,
        split: Split,
        attempt: int,
        timing: Mapping[str, float],
        *,
        n_items: int,
    ) -> dict[str, Any]:
        """Record a final outcome and pass it on; returns what was recorded.

        Args:
            number: of the trial.
            proposal: what it evaluates.
            outcome: its own.
            split: whose items it was scored on.
            attempt: which try it was.
            timing: seconds it took, by step.
            n_items: search items that this event pays for.
        """
        payload = {
            "attempt": attempt,
            **recorded(self._journal, trial_id(number), split, outcome),
        }
        if n_items and isinstance(outcome, Completed):
            timing = {**timing, "items": n_items}
        self._journal.append("finished", payload, trial=number, timing=timing)
        self._tell(number, proposal, outcome, n_items=n_items)
        self.note()
        return payload

    def repeat(self, number: int, proposal: Proposal, known: Paid, attempt: int) -> None:
        """Finish a trial with the outcome of the one that had its recipe before."""
        payload = {"attempt": attempt, **shared(known)}
        self._journal.append("finished", payload, trial=number)
        self._tell(number, proposal, self._read(payload), n_items=None)
        self.note()

    def replay(
        self, number: int, proposal: Proposal, payload: Mapping[str, Any], *, n_items: int
    ) -> None:
        """Pass a recorded outcome on again."""
        paid = None if "same_as" in payload else n_items
        self._tell(number, proposal, self._read(payload), n_items=paid, replayed=True)

    def validated(self, trial: Trial, origin: str, *, replayed: bool) -> None:
        """Show what a trial scored on validation items; it counts where trials compare there."""
        if trial.costs is not None:
            if self._study.config.compared_on == "validation":
                self._standing.add(trial, origin)
            self._stopping.see(self._standing, len(self.trials))
            self._report(replayed)

    def note(self) -> None:
        """Record and show what there is to say of the search that was not recorded yet."""
        if not self._course.parts:
            return
        label = self._course.parts[-1].label
        own = getattr(self.optimizers[-1], "notes", ())
        for of, notes in ((OPTIMIZER, own), (RUNGS, self._notes)):
            for text in notes[self._n_noted[of] :]:
                source = {} if of == OPTIMIZER else {"of": of}
                self._journal.append("noted", {"stage": label, "text": text, **source})
                self._n_noted[of] += 1
                self._observe(Progress("search", 0, None, stage=label, note=text))

    def replay_note(self, payload: Mapping[str, Any]) -> None:
        """Count a note that was recorded before."""
        self._n_noted[payload.get("of", OPTIMIZER)] += 1

    def _read(self, payload: Mapping[str, Any]) -> Outcome:
        """Read a recorded outcome, with the scores of its items where the optimizer needs them."""
        file = payload.get("examples")
        if file and self._examples is not None:
            return self.comparable(outcome_from_json(payload, self._journal.read_examples(file)))
        return outcome_from_json(payload)

    def _tell(
        self,
        number: int,
        proposal: Proposal,
        outcome: Outcome,
        *,
        n_items: int | None,
        replayed: bool = False,
    ) -> None:
        """Pass an outcome on; `n_items` is None for one that another trial paid for."""
        if n_items is None or (isinstance(outcome, Failed) and outcome.kind == "invalid"):
            self._stopping.repeat()
        elif isinstance(outcome, Completed):
            self._stopping.spend(n_items)
        trial = trial_of(number, proposal.genotype, outcome, self._study.objectives)
        with self._one_thread():
            self.optimizers[-1].tell(trial)
        if isinstance(outcome, Completed):  # the scores of single items are in the journal
            trial = replace(trial, outcome=replace(outcome, examples={}))
        self.trials.append(trial)
        comparable = self._validation.tell(trial)
        if trial.costs is None or (comparable and trial.measured):
            self._standing.add(trial, proposal.origin)
        self._stopping.see(self._standing, len(self.trials))
        self._report(replayed)

    def _report(self, replayed: bool) -> None:
        part = self._course.parts[-1]
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
                finished=len(self.trials),
                gauges=self._stopping.gauges,
            )
        )
