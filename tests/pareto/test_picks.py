"""Picks from a front: by geometry, by weights, by volume."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from evomerge.errors import UserError
from evomerge.pareto import hypervolume, knee, preferred, thin


def test_knee_is_farthest_below_the_line_through_the_extremes():
    costs = np.array([[0.0, 100.0], [1.0, 40.0], [2.0, 10.0], [6.0, 4.0], [10.0, 0.0]])
    unit = costs / [10.0, 100.0]
    normal = np.array([1.0, 1.0]) / np.sqrt(2)
    distance = (np.array([0.0, 1.0]) - unit) @ normal
    assert knee(costs) == int(distance.argmax()) == 2


def test_knee_does_not_depend_on_units_or_tied_objectives():
    rng = np.random.default_rng(0)
    angle = np.sort(rng.random(9)) * np.pi / 2
    costs = 1 - np.column_stack([np.cos(angle), np.sin(angle)])
    chosen = knee(costs)
    assert knee(costs * [1000.0, 0.01] + [5.0, -3.0]) == chosen
    assert knee(np.column_stack([costs, np.full(9, 7.0)])) == chosen
    assert knee([[3.0, 4.0]]) == 0
    with pytest.raises(ValueError, match="no point"):
        knee(np.empty((0, 2)))


def test_preference_is_a_rate_of_exchange():
    scaled = [[1.0, 0.0], [0.6, 0.6], [0.0, 1.3]]
    names = ("math", "code")
    assert preferred(scaled, names, {"math": 2, "code": 1}) == 0
    assert preferred(scaled, names, {"math": 1, "code": 1}) == 2
    assert preferred(scaled, names, {"math": 1.3, "code": 1}) == 1
    assert preferred(scaled, names, {"math": 1}) == 0
    assert preferred([[1.0, 0.0], [1.0, 0.0]], names, {"math": 1}) == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"maths": 1}, "did you mean 'math'"),
        ({"math": -1}, "must be 0 or more"),
        ({"math": float("nan")}, "must be 0 or more"),
        ({"math": 0}, "at least one weight"),
    ],
)
def test_impossible_weights_are_the_users_error(weights, message):
    with pytest.raises(UserError, match=message):
        preferred([[1.0, 0.0]], ("math", "code"), weights)


def test_thinning_to_farthest_points_keeps_extremes_and_spreads():
    x = np.linspace(0, 1, 101)
    costs = np.column_stack([x, 1 - x])
    kept = thin(costs, 5)
    assert len(kept) == 5
    assert {0, 100} <= set(kept.tolist())
    # Greedy farthest-point picks on a line leave no gap above half of the largest possible.
    assert np.diff(x[kept]).max() <= 0.5


def test_thinning_by_volume_drops_the_least_contributor():
    costs = np.array([[0.0, 1.0], [0.5, 0.5], [0.51, 0.49], [1.0, 0.0], [0.2, 0.75]])
    reference = np.full(2, 1.1)
    best = max(
        combinations(range(5), 4), key=lambda keep: hypervolume(costs[list(keep)], reference)
    )
    assert thin(costs, 4, by="hypervolume").tolist() == list(best)


@pytest.mark.parametrize("by", ["farthest", "hypervolume"])
def test_thinning_counts(by):
    costs = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert thin(costs, 9, by=by).tolist() == [0, 1, 2, 3]
    assert thin(costs, 4, by=by).tolist() == [0, 1, 2, 3]
    for k in (1, 2, 3):
        kept = thin(costs, k, by=by).tolist()
        assert len(set(kept)) == k
        assert kept == sorted(kept)
    assert thin(costs, 3, by=by).tolist() == [0, 2, 3]  # one of the duplicates goes first
    with pytest.raises(ValueError, match="at least 1"):
        thin(costs, 0, by=by)
