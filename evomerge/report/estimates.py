"""Scores of one split with the uncertainty that its items leave."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import (
    Interval,
    agreed_interval,
    difference_of,
    interval_of,
    resampled_means,
)
from evomerge.report.front import Front, FrontRow
from evomerge.types import Objective, Split

_EQUAL = 1e-12  # of scores: equal ones may differ in their last bits


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score, and the interval within which it would move with other items.

    The interval is a percentile bootstrap's. Where all items score the same, resampling says
    nothing, and it is `evomerge.pareto.agreed_interval`: Clopper and Pearson's for scores of 0, 1.

    Attributes:
        score: in the user's sign.
        low: None when the objective is not scored item by item, its score is not the mean of its
            items' scores, or all of them agree and scores of the objective leave [0, 1], so that
            nobody knows what other items might score.
        high: as `low`.
        n_items: how many items the interval comes from; 0 without one.
    """

    score: float
    low: float | None = None
    high: float | None = None
    n_items: int = 0


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better a model is than a baseline on the same items; positive is better.

    The interval is that of `Estimate`, of the differences. A model that scores as the baseline on
    every item thus gains 0, within what so few items can show.

    Attributes:
        against: name of the baseline.
        gain: difference of the scores, in the objective's unit, turned so that positive is better.
        low: end of the paired interval; None when the two were not scored on the same items, or
            all differences agree and scores of the objective leave [0, 1].
        high: as `low`.
        probability_better: share of resamples in which the model is better; None as `low`.
        within_noise: the interval holds 0; None as `low`.
    """

    against: str
    gain: float
    low: float | None = None
    high: float | None = None
    probability_better: float | None = None
    within_noise: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Scores of items, or their differences, that an interval is made from.

    Attributes:
        values: of each item, (n_items,).
        resampled: their mean in each resample, (n_resamples,).
        bounds: between which the value of any item lies; None where nobody knows.
    """

    values: NDArray[np.float64]
    resampled: NDArray[np.float64]
    bounds: tuple[float, float] | None

    @property
    def agrees(self) -> bool:
        """Whether all items have the same value, but for rounding."""
        scale = max(1.0, float(np.abs(self.values).max()))
        return float(np.ptp(self.values)) <= _EQUAL * scale


