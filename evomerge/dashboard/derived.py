"""Optuna studies derived from a journal (Akiba et al., 2019, arXiv 1907.10902).

They live in memory and can be derived again at any time: the journal stays the one record of a
search, and is only read.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from evomerge.dashboard.trials import attributes_of, intermediate_of, values_of
from evomerge.errors import MissingExtra, RunDirectoryError
from evomerge.journal import Event, Follower
from evomerge.optimizers.optuna_log import quiet
from evomerge.optimizers.optuna_sampler import distribution_of
from evomerge.recipe import fingerprint
from evomerge.study.course import Course, Part
from evomerge.study.outline import Outline, read_outline
from evomerge.study.seen import SeenRun, SeenTrial, State
from evomerge.study.stages import MEANINGLESS
from evomerge.types import Completed, Outcome

_STATES: Mapping[State, str] = {
    "running": "RUNNING",
    "completed": "COMPLETE",
    "estimated": "PRUNED",
    "searched": "PRUNED",
    "failed": "FAIL",
}
"""What is no result that compares with others is no complete trial."""


class DerivedStudies:
    """The parts of a run as Optuna studies, brought up to date by `refresh`.

    Each part of a run is a study, since each has genes of its own. Where the front is picked on
    validation items a part has a second one, of the trials that were scored on them; where there
    are batches, trials in the first are pruned, since their scores compare with none.

    Args:
        run: the run directory; it is only read.

    Attributes:
        storage: an Optuna storage with the studies, for optuna-dashboard or Optuna itself.

    Raises:
        MissingExtra: Optuna is not installed.
        RunDirectoryError: there is no run, or it never started.
        CheckpointError: its base is not where it was.
    """

    def __init__(self, run: Path) -> None:
        self._optuna = _import_optuna()
        self.storage = self._optuna.storages.InMemoryStorage()
        self._follower = Follower(run)
        self._studies: dict[tuple[int, bool], int] = {}
        self._ids: dict[tuple[int, bool], int] = {}
        self._n_asked = 0
        events = self._follower.new_events()
        if not events:
            raise RunDirectoryError(f"{run} holds a run that never started; use 'evomerge run'")
        self._outline: Outline = read_outline(events[0].payload)
        self._course = Course(self._outline)
        self._run = SeenRun(events[0])
        self._learn(events[1:])

    def refresh(self) -> int:
        """Learn what was added to the journal; returns how many events that was.

        Raises:
            EvomergeError: the journal is damaged or gone.
        """
        events = self._follower.new_events()
        self._learn(events)
        return len(events)

    def _learn(self, events: Sequence[Event]) -> None:
        touched: dict[int, SeenTrial] = {}
        for event in events:
            if event.kind == "staged":
                self._course.begin(event.payload, self._n_asked)
            elif event.kind == "asked" and event.trial is not None:
                self._n_asked += 1
                self._course.note(event.trial, tuple(event.payload["genotype"]))
            trial = self._run.see(event)
            if trial is not None:
                touched[trial.number] = trial
        with quiet(self._optuna):
            for number in sorted(touched):
                self._show(touched[number])

    def _show(self, trial: SeenTrial) -> None:
        """Create or update a trial in the studies it belongs to."""
        self._put(trial, trial.state, trial.outcome, validation=False)
        if self._outline.config.picked_on != "validation":
            return
        at_once = trial.compares and self._outline.config.compared_on == "validation"
        outcome = trial.outcome if at_once else trial.validated
        if outcome is not None:
            state: State = "completed" if isinstance(outcome, Completed) else "failed"
            self._put(trial, state, outcome, validation=True)

    def _put(
        self, trial: SeenTrial, state: State, outcome: Outcome | None, *, validation: bool
    ) -> None:
        part = self._course.parts[trial.part]
        key = (trial.number, validation)
        if key not in self._ids:
            template = self._frozen(part, trial, state, outcome)
            study = self._study(trial.part, validation)
            self._ids[key] = self.storage.create_new_trial(study, template)
            return
        known = self.storage.get_trial(self._ids[key])
        if known.state.is_finished():
            return  # as what it was when it was finished
        for name, value in attributes_of(trial, outcome).items():
            if known.user_attrs.get(name) != value:
                self.storage.set_trial_user_attr(self._ids[key], name, value)
        for step, value in intermediate_of(trial, self._outline.objectives).items():
            if step not in known.intermediate_values:
                self.storage.set_trial_intermediate_value(self._ids[key], step, value)
        if state != "running":
            values = self._values(state, outcome)
            self.storage.set_trial_state_values(self._ids[key], self._state(state), values)

    def _frozen(self, part: Part, trial: SeenTrial, state: State, outcome: Outcome | None) -> Any:
        """Return a trial as Optuna has it, with the times of the journal."""
        parameters = values_of(part, trial.genotype)
        genes = {gene.name: gene for gene in part.space.domain.genes}
        finished = trial.finished_at
        attributes = attributes_of(trial, outcome)
        recipe = self._fingerprint(trial)
        return self._optuna.trial.FrozenTrial(
            number=-1,  # the storage numbers them
            trial_id=-1,
            state=self._state(state),
            value=None,
            values=self._values(state, outcome),
            datetime_start=datetime.fromtimestamp(trial.asked_at),
            datetime_complete=None if finished is None else datetime.fromtimestamp(finished),
            params=parameters,
            distributions={
                name: distribution_of(self._optuna.distributions, genes[name])
                for name in parameters
            },
            user_attrs=({} if recipe is None else {"fingerprint": recipe}) | attributes,
            system_attrs={},
            intermediate_values=intermediate_of(trial, self._outline.objectives),
        )

    def _state(self, state: State) -> Any:
        return self._optuna.trial.TrialState[_STATES[state]]

    def _values(self, state: State, outcome: Outcome | None) -> list[float] | None:
        if state != "completed" or not isinstance(outcome, Completed):
            return None
        return [outcome.metrics[objective.name] for objective in self._outline.objectives]

    def _fingerprint(self, trial: SeenTrial) -> str | None:
        """Return the fingerprint of a trial's recipe; None where its genotype means none."""
        try:
            return fingerprint(self._course.decode(trial.number, trial.genotype))
        except MEANINGLESS:
            return None

    def _study(self, part: int, validation: bool) -> int:
        """Return the id of a study, created when its first trial comes."""
        key = (part, validation)
        if key not in self._studies:
            label = self._run.labels[part]
            name = self._outline.config.name + (f", {label}" if label else "")
            directions = [
                self._optuna.study.StudyDirection[objective.goal.upper()]
                for objective in self._outline.objectives
            ]
            name += ", validation" if validation else ""
            self._studies[key] = self.storage.create_new_study(directions, name)
            study = self._optuna.load_study(study_name=name, storage=self.storage)
            study.set_metric_names([objective.name for objective in self._outline.objectives])
        return self._studies[key]


def _import_optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise MissingExtra("evomerge dashboard", "dashboard") from None
