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
from evomerge.study.picks import front_trials
from evomerge.study.scoring import LAMBDA, baseline_recipes, best_lambda
from evomerge.study.search import trial_id
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
    history = []
    for trial in sorted(trials, key=lambda one: one.number):  # whichever worker was faster
        standing.add(trial, origins[trial.number])
        volume = standing.hypervolume()
        if volume is not None:
            history.append((trial.number, volume))
    if not standing.front:
        failures = [trial.outcome.message for trial in trials if isinstance(trial.outcome, Failed)]
        why = f"; the first failure: {failures[0]}" if failures else ""
        raise RunDirectoryError(f"{run}: no trial is completed yet{why}")
    scored = _Scored(run, events)
    members = front_trials(trials, study.config.front.size)
    course = Course.of(study, events)
    rows = [scored.member(course, trial) for trial in members]
    return Front(
        study=study.config.name,
        objectives=study.objectives,
        rows=(*rows, *scored.baselines(study)),
        seed=study.config.seed,
        n_trials=len(trials),
        n_failed=standing.failed,
        hypervolume=tuple(history),
    )


def read_trials(study: Outline, events: Sequence[Event]) -> tuple[list[Trial], dict[int, str]]:
    """Return the finished trials in the order they finished, and every trial's origin."""
    asked = {event.trial: event.payload for event in events if event.kind == "asked"}
    trials = []
    for event in events:
        if event.kind != "finished" or event.trial is None:
            continue
        outcome = outcome_from_json(event.payload)
        costs = None
        if isinstance(outcome, Completed):
            costs = tuple(
                objective.cost(outcome.metrics[objective.name]) for objective in study.objectives
            )
        trials.append(Trial(event.trial, tuple(asked[event.trial]["genotype"]), outcome, costs))
    origins = {number: payload["origin"] for number, payload in asked.items() if number is not None}
    return trials, origins


class _Scored:
    """The journal's outcomes beside the search, and their per-example scores."""

    def __init__(self, run: Path, events: Sequence[Event]) -> None:
        self._run = run
        self._outcomes: dict[tuple[str, Split], Outcome] = {}
        self._files: dict[tuple[str, Split], str] = {}
        for event in events:
            if event.kind == "scored":
                key = (event.payload["name"], event.payload["split"])
            elif event.kind == "finished" and event.trial is not None:
                key = (trial_id(event.trial), "search")
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
        return replace(row, stage=course.stage_of(trial.number))

    def baselines(self, study: Outline) -> list[FrontRow]:
        """Build the rows of the baselines that were scored, the best single λ among them."""
        chosen = best_lambda(self._outcomes, study.objectives)
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
        search = self._outcomes.get((key, "search"))
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
            search_examples=self._examples(key, "search"),
            holdout_examples=self._examples(key, "holdout"),
        )

    def _examples(self, key: str, split: Split) -> Examples:
        file = self._files.get((key, split))
        return read_examples(self._run, file) if file else {}
