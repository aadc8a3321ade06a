"""From a run's journal to its front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evomerge.errors import RunDirectoryError
from evomerge.journal import Event, outcome_from_json
from evomerge.journal.examples import read_examples
from evomerge.recipe import Recipe, fingerprint
from evomerge.report.front import Front, FrontRow
from evomerge.study import Outline, open_study
from evomerge.study.course import Course
from evomerge.study.picks import costs_of, front_trials
from evomerge.study.records import trial_id
from evomerge.study.scoring import LAMBDA, baseline_recipes, best_lambda
from evomerge.study.standing import Standing
from evomerge.types import Completed, Failed, Outcome, Split, Trial

Examples = dict[str, dict[str, float]]


def collect_front(run: Path) -> Front:
    """Read the front of a run, finished or not, with its baselines.

    Raises:
        RunDirectoryError: there is no run, or no trial of it is completed yet.
        UserError: its models, data or journal cannot be read.
    """
    study, events = open_study(run)
    trials, origins = read_trials(study, events)
    standing = Standing(study.objectives, study.context.donors)
    final = _final_trials(study, events, trials)
    history = []
    for trial in sorted(final, key=lambda one: one.number):  # whichever worker was faster
        standing.add(trial, origins[trial.number])
        volume = standing.hypervolume()
        if volume is not None:
            history.append((trial.number, volume))
    if not standing.front:
        failures = [trial.outcome.message for trial in trials if isinstance(trial.outcome, Failed)]
        why = f"; the first failure: {failures[0]}" if failures else ""
        what = "trial is completed" if study.config.picked_on == "search" else "trial is validated"
        raise RunDirectoryError(f"{run}: no {what} yet{why}")
    scored = _Scored(run, events, study)
    members = front_trials(final, study.config.front.size)
    course = Course.of(study, events)
    rows = [scored.member(course, trial) for trial in members]
    return Front(
        study=study.config.name,
        objectives=study.objectives,
        rows=(*rows, *scored.baselines(study)),
        seed=study.config.seed,
        n_trials=len(trials),
        n_failed=sum(trial.costs is None for trial in trials),
        hypervolume=tuple(history),
        picked_on=study.config.picked_on,
        warnings=tuple(events[0].payload.get("warnings", ())),
    )


def read_trials(study: Outline, events: Sequence[Event]) -> tuple[list[Trial], dict[int, str]]:
    """Return the finished trials in the order they finished, and every trial's origin."""
    asked = {event.trial: event.payload for event in events if event.kind == "asked"}
    trials = []
    for event in events:
        if event.kind != "finished" or event.trial is None:
            continue
        outcome = outcome_from_json(event.payload)
        costs = costs_of(outcome, study.objectives)
        trials.append(Trial(event.trial, tuple(asked[event.trial]["genotype"]), outcome, costs))
    origins = {number: payload["origin"] for number, payload in asked.items() if number is not None}
    return trials, origins


def _final_trials(study: Outline, events: Sequence[Event], trials: Sequence[Trial]) -> list[Trial]:
    """Return the completed trials that make up the front, as scored on the items it is picked on.

    In a study with batches these are the known points and the trials that were validated.
    """
    if study.config.picked_on == "search":
        return [trial for trial in trials if trial.costs is not None]
    known = _known_points(events)
    final = [trial for trial in trials if trial.number in known and trial.costs is not None]
    searched = {trial.number: trial for trial in trials}
    for event in events:
        if event.kind == "validated" and event.trial is not None and "metrics" in event.payload:
            outcome = outcome_from_json(event.payload)
            costs = costs_of(outcome, study.objectives)
            final.append(replace(searched[event.trial], outcome=outcome, costs=costs))
    return final


def _known_points(events: Sequence[Event]) -> set[int | None]:
    """Return the trials that were scored on validation items in the first place."""
    return {
        event.trial
        for event in events
        if event.kind == "asked" and event.payload.get("batch", 0) is None
    }


class _Scored:
    """The journal's outcomes on whole splits, and their per-example scores."""

    def __init__(self, run: Path, events: Sequence[Event], study: Outline) -> None:
        self._run = run
        self._picked_on = study.config.picked_on
        self._outcomes: dict[tuple[str, Split], Outcome] = {}
        self._files: dict[tuple[str, Split], str] = {}
        known = _known_points(events)
        for event in events:
            key: tuple[str, Split]
            if event.kind == "scored":
                key = (event.payload["name"], event.payload["split"])
            elif event.kind == "finished" and event.trial is not None:
                key = (trial_id(event.trial), "validation" if event.trial in known else "search")
            elif event.kind == "validated" and event.trial is not None:
                key = (trial_id(event.trial), "validation")
            else:
                continue
            self._outcomes[key] = outcome_from_json(event.payload)
            if event.payload.get("examples"):
                self._files[key] = event.payload["examples"]

    def member(self, course: Course, trial: Trial) -> FrontRow:
        """Build the row of one member of the front."""
        recipe = course.decode(trial.number, trial.genotype)
        row = self._row(trial_id(trial.number), f"trial {trial.number}", recipe, trial.number)
        if row is None:
            raise RunDirectoryError(f"{self._run}: trial {trial.number} has no scores")
        stage, ancestry = course.stage_of(trial.number), course.ancestry(trial.number)
        return replace(row, stage=stage, ancestry=ancestry)

    def baselines(self, study: Outline) -> list[FrontRow]:
        """Build the rows of the baselines that were scored, the best single λ among them."""
        chosen = best_lambda(self._outcomes, study)
        rows = []
        for name, recipe in baseline_recipes(study).items():
            if name.startswith(LAMBDA) and name != chosen:
                continue
            title = f"single-lambda {name.removeprefix(LAMBDA)}" if name == chosen else name
            row = self._row(name, title, recipe, None)
            if row is not None:
                rows.append(row)
        return rows

    def _row(self, key: str, title: str, recipe: Recipe, trial: int | None) -> FrontRow | None:
        search = self._outcomes.get((key, self._picked_on))
        holdout = self._outcomes.get((key, "holdout"))
        if not isinstance(search, Completed):
            return None
        return FrontRow(
            name=title,
            kind="baseline" if trial is None else "front",
            trial=trial,
            recipe=recipe,
            fingerprint=fingerprint(recipe),
            search=search.metrics,
            holdout=holdout.metrics if isinstance(holdout, Completed) else None,
            search_examples=self._examples(key, self._picked_on),
            holdout_examples=self._examples(key, "holdout"),
        )

    def _examples(self, key: str, split: Split) -> Examples:
        file = self._files.get((key, split))
        return read_examples(self._run, file) if file else {}
