"""How a run came to its result: best scores, hypervolume and failures, trial by trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.journal import Event
from evomerge.pareto import REFERENCE, Anchors, running_hypervolume
from evomerge.report.collect import stopped_trials
from evomerge.report.failures import causes_of
from evomerge.report.front import BASE, DONOR_PREFIX, Stopped
from evomerge.report.populations.population import recorded_objectives, stretches
from evomerge.types import Objective, Split

_CAUSES = 6
OTHER_CAUSES = "other causes"
BY_MODELS = "0 = base, 1 = best donor"
BY_RANGE = "0 = worst, 1 = best score of the run"


@dataclass(frozen=True, slots=True)
class RunHistory:
    """A run over its trials, by number: whichever worker was faster makes no difference.

    Attributes:
        study: its name.
        objectives: names and goals, in order.
        compared_on: the split the scores are of, on which all trials compare.
        n_finished: trials with an outcome.
        n_failed: how many of them failed.
        scored: numbers of the completed trials with scores on that split.
        scores: metrics of these, shape (n_scored, n_objectives).
        best: the best metric up to each of these, the same shape.
        volume: hypervolume up to each of these, shape (n_scored,); empty with one objective.
        volume_scale: what its scale is.
        known: metrics of the base, the donors and other baselines on that split, as far as known.
        by_items: (items scored so far, hypervolume), as trials finished one after the other; empty
            without rungs, where every trial costs the same.
        failures: cause to the numbers of the trials that failed by it, the most frequent first.
        parts: label and first trial of each part of a study with stages.
        stopped: trials that stopped on a rung, by number, with their estimates.
    """

    study: str
    objectives: tuple[Objective, ...]
    compared_on: Split
    n_finished: int
    n_failed: int
    scored: tuple[int, ...]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]
    volume: NDArray[np.float64]
    volume_scale: str
    known: Mapping[str, Mapping[str, float]]
    by_items: tuple[tuple[int, float], ...]
    failures: Mapping[str, tuple[int, ...]]
    parts: tuple[tuple[str, int], ...]
    stopped: tuple[Stopped, ...] = ()

    @property
    def metrics(self) -> dict[int, dict[str, float]]:
        """The scores by trial and name of the objective."""
        names = [one.name for one in self.objectives]
        rows = zip(self.scored, self.scores.tolist(), strict=True)
        return {number: dict(zip(names, row, strict=True)) for number, row in rows}


def run_history(events: Sequence[Event]) -> RunHistory:
    """Read the history of a run, finished or not, from its journal's events; at least one."""
    opening = events[0].payload
    objectives = recorded_objectives(opening)
    metrics = _final_metrics(events)
    names = [objective.name for objective in objectives]
    scores = np.array([[metrics[number][name] for name in names] for number in sorted(metrics)])
    scores = scores.reshape(len(metrics), len(names))
    signs = np.array([objective.cost(1.0) for objective in objectives])
    volume, scale = _volume(events, objectives, scores)
    failures = _failures(events)
    return RunHistory(
        study=opening["study"]["name"],
        objectives=objectives,
        compared_on=_compared_on(events),
        n_finished=sum(event.kind == "finished" for event in events),
        n_failed=sum(map(len, failures.values())),
        scored=tuple(sorted(metrics)),
        scores=scores,
        best=np.minimum.accumulate(scores * signs, axis=0) * signs if len(scores) else scores,
        volume=volume,
        volume_scale=scale,
        known=_known_models(events),
        by_items=_by_items(events, objectives, sorted(metrics), scores),
        failures=failures,
        parts=tuple((part.label, part.first) for part in stretches(events) if part.label),
        stopped=stopped_trials(events),
    )


def _compared_on(events: Sequence[Event]) -> Split:
    study = events[0].payload["study"]
    batched = any(part.get("batches") for part in (study.get("stages") or [study]))
    return "validation" if batched else "search"


