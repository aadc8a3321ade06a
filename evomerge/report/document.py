"""The front as JSON, for `--json` and for programs.

    format       'evomerge-front/1'; the number rises when a key changes meaning or goes
    study, seed, trials {finished, failed, stopped}, objectives [{name, goal}], confidence
    members      {front, holdout, size, equal}: how many the front has, how many of these were
                 scored on hold-out items, at most how many were to be (`front.size` of the study,
                 or null), and how many further trials are not shown because they score the same
    split        'holdout', 'search' or 'validation': what gains, best, knee and order are about
    front        rows, best first; baselines likewise
    best         objective to the names of the rows with the best score
    knee         name of the member that gives up least on the items the front was picked on, or
                 null
    shrinkage    {candidates, winners}: how many trials there were, and for each objective, and for
                 the mean (objective null), {objective, winner, search, holdout, shrinkage, luck}:
                 the best score when picked, the same model's on hold-out items, by how much that
                 is worse, and how much worse it was expected to be (winner's curse); where the
                 front was picked on validation items, {validation} is the score when picked, and
                 {search} the one by which the model came there, or null
    hypervolume  null, or {reference, degenerate, front, baselines, interval}, the two before the
                 last {search, holdout}, on the scale 0 = base, 1 = best donor, on hold-out items
                 of the members that were to be scored there; the interval is null or {low, high},
                 of the front on `split`
    history      [[trial, hypervolume], ...]
    notes        sentences
    picks        only from `evomerge front` with --prefer, --knee or --thin, see
                 `evomerge.report.picks.picks_document`

A row is {name, kind, trial, fingerprint, recipe, search, holdout, mean {search, holdout}, gains,
mean_gain, confirmed, on_front, dominated_by, equals}; in a study of several stages it also has
{stage}, null for a baseline. `equals` are the numbers of further trials with a member's score in
every objective. `on_front` is the probability that no other row dominates a member, and
`dominated_by` {name, probability} the row that does with a probability above 0.5.
Scores are objective to {score, low, high, items}, gains objective to {over, gain, low, high,
probability_better, within_noise}; positive gains are better whatever the goal.
Intervals over items are a percentile bootstrap's. Where all items score the same (or differ by the
same from the baseline's) they are Clopper and Pearson's, see `evomerge.pareto.agreed_interval`, or
null where scores leave [0, 1]; that of the hypervolume is null where every member is so.
Where the front was picked on validation items every key 'search' but that of `shrinkage` is
'validation'.
What is unknown is null. Numbers are not rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evomerge.pareto import REFERENCE
from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.certainty import Rival
from evomerge.report.estimates import Estimate, Gain
from evomerge.report.front import Front
from evomerge.report.shrinkage import Shrinkage
from evomerge.report.volumes import Volumes
from evomerge.types import Split

FORMAT = "evomerge-front/1"


def to_json(front: Front) -> dict[str, Any]:
    """Return the judged front as a JSON document; the same front gives the same document."""
    return document_of(analyse(front))


def document_of(analysis: Analysis) -> dict[str, Any]:
    """Return an analysis as a JSON document."""
    front = analysis.front
    return {
        "format": FORMAT,
        "study": front.study,
        "seed": front.seed,
        "trials": {
            "finished": front.n_trials,
            "failed": front.n_failed,
            "stopped": len(front.stopped),
        },
        "objectives": [{"name": item.name, "goal": item.goal} for item in front.objectives],
        "members": {
            "front": len(front.members),
            "holdout": front.n_held,
            "size": front.holdout_size,
            "equal": sum(len(row.equals) for row in front.members),
        },
        "confidence": analysis.confidence,
        "split": analysis.split,
        "front": [row_document(row, front) for row in analysis.members],
        "baselines": [row_document(row, front) for row in analysis.baselines],
        "best": {name: list(rows) for name, rows in analysis.best.items()},
        "knee": analysis.knee,
        "shrinkage": {
            "candidates": front.luck.n_trials,
            "winners": [_shrinkage(one, front.picked_on) for one in analysis.shrinkage],
        },
        "hypervolume": _volumes(analysis.volumes, front.picked_on),
        "history": [[trial, volume] for trial, volume in front.hypervolume],
        "notes": list(analysis.notes),
    }


def row_document(analysis: RowAnalysis, front: Front) -> dict[str, Any]:
    """Return one row of a front as JSON, with the stage that found it where there are several."""
    row, picked_on = analysis.row, front.picked_on
    document = {
        "name": row.name,
        "kind": row.kind,
        "trial": row.trial,
        "fingerprint": row.fingerprint,
        "recipe": row.recipe.model_dump(mode="json", exclude_defaults=True),
        picked_on: _estimates(analysis.search),
        "holdout": None if analysis.holdout is None else _estimates(analysis.holdout),
        "mean": {
            picked_on: _estimate(analysis.search_mean),
            "holdout": _estimate(analysis.holdout_mean),
        },
        "gains": {name: _gain(gain) for name, gain in analysis.gains.items()},
        "mean_gain": _gain(analysis.mean_gain),
        "confirmed": analysis.confirmed,
        "on_front": analysis.on_front,
        "dominated_by": _rival(analysis.dominated_by),
        "equals": list(row.equals),
    }
    return {**document, "stage": row.stage} if front.has_stages else document


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _estimate(estimate) for name, estimate in estimates.items()}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "score": estimate.score,
        "low": estimate.low,
        "high": estimate.high,
        "items": estimate.n_items,
    }


def _gain(gain: Gain | None) -> dict[str, Any] | None:
    if gain is None:
        return None
    return {
        "over": gain.against,
        "gain": gain.gain,
        "low": gain.low,
        "high": gain.high,
        "probability_better": gain.probability_better,
        "within_noise": gain.within_noise,
    }


def _rival(rival: Rival | None) -> dict[str, Any] | None:
    return None if rival is None else {"name": rival.name, "probability": rival.probability}


def _shrinkage(found: Shrinkage, picked_on: Split) -> dict[str, Any]:
    before = {} if picked_on == "search" else {"search": found.before}
    return {
        **before,
        "objective": found.objective,
        "winner": found.winner,
        picked_on: found.picked,
        "holdout": found.holdout,
        "shrinkage": found.shrinkage,
        "luck": found.luck,
    }


def _volumes(volumes: Volumes | None, picked_on: Split) -> dict[str, Any] | None:
    if volumes is None:
        return None
    interval = volumes.interval
    return {
        "reference": REFERENCE,
        "degenerate": list(volumes.degenerate),
        "front": {picked_on: volumes.front_search, "holdout": volumes.front_holdout},
        "baselines": {picked_on: volumes.baselines_search, "holdout": volumes.baselines_holdout},
        "interval": None if interval is None else {"low": interval.low, "high": interval.high},
    }
