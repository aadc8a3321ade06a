"""What the front is worth: intervals, gains over baselines, and what survives on hold-out items.

The search picked its front by the search scores, so those scores are optimistic (the winner's
curse). Hold-out scores are not, as long as nobody picks by them: the best of many hold-out scores
is optimistic again, only less so. A gain whose paired interval holds 0 is within noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import knee, non_dominated
from evomerge.report.certainty import Rival, certainty_notes, certainty_of
from evomerge.report.estimates import Estimate, Gain, SplitEstimates
from evomerge.report.front import Front, FrontRow
from evomerge.report.shrinkage import Shrinkage, shrinkages
from evomerge.report.volumes import Volumes, volumes_of
from evomerge.study.picks import share_a_unit
from evomerge.types import Objective, Split


@dataclass(frozen=True, slots=True)
class RowAnalysis:
    """One row, judged.

    Attributes:
        row: as given.
        search: objective name to estimate on the items of `Front.picked_on`.
        holdout: the same on hold-out items; None when it was not scored there.
        search_mean: mean over the objectives; None where a mean means nothing.
        holdout_mean: the same on hold-out items.
        gains: objective name to gain over that objective's best baseline; members of the front
            only, on the analysis' split.
        mean_gain: gain over the baseline with the best mean; None where a mean means nothing.
        confirmed: no other member and no baseline dominates it on hold-out items; None without
            hold-out scores.
        on_front: probability that no other member and no baseline dominates it, by bootstrap over
            the items of the analysis' split; members only, and None without scores on the items
            that the others were scored on.
        dominated_by: the row that dominates it with a probability above 0.5; None without one.
    """

    row: FrontRow
    search: Mapping[str, Estimate]
    holdout: Mapping[str, Estimate] | None
    search_mean: Estimate | None
    holdout_mean: Estimate | None
    gains: Mapping[str, Gain]
    mean_gain: Gain | None
    confirmed: bool | None
    on_front: float | None
    dominated_by: Rival | None

    def on(self, split: Split) -> Mapping[str, Estimate] | None:
        """Return the estimates of a split."""
        return self.holdout if split == "holdout" else self.search

    def mean_on(self, split: Split) -> Estimate | None:
        """Return the mean of a split."""
        return self.holdout_mean if split == "holdout" else self.search_mean


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is reported of a front.

    Attributes:
        front: as given.
        split: the items that gains, marks and order are about: hold-out where members were
            scored there, otherwise those of `Front.picked_on`.
        rows: one per row of the front, in its order.
        best: objective name to the rows with the best score on `split`, ties included.
        knee: name of the member that gives up least overall on the items of `Front.picked_on`, so
            that hold-out scores report a choice and do not make it; None with fewer than three
            members or a single objective.
        shrinkage: what the winners of each objective, and of the mean, lost on hold-out items;
            empty without hold-out scores.
        volumes: None without a base and a donor among the baselines.
        confidence: that intervals are to cover.
        notes: what a reader must know, one sentence each.
    """

    front: Front
    split: Split
    rows: tuple[RowAnalysis, ...]
    best: Mapping[str, tuple[str, ...]]
    knee: str | None
    shrinkage: tuple[Shrinkage, ...]
    volumes: Volumes | None
    confidence: float
    notes: tuple[str, ...]

    @property
    def baseline_volume(self) -> float | None:
        """Hypervolume of all baselines on the items on which trials compare, where it is known."""
        front = self.front
        if self.volumes is None or front.picked_on != front.compared_on:
            return None
        return self.volumes.baselines_search

    @property
    def items(self) -> str:
        """What users call the items of `split`."""
        return "hold-out" if self.split == "holdout" else self.split

    @property
    def members(self) -> tuple[RowAnalysis, ...]:
        """The members of the front, best first."""
        return self._sorted(row for row in self.rows if row.row.kind == "front")

    @property
    def baselines(self) -> tuple[RowAnalysis, ...]:
        """The baselines, best first."""
        return self._sorted(row for row in self.rows if row.row.kind == "baseline")

    def _sorted(self, rows: Iterable[RowAnalysis]) -> tuple[RowAnalysis, ...]:
        """By mean where there is one, otherwise by the first objective.

        Rows without scores on `split` come last, by the scores they have.
        """
        first = self.front.objectives[0]

        def key(row: RowAnalysis) -> tuple[bool, float, str]:
            scored = row.on(self.split)
            mean = row.mean_on(self.split) if scored else row.search_mean
            score = (scored or row.search)[first.name].score
            cost = first.cost(score) if mean is None else -mean.score
            return scored is None, cost, row.row.name

        return tuple(sorted(rows, key=key))