def _final_metrics(events: Sequence[Event]) -> dict[int, Mapping[str, float]]:
    """Return the metrics of completed trials on the items on which all compare.

    In a study with batches these are the known points, which were scored there in the first
    place, and the trials that were validated.
    """
    batched = _compared_on(events) == "validation"
    known = {
        event.trial
        for event in events
        if event.kind == "asked" and (not batched or event.payload.get("batch", 0) is None)
    }
    found: dict[int, Mapping[str, float]] = {}
    for event in events:
        if event.trial is None or "metrics" not in event.payload or "errors" in event.payload:
            continue  # failed, or estimated from a part of the items
        validated = batched and event.kind == "validated"
        if validated or (event.kind == "finished" and event.trial in known):
            found[event.trial] = event.payload["metrics"]
    return found


def _volume(
    events: Sequence[Event], objectives: Sequence[Objective], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], str]:
    """Return the hypervolume after each row of scores, and what its scale is."""
    if len(objectives) < 2 or not len(scores):
        return np.empty(0), BY_MODELS
    known = _known_models(events)
    donors = [found for name, found in known.items() if name.startswith(DONOR_PREFIX)]
    expected = events[0].payload["models"]["donors"]
    if BASE in known and len(donors) == len(expected):
        anchors = Anchors.of(objectives, known[BASE], donors, degenerate="adapt")
        zero, one, scale = np.array(anchors.zero), np.array(anchors.one), BY_MODELS
    else:
        signs = np.array([objective.cost(1.0) for objective in objectives])
        zero = (scores * signs).max(axis=0) * signs
        one = (scores * signs).min(axis=0) * signs
        one = np.where(one == zero, zero - signs, one)
        scale = BY_RANGE
    scaled = (scores - zero) / (one - zero)
    return running_hypervolume(-scaled, np.full(len(objectives), -REFERENCE)), scale


def _known_models(events: Sequence[Event]) -> dict[str, Mapping[str, float]]:
    """Return the metrics of base and donors on the items on which trials compare.

    They are known from the first trials, which are the seeds of a space, or from the baselines.
    """
    compared_on = _compared_on(events)
    found: dict[str, Mapping[str, float]] = {}
    baselines: dict[str, Mapping[str, float] | None] = {}  # one that failed is scored again
    trials = _final_metrics(events)
    donors = events[0].payload["models"]["donors"]
    for event in events:
        if event.kind == "asked" and event.trial in trials:
            name = event.payload["origin"].removeprefix("seed:")
            if event.payload["origin"].startswith("seed:") and name in (BASE, *donors):
                key = BASE if name == BASE else f"{DONOR_PREFIX}{name}"
                found.setdefault(key, trials[event.trial])
        elif event.kind == "scored" and event.payload["split"] == compared_on:
            baselines |= {event.payload["name"]: event.payload.get("metrics")}
    return {name: one for name, one in baselines.items() if one is not None} | found


def _by_items(
    events: Sequence[Event],
    objectives: Sequence[Objective],
    numbers: Sequence[int],
    scores: NDArray[np.float64],
) -> tuple[tuple[int, float], ...]:
    """Return the hypervolume over the items that were scored, in the order of events."""
    row_of = {number: row for row, number in enumerate(numbers)}
    items, at, order = 0, [], []
    for event in events:
        if event.kind == "measured":
            items += event.payload["n_items"]
        elif event.kind == "finished" and event.trial in row_of:
            at.append(items)
            order.append(row_of[event.trial])
    if not items or not order:
        return ()
    volume, _ = _volume(events, objectives, scores[order])
    return tuple(zip(at, volume.tolist(), strict=True)) if len(volume) else ()


def _failures(events: Sequence[Event]) -> dict[str, tuple[int, ...]]:
    """Return the most frequent causes, the others together."""
    causes = causes_of(events)
    kept = _CAUSES if len(causes) <= _CAUSES else _CAUSES - 1
    failures: dict[str, tuple[int, ...]] = {}
    for one in causes[:kept]:  # two long causes may have one beginning
        failures[one.short] = tuple(sorted((*failures.get(one.short, ()), *one.trials)))
    others = tuple(sorted(number for one in causes[kept:] for number in one.trials))
    return {**failures, **({OTHER_CAUSES: others} if others else {})}
