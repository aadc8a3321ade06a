"""Is one model of a run better than another? Paired intervals and exact tests on the same items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError, nearest
from evomerge.pareto import exact_mcnemar, holm, sign_flips
from evomerge.report.analysis import has_mean
from evomerge.report.estimates import Gain, SplitEstimates, seed_of
from evomerge.report.front import Front, FrontRow
from evomerge.types import Objective, Split

TestName: TypeAlias = Literal["mcnemar", "sign flips, exact", "sign flips, drawn"]
Examples: TypeAlias = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Test:
    """A two-sided test of a difference.

    Attributes:
        name: McNemar's exact test for scores of 0 and 1; for others random signs of the
            differences, all of them or as many as were drawn.
        n_items: how many items both models were scored on.
        first_better: items on which the first scores better.
        second_better: items on which the second does.
        p_value: of the test by itself.
    """

    name: TestName
    n_items: int
    first_better: int
    second_better: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two models in one objective, or in the mean over all.

    Attributes:
        name: of the objective; 'mean'.
        first: score of the first model, in the user's sign.
        second: of the second.
        gain: of the first over the second, positive where the first is better whatever the goal,
            with a paired interval, see `evomerge.report.estimates.Gain`.
        test: None where the two were not scored item by item on the same items.
        holm: the p-value that allows for there being several objectives; None without a test, and
            for the mean, which is one test by itself.
    """

    name: str
    first: float
    second: float
    gain: Gain
    test: Test | None
    holm: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models, judged.

    Attributes:
        first: name of the first model.
        second: name of the second.
        split: the items they were scored on.
        contrasts: one per objective, in the order of the study.
        mean: over the objectives; None where a mean means nothing or one objective was asked for.
        confidence: that intervals are to cover.
        notes: what a reader must know, one sentence each.
    """

    first: str
    second: str
    split: Split
    contrasts: tuple[Contrast, ...]
    mean: Contrast | None
    confidence: float
    notes: tuple[str, ...]


def compare(
    pair: Front,
    split: Split,
    objective: str | None = None,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Comparison:
    """Compare the two rows of a front.

    Args:
        pair: two models; both have scores on `split`.
        split: 'holdout', or the items the front was picked on.
        objective: compare in this one only.
        n_resamples: of the bootstrap over items.
        confidence: that intervals are to cover, in (0, 1).

    Raises:
        UserError: there is no such objective.
        ValueError: the front has not two rows, or an option is out of range.
    """
    first, second = pair.rows
    names = [one.name for one in pair.objectives]
    if objective is not None and objective not in names:
        raise UserError(f"objective '{objective}' is not in the study; {nearest(objective, names)}")
    shown = [one for one in pair.objectives if objective in (None, one.name)]
    estimates = SplitEstimates(pair, split, n_resamples, confidence)
    scores = [estimates.scores[row.name] for row in pair.rows]
    differences = {
        one.name: found
        for one in pair.objectives
        if one.name not in estimates.mismatched
        and (found := _differences(one, first, second, split)) is not None
    }
    tests = {
        one.name: _test(one, first, second, split, differences[one.name], pair.seed)
        for one in shown
        if one.name in differences
    }
    adjusted = dict(
        zip(tests, holm([test.p_value for test in tests.values()]).tolist(), strict=True)
    )
    contrasts = tuple(
        Contrast(
            one.name,
            scores[0][one.name],
            scores[1][one.name],
            estimates.gain(first.name, second.name, one.name),
            tests.get(one.name),
            adjusted.get(one.name),
        )
        for one in shown
    )
    mean = None
    if objective is None and has_mean(pair):
        values = [math.fsum(own[name] for name in names) / len(names) for own in scores]
        test = _mean_test(differences, pair.seed) if len(differences) == len(names) else None
        gain = estimates.mean_gain(first.name, second.name)
        mean = Contrast("mean", values[0], values[1], gain, test, None)
    untested = [one.name for one in contrasts if one.test is None]
    same = [name for name, one in tests.items() if not one.first_better + one.second_better]
    notes = tuple(_notes(split, estimates, len(tests), untested, same))
    return Comparison(first.name, second.name, split, contrasts, mean, confidence, notes)


def _differences(
    objective: Objective, first: FrontRow, second: FrontRow, split: Split
) -> dict[str, float] | None:
    """Return how much better the first is on each item; None unless both have the same items."""
    ours, theirs = (_examples(row, split).get(objective.name, {}) for row in (first, second))
    if not ours or set(ours) != set(theirs):
        return None
    return {id_: objective.cost(theirs[id_]) - objective.cost(ours[id_]) for id_ in sorted(ours)}


def _examples(row: FrontRow, split: Split) -> Examples:
    return row.holdout_examples if split == "holdout" else row.search_examples


def _test(
    objective: Objective,
    first: FrontRow,
    second: FrontRow,
    split: Split,
    differences: Mapping[str, float],
    seed: int,
) -> Test:
    ours, theirs = (
        np.array([_examples(row, split)[objective.name][id_] for id_ in differences])
        for row in (first, second)
    )
    array = np.array(list(differences.values()))
    if np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all():
        p_value = exact_mcnemar(ours, theirs).p_value
        return Test("mcnemar", len(array), *_counts(array), p_value)
    return _flips(array, seed_of(seed, tuple(differences)))


def _mean_test(differences: Mapping[str, Mapping[str, float]], seed: int) -> Test:
    """Test the mean over objectives by each item's share of it.

    An item that several objectives score (they have the same set) is one item, with one sign.
    """
    shares: dict[tuple[tuple[str, ...], str], float] = {}
    for of_objective in differences.values():
        ids = tuple(of_objective)
        for id_, difference in of_objective.items():
            share = difference / (len(ids) * len(differences))
            shares[ids, id_] = shares.get((ids, id_), 0.0) + share
    items = tuple(dict.fromkeys(id_ for _, id_ in shares))
    return _flips(np.array(list(shares.values())), seed_of(seed, items))


def _flips(array: NDArray[np.float64], seed: int) -> Test:
    found = sign_flips(array, seed)
    name: TestName = "sign flips, exact" if found.exact else "sign flips, drawn"
    return Test(name, len(array), *_counts(array), found.p_value)


def _counts(array: NDArray[np.float64]) -> tuple[int, int]:
    return int((array > 0).sum()), int((array < 0).sum())


def _notes(
    split: Split,
    estimates: SplitEstimates,
    n_tests: int,
    untested: Sequence[str],
    same: Sequence[str],
) -> Iterable[str]:
    if same:
        yield f"No item tells the two apart in {', '.join(same)}: their scores are equal on each."
    if split != "holdout":
        yield (
            f"The search picked by these {split} scores: the better of two trials is optimistic "
            "(winner's curse), and the p-values do not account for it."
        )
    if n_tests > 1:
        yield (
            f"p (Holm) allows for the {n_tests} objectives; comparing m pairs of models as well "
            "takes p of 0.05 / m or less for each."
        )
    elif n_tests:
        yield "Comparing m pairs of models takes p of 0.05 / m or less for each."
    for name in untested:
        if name in estimates.mismatched:
            yield f"No test for {name}: the score is not the mean of its items' scores."
        else:
            yield f"No test for {name}: the two have no scores item by item on the same items."