def analyse(front: Front, n_resamples: int = 2000, confidence: float = 0.95) -> Analysis:
    """Judge a front.

    Args:
        front: members and baselines with their scores.
        n_resamples: of the bootstrap over items.
        confidence: that intervals are to cover, in (0, 1).

    Raises:
        ValueError: `confidence` or `n_resamples` is out of range.
    """
    picked_on = front.picked_on
    search = SplitEstimates(front, picked_on, n_resamples, confidence)
    holdout = SplitEstimates(front, "holdout", n_resamples, confidence)
    members = [row.name for row in front.members]
    split: Split = "holdout" if any(name in holdout.scores for name in members) else picked_on
    judged = holdout if split == "holdout" else search
    mean_means = has_mean(front)
    baselines = [row.name for row in front.baselines if row.name in judged.scores]
    best_baseline = {
        objective.name: _best_of(judged, objective, baselines)[0]
        for objective in front.objectives
        if baselines
    }
    best_mean = (
        max(baselines, key=lambda name: judged.mean_estimate(name).score)
        if baselines and mean_means
        else None
    )
    confirmed = _confirmed(front, holdout)
    certainty = certainty_of(front, judged)

    def analysis_of(row: FrontRow) -> RowAnalysis:
        names = [objective.name for objective in front.objectives]
        compared = row.kind == "front" and row.name in judged.scores
        held = row.name in holdout.scores
        return RowAnalysis(
            row=row,
            search={name: search.estimate(row.name, name) for name in names},
            holdout={name: holdout.estimate(row.name, name) for name in names} if held else None,
            search_mean=search.mean_estimate(row.name) if mean_means else None,
            holdout_mean=holdout.mean_estimate(row.name) if mean_means and held else None,
            gains={
                name: judged.gain(row.name, baseline, name)
                for name, baseline in best_baseline.items()
                if compared
            },
            mean_gain=judged.mean_gain(row.name, best_mean) if compared and best_mean else None,
            confirmed=confirmed.get(row.name) if row.kind == "front" else None,
            on_front=certainty.on_front.get(row.name),
            dominated_by=certainty.rivals.get(row.name),
        )

    volumes = volumes_of(front, search, holdout, split)
    return Analysis(
        front=front,
        split=split,
        rows=tuple(analysis_of(row) for row in front.rows),
        best={
            objective.name: _best_of(judged, objective, list(judged.scores))
            for objective in front.objectives
            if judged.scores
        },
        knee=_knee(front),
        shrinkage=shrinkages(front, with_mean=mean_means),
        volumes=volumes,
        confidence=confidence,
        notes=(
            *(f"Warning: {line}." for line in front.warnings),
            *_notes(front, split, judged, holdout, volumes, mean_means),
            *certainty_notes(certainty, optimistic=split != "holdout"),
        ),
    )


def cost_rows(
    objectives: Sequence[Objective], rows: Iterable[Mapping[str, float]]
) -> NDArray[np.float64]:
    """Return the costs of scored rows, (n_rows, n_objectives)."""
    costs = [[objective.cost(row[objective.name]) for objective in objectives] for row in rows]
    return np.array(costs, dtype=np.float64).reshape(-1, len(objectives))