class SplitEstimates:
    """Estimates and paired gains of every row that was scored on a split.

    Rows are resampled together: whoever was scored on the same items sees the same resamples, and
    so do two objectives with the same items, so that their correlation is kept.

    Args:
        front: what was scored.
        split: on which items.
        n_resamples: of the bootstrap.
        confidence: that intervals are to cover.

    Attributes:
        scores: row to its scores, of the rows that were scored on this split.
        confidence: as given.
        mismatched: objectives with a score that is not the mean of its items' scores.
        exact: objectives that do not depend on items: nobody was scored item by item, and every
            row has the same score on both splits. They are taken to have no noise.
        comparable: the rows that were scored on the same items in every objective that is not
            exact, in order: of several such groups the one with most members of the front, then
            with most rows. Empty where all objectives are exact.
    """

    def __init__(self, front: Front, split: Split, n_resamples: int, confidence: float) -> None:
        self._objectives = {objective.name: objective for objective in front.objectives}
        self._n_resamples = n_resamples
        self.confidence = confidence
        self.scores: dict[str, Mapping[str, float]] = {}
        self._items: dict[tuple[str, str], tuple[str, ...]] = {}
        self._values: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._resampled: dict[tuple[str, str], NDArray[np.float64]] = {}
        mismatched: set[str] = set()
        # Rows of one objective with the same items are one matrix.
        groups: dict[tuple[str, tuple[str, ...]], dict[str, list[float]]] = {}
        for row in front.rows:
            scores, examples = _of_split(row, split)
            if scores is None:
                continue
            self.scores[row.name] = {name: scores[name] for name in self._objectives}
            for name in self._objectives:
                items = examples.get(name)
                if not items:
                    continue
                ids = tuple(sorted(items))
                values = [items[id_] for id_ in ids]
                mean = math.fsum(values) / len(values)
                if not math.isclose(mean, scores[name], rel_tol=1e-6, abs_tol=1e-9):
                    mismatched.add(name)
                    continue
                groups.setdefault((name, ids), {})[row.name] = values
        for (name, ids), rows in groups.items():
            matrix = np.array(list(rows.values()))
            resampled = resampled_means(matrix, seed_of(front.seed, ids), n_resamples)
            for row_name, values, means in zip(rows, matrix, resampled, strict=True):
                self._items[row_name, name] = ids
                self._values[row_name, name] = values
                self._resampled[row_name, name] = means
        self._unbounded = {
            name
            for (_, name), values in self._values.items()
            if values.min() < 0.0 or values.max() > 1.0
        }
        self.mismatched = tuple(name for name in self._objectives if name in mismatched)
        self.exact = tuple(name for name in self._objectives if _is_exact(front, name))
        self.comparable = self._largest_group({row.name for row in front.members})

    def estimate(self, row: str, objective: str) -> Estimate:
        """Return the score of a row that was scored on this split."""
        return self._estimate(self.scores[row][objective], [(row, objective)])

    def mean_estimate(self, row: str) -> Estimate:
        """Return the mean over the objectives; the caller knows that they share a unit."""
        scores = self.scores[row]
        mean = math.fsum(scores.values()) / len(scores)
        return self._estimate(mean, [(row, name) for name in self._objectives])

    def gain(self, row: str, baseline: str, objective: str) -> Gain:
        """Return how much better `row` is than `baseline` in one objective."""
        difference = self._better_by(row, baseline, objective)
        return self._gain(baseline, difference, row, [objective])

    def mean_gain(self, row: str, baseline: str) -> Gain:
        """Return how much better `row` is than `baseline` on the mean over the objectives."""
        names = list(self._objectives)
        differences = [self._better_by(row, baseline, name) for name in names]
        return self._gain(baseline, math.fsum(differences) / len(names), row, names)

    def resampled_costs(self, rows: Sequence[str]) -> NDArray[np.float64]:
        """Return the costs of comparable rows in each resample, (n_rows, n_resamples, n_obj.)."""
        columns = [
            [self._resampled_cost(row, objective) for row in rows]
            for objective in self._objectives.values()
        ]
        return np.moveaxis(np.array(columns), 0, 2)

    def _resampled_cost(self, row: str, objective: Objective) -> NDArray[np.float64]:
        if objective.name in self.exact:
            return np.full(self._n_resamples, objective.cost(self.scores[row][objective.name]))
        return objective.cost(1.0) * self._resampled[row, objective.name]

    def _largest_group(self, members: set[str]) -> tuple[str, ...]:
        noisy = [name for name in self._objectives if name not in self.exact]
        groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
        for row in self.scores:
            if noisy and all((row, name) in self._items for name in noisy):
                key = tuple(self._items[row, name] for name in noisy)
                groups.setdefault(key, []).append(row)
        sizes = [(len(members & set(rows)), len(rows)) for rows in groups.values()]
        return tuple(list(groups.values())[sizes.index(max(sizes))]) if sizes else ()

    def _better_by(self, row: str, baseline: str, name: str) -> float:
        objective = self._objectives[name]
        worse, better = self.scores[baseline][name], self.scores[row][name]
        return objective.cost(worse) - objective.cost(better)

    def _estimate(self, score: float, keys: list[tuple[str, str]]) -> Estimate:
        if any(key not in self._resampled for key in keys):
            return Estimate(score)
        samples = [
            _Sample(
                self._values[key],
                self._resampled[key],
                None if key[1] in self._unbounded else (0.0, 1.0),
            )
            for key in keys
        ]
        means = np.mean([sample.resampled for sample in samples], axis=0)
        interval = self._interval(score, means, samples)
        if interval is None:
            return Estimate(score)
        n_items = sum(len(self._items[key]) for key in keys)
        return Estimate(score, interval.low, interval.high, n_items)

    def _gain(self, baseline: str, gain: float, row: str, names: list[str]) -> Gain:
        samples = []
        for name in names:
            own, other = (row, name), (baseline, name)
            if own not in self._items or self._items[own] != self._items.get(other):
                return Gain(baseline, gain)
            sign = -self._objectives[name].cost(1.0)
            samples.append(
                _Sample(
                    sign * (self._values[own] - self._values[other]),
                    sign * (self._resampled[own] - self._resampled[other]),
                    None if name in self._unbounded else (-1.0, 1.0),
                )
            )
        resampled = np.mean([sample.resampled for sample in samples], axis=0)
        # Two equal means may differ in their last bit; a tie must count as one.
        scale = max(1.0, float(np.abs(self._resampled[row, names[0]]).max()))
        resampled[np.abs(resampled) < _EQUAL * scale] = 0.0
        interval = self._interval(gain, resampled, samples)
        if interval is None:
            return Gain(baseline, gain)
        better = difference_of(gain, resampled, self.confidence).probability_better
        within = interval.low <= 0.0 <= interval.high
        return Gain(baseline, gain, interval.low, interval.high, better, within)

    def _interval(
        self, mean: float, resampled: NDArray[np.float64], samples: Sequence[_Sample]
    ) -> Interval | None:
        """Return the interval of the mean over samples; None where it is unknown.

        What samples that agree add on either side of the bootstrap's interval is added up, as if
        they erred together, which is on the safe side.
        """
        interval = interval_of(mean, resampled, self.confidence)
        for sample in samples:
            if not sample.agrees:
                continue
            if sample.bounds is None:
                return None
            own = agreed_interval(
                float(sample.values[0]), len(sample.values), sample.bounds, self.confidence
            )
            interval = Interval(
                mean,
                interval.low - (own.mean - own.low) / len(samples),
                interval.high + (own.high - own.mean) / len(samples),
            )
        return interval


def _is_exact(front: Front, name: str) -> bool:
    """Say whether an objective is a property of the weights alone, such as a distance."""
    pairs = [(row.search[name], row.holdout[name]) for row in front.rows if row.holdout is not None]
    return (
        bool(pairs)
        and not any(row.search_examples.get(name) for row in front.rows)
        and not any(row.holdout_examples.get(name) for row in front.rows)
        and all(math.isclose(one, other, rel_tol=1e-9) for one, other in pairs)
    )


def _of_split(
    row: FrontRow, split: Split
) -> tuple[Mapping[str, float] | None, Mapping[str, Mapping[str, float]]]:
    if split == "holdout":
        return row.holdout, row.holdout_examples
    return row.search, row.search_examples


def seed_of(seed: int, ids: tuple[str, ...]) -> int:
    """Return the seed of the random draws of a set of items, whoever asks for them."""
    text = "\x00".join([str(seed), *ids])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
