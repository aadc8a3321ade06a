"""From a run's journal to its front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evomerge.errors import RunDirectoryError
from evomerge.journal import Event, outcome_from_json
from evomerge.report.front import Front, Stopped
from evomerge.report.luck import luck_of_best
from evomerge.report.scored import ScoredModels, known_points
from evomerge.study import Outline, open_study
from evomerge.study.course import Course
from evomerge.study.picks import costs_of, front_trials, trial_of
from evomerge.study.standing import Standing
from evomerge.types import Failed, Split, Trial


def collect_front(run: Path) -> Front:
    """Read the front of a run, finished or not, with its baselines.

    Raises:
        RunDirectoryError: there is no run, or no trial of it is completed yet.
        UserError: its models, data or journal cannot be read.
    """
    study, events = open_study(run)
    trials, origins = read_trials(study, events)
    scored = ScoredModels(run, events, study)
    compared_on, picked_on = study.config.compared_on, scored.picked_on
    compared = final_trials(study, events, trials, compared_on)
    final = final_trials(study, events, trials, picked_on)
    standing = Standing(study.objectives, study.context.donors)
    history = []
    for trial in sorted(compared, key=lambda one: one.number):  # whichever worker was faster
        standing.add(trial, origins[trial.number])
        volume = standing.hypervolume()
        if volume is not None:
            history.append((trial.number, volume))
    if not final:
        failures = [trial.outcome.message for trial in trials if isinstance(trial.outcome, Failed)]
        why = f"; the first failure: {failures[0]}" if failures else ""
        what = "trial is completed" if picked_on == "search" else "trial is validated"
        raise RunDirectoryError(f"{run}: no {what} yet{why}")
    course = Course.of(study, events)
    equals = _equals(final)
    rows = [
        replace(scored.member(course, trial), equals=equals[trial.number])
        for trial in front_trials(final)
    ]
    return Front(
        study=study.config.name,
        objectives=study.objectives,
        rows=(*rows, *scored.baselines()),
        seed=study.config.seed,
        n_trials=len(trials),
        n_failed=sum(trial.costs is None for trial in trials),
        hypervolume=tuple(history),
        picked_on=picked_on,
        compared_on=compared_on,
        luck=luck_of_best(study.objectives, final, scored, picked_on, study.config.seed),
        warnings=tuple(events[0].payload.get("warnings", ())),
        stopped=stopped_trials(events),
        holdout_size=study.config.front.size,
    )


def _equals(trials: Sequence[Trial]) -> dict[int, tuple[int, ...]]:
    """Return, by number, the other trials with the same score in every objective."""
    alike: dict[tuple[float, ...] | None, list[int]] = defaultdict(list)
    for trial in trials:
        alike[trial.costs].append(trial.number)
    return {
        number: tuple(sorted(other for other in numbers if other != number))
        for numbers in alike.values()
        for number in numbers
    }


def stopped_trials(events: Sequence[Event]) -> tuple[Stopped, ...]:
    """Return the trials that stopped on a rung, by number."""
    found = [
        Stopped(event.trial, event.payload["metrics"], event.payload["errors"])
        for event in events
        if event.kind == "finished" and event.trial is not None and "errors" in event.payload
    ]
    return tuple(sorted(found, key=lambda one: one.trial))


def read_trials(study: Outline, events: Sequence[Event]) -> tuple[list[Trial], dict[int, str]]:
    """Return the finished trials in the order they finished, and every trial's origin."""
    asked = {event.trial: event.payload for event in events if event.kind == "asked"}
    trials = []
    for event in events:
        if event.kind != "finished" or event.trial is None:
            continue
        genotype = tuple(asked[event.trial]["genotype"])
        outcome = outcome_from_json(event.payload)
        trials.append(trial_of(event.trial, genotype, outcome, study.objectives))
    origins = {number: payload["origin"] for number, payload in asked.items() if number is not None}
    return trials, origins


def final_trials(
    study: Outline, events: Sequence[Event], trials: Sequence[Trial], split: Split
) -> list[Trial]:
    """Return the completed trials with scores on a split, search or validation items.

    On validation items these are the trials that were validated and, in a study with batches, the
    known points.
    """
    if split == "search":
        return [trial for trial in trials if trial.measured]
    known = known_points(events)
    final = [trial for trial in trials if trial.number in known and trial.costs is not None]
    searched = {trial.number: trial for trial in trials}
    for event in events:
        if event.kind == "validated" and event.trial is not None and "metrics" in event.payload:
            outcome = outcome_from_json(event.payload)
            costs = costs_of(outcome, study.objectives)
            final.append(replace(searched[event.trial], outcome=outcome, costs=costs))
    return final