def has_mean(front: Front) -> bool:
    """Say whether a mean over its objectives means something, see `share_a_unit`."""
    scores = (one for row in front.rows for one in (row.search, row.holdout) if one is not None)
    return share_a_unit(front.objectives, scores)


def _best_of(estimates: SplitEstimates, objective: Objective, rows: list[str]) -> tuple[str, ...]:
    costs = {row: objective.cost(estimates.scores[row][objective.name]) for row in rows}
    lowest = min(costs.values())
    return tuple(row for row in rows if costs[row] == lowest)


def _confirmed(front: Front, holdout: SplitEstimates) -> dict[str, bool]:
    names = list(holdout.scores)
    if not names:
        return {}
    kept = set(non_dominated(cost_rows(front.objectives, holdout.scores.values())).tolist())
    return {name: index in kept for index, name in enumerate(names)}


def _knee(front: Front) -> str | None:
    members = front.members
    if len(members) < 3 or len(front.objectives) < 2:
        return None
    costs = cost_rows(front.objectives, (row.search for row in members))
    kept = non_dominated(costs)
    return members[int(kept[knee(costs[kept])])].name


def _notes(
    front: Front,
    split: Split,
    judged: SplitEstimates,
    holdout: SplitEstimates,
    volumes: Volumes | None,
    mean_means: bool,
) -> Iterable[str]:
    to_hold = {row.name for row in (*front.to_hold_out, *front.baselines)}
    missing = [
        row.name for row in front.rows if row.name in to_hold and row.name not in holdout.scores
    ]
    if split != "holdout":
        yield (
            "No hold-out scores: the front was picked by these very scores, so its gains are "
            "optimistic (winner's curse) and their intervals do not account for it."
        )
    else:
        yield (
            "Scores are on hold-out items, which the search never saw. "
            f"{front.picked_on.capitalize()} scores are "
            "optimistic (winner's curse), and so, less so, is the best of several hold-out scores."
        )
        if front.held_words:
            n_members, size = len(front.members), front.holdout_size
            known = volumes is not None and volumes.front_holdout is not None
            volume = f", and the front's hypervolume there is that of {size} that stand for all"
            yield (
                f"{front.n_held} of {n_members} members of the front are scored on hold-out items "
                f"(front.size: {size}){volume if known else ''}; the others have "
                f"{front.picked_on} scores only. A new run with 'front: {{size: {n_members}}}' in "
                "its study file scores them all."
            )
        if missing:
            yield f"Not scored on hold-out items: {', '.join(missing)}."
    n_equal = sum(len(row.equals) for row in front.members)
    if n_equal:
        yield (
            f"{n_equal} further trials have a member's score in every objective and are not shown; "
            "'equals' in JSON and CSV names them."
        )
    n_candidates = front.luck.n_trials
    if front.picked_on == "validation" and 0 < n_candidates < front.n_trials - front.n_failed:
        yield (
            f"The front is that of the {n_candidates} of {front.n_trials} trials that were scored "
            "on validation items, the best by search scores."
        )
    if front.stopped:
        yield (
            f"{len(front.stopped)} of {front.n_trials} trials stopped on a rung: their scores are "
            "estimates from a part of the items, and none of them can be on the front."
        )
    if judged.mismatched:
        yield (
            f"No interval for {', '.join(judged.mismatched)}: the score is not the mean of its "
            "items' scores."
        )
    if len(front.objectives) > 1 and not mean_means:
        yield (
            "No mean over objectives: it needs objectives that are all maximised, with scores "
            "between 0 and 1."
        )
    if volumes and volumes.degenerate:
        yield (
            f"No donor beats the base in {', '.join(volumes.degenerate)}; its hypervolume scale is "
            "0 = worst donor, 1 = base (or plain differences where all tie)."
        )
