"""The luck of the best trials, from scores in memory instead of a run's files."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.pareto import optimism_of_best
from evomerge.report.estimates import seed_of
from evomerge.report.luck import luck_of_best
from evomerge.types import Completed, Objective, Trial

UP, DOWN = Objective("share"), Objective("loss", "minimize")


class Held:
    """Per-example scores of trials, as `ScoredModels` gives them."""

    def __init__(self, tables):
        self._tables = tables

    def examples(self, key, split):
        assert split == "search"
        number = int(key.removeprefix("trial-"))
        return {
            name: {f"{prefix}{i}": float(v) for i, v in enumerate(rows[number])}
            for name, (prefix, rows) in self._tables.items()
        }


def trials_of(objectives, tables):
    """One trial a row, its metrics the means of its rows."""
    found = []
    for number in range(len(next(iter(tables.values()))[1])):
        metrics = {one.name: float(tables[one.name][1][number].mean()) for one in objectives}
        costs = tuple(one.cost(metrics[one.name]) for one in objectives)
        found.append(Trial(number, (number,), Completed(metrics), costs))
    return found


def luck(objectives, tables):
    return luck_of_best(objectives, trials_of(objectives, tables), Held(tables), "search", 7)


@pytest.fixture
def rows():
    return (np.random.default_rng(0).random((12, 40)) < 0.5).astype(float)


def ordered(rows, sign=1):
    """Contenders come best first."""
    return rows[np.argsort(-sign * rows.mean(1), kind="stable")]


def ids(prefix):
    return tuple(sorted(f"{prefix}{i}" for i in range(40)))


def by_id(matrix):
    """Columns in the order of their sorted names."""
    return matrix[:, sorted(range(40), key=lambda i: f"{i}")]


def test_it_is_the_optimism_of_the_trials_items(rows):
    found = luck([UP], {"share": ("a", rows)})
    expected = optimism_of_best([by_id(ordered(rows))], seed_of(7, ids("a")))
    assert found.objectives == {"share": pytest.approx(expected)}
    assert (found.n_trials, found.mean) == (12, None)
    assert expected > 0.02


def test_a_loss_has_the_luck_of_its_negative(rows):
    loss = luck([DOWN], {"loss": ("a", rows)}).objectives["loss"]
    share = luck([UP], {"share": ("a", -rows)}).objectives["share"]
    assert loss == pytest.approx(share)


def test_objectives_on_one_set_of_items_add_no_independent_luck(rows):
    other = Objective("again")
    same = luck([UP, other], {"share": ("a", rows), "again": ("a", rows)})
    assert same.mean == pytest.approx(same.objectives["share"])
    fresh = (np.random.default_rng(1).random((12, 40)) < 0.5).astype(float)
    apart = luck([UP, other], {"share": ("a", rows), "again": ("b", fresh)})
    assert apart.mean < 0.9 * same.mean


def test_objectives_without_a_mean_over_items_are_left_out(rows):
    tables = {"share": ("a", rows), "loss": ("b", rows)}
    trials = trials_of([UP, DOWN], tables)
    shifted = [
        Trial(one.number, one.genotype, one.outcome, (one.costs[0], one.costs[1] + 0.1))
        for one in trials
    ]
    found = luck_of_best([UP, DOWN], shifted, Held(tables), "search", 7)
    assert (list(found.objectives), found.mean) == (["share"], None)
    nothing = luck_of_best([UP], trials_of([UP], tables), Held({}), "search", 7)
    assert dict(nothing.objectives) == {}
