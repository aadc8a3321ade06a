"""Picks from a front: by geometry, by weights, by volume."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.errors import UserError
from evomerge.pareto import (
    additive_epsilon,
    by_preference,
    hypervolume,
    knee,
    non_dominated,
    own_range,
    preferred,
    thin,
)


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


def test_what_is_preferred_next_is_what_is_preferred_without_the_first():
    costs = np.random.default_rng(3).random((12, 2))
    left = list(range(12))
    expected = []
    for _ in range(12):
        pick = preferred(-costs[left], ["a", "b"], {"a": 2.0, "b": 1.0}, -costs.min(axis=0))
        expected.append(left.pop(pick))
    assert by_preference(costs, [2.0, 1.0]).tolist() == expected
    assert by_preference(costs, [2.0, 1.0], costs.min(axis=0) - 1).tolist() != expected
    with pytest.raises(ValueError, match="no point"):
        by_preference(np.empty((0, 2)), [1.0, 1.0])


def shortfall_by_hand(point, best, weights):
    """Map.md §7.7, spelled out: the largest weighted shortfall and a twentieth of their sum."""
    parts = [w * (z - f) for w, z, f in zip(weights, best, point, strict=True)]
    return max(parts) + 0.05 * sum(parts)


def test_preference_by_hand():
    scaled = [[1.0, 0.0], [0.6, 0.6], [0.0, 1.3]]
    names = ("math", "code")
    # Shortfalls (0, 1.3), (0.4, 0.7), (1, 0): at 2:1 the largest are 1.3, 0.8 and 2.
    assert preferred(scaled, names, {"math": 2, "code": 1}) == 1
    # At 4:1 they are 1.3, 1.6 and 4; at 1:2 they are 2.6, 1.4 and 1.
    assert preferred(scaled, names, {"math": 4, "code": 1}) == 0
    assert preferred(scaled, names, {"math": 1, "code": 2}) == 2
    assert preferred(scaled, names, {"math": 1}) == 0
    # An ideal seen elsewhere counts: at (1, 2.3) code falls short by 2.3, 1.7 and 1.
    assert preferred(scaled, names, {"math": 1, "code": 1}) == 1
    assert preferred(scaled, names, {"math": 1, "code": 1}, best=[1.0, 2.3]) == 2
    assert preferred(scaled, names, {"math": 1, "code": 1}, best=[0.0, 0.0]) == 1


def test_ties_never_leave_a_dominated_pick():
    names = ("a", "b", "c")
    assert preferred([[1, 0, 0], [1, 0, 1], [1, 0, 1]], names, {"a": 1}) == 1
    assert preferred([[1.0, 0.0], [1.0, 0.0]], ("a", "b"), {"a": 1}) == 0


fronts = st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float64, shape, elements=st.integers(0, 8).map(lambda n: n / 8)),
        arrays(np.float64, shape[1], elements=st.integers(0, 4).map(float)),
    )
)


@given(fronts)
def test_preference_is_the_smallest_shortfall_and_not_dominated(case):
    scaled, weights = case
    names = [f"o{n}" for n in range(scaled.shape[1])]
    if not weights.any():
        weights[0] = 1.0
    given_weights = dict(zip(names, weights.tolist(), strict=True))
    chosen = preferred(scaled, names, given_weights)
    best = scaled.max(axis=0)
    shortfalls = [shortfall_by_hand(point, best, weights) for point in scaled]
    assert shortfalls[chosen] == pytest.approx(min(shortfalls), abs=1e-12)
    assert chosen in non_dominated(-scaled).tolist()
    # Powers of two scale weights without rounding: only their proportions matter.
    doubled = {name: 8 * weight for name, weight in given_weights.items()}
    assert preferred(scaled, names, doubled) == chosen


def inward_front(n=181):
    """Points of (1 - f1)² + (1 - f2)² = 1 between its ends, by angle; larger is better."""
    angle = np.linspace(0, np.pi / 2, n)
    return angle, 1 - np.column_stack([np.cos(angle), np.sin(angle)])


def test_tchebycheff_reaches_the_inside_of_an_inward_front_and_weighted_sums_do_not():
    angle, front = inward_front()
    ends = {0, len(front) - 1}
    reached = set()
    for first in np.linspace(0.25, 0.75, 201):
        weights = np.array([first, 1 - first])
        sums = front @ weights
        best = set(np.flatnonzero(sums >= sums.max() - 1e-12).tolist())
        assert best <= ends
        chosen = preferred(front, ("a", "b"), {"a": first, "b": 1 - first})
        reached.add(chosen)
        assert chosen not in ends
        # Both weighted shortfalls are equal there: w1 cos = w2 sin.
        expected = np.arctan2(first, 1 - first)
        assert angle[chosen] == pytest.approx(expected, abs=angle[1])
    assert len(reached) > 90
    assert preferred(front, ("a", "b"), {"a": 1, "b": 1}) == 90


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


def test_thinning_by_epsilon_is_on_the_sets_own_range():
    rng = np.random.default_rng(2)
    angle = np.sort(rng.random(15)) * np.pi / 2
    costs = 1 - np.column_stack([np.cos(angle), np.sin(angle)])
    kept = thin(costs, 4, by="epsilon")
    assert thin(costs * [1000.0, 0.01] + [5.0, -3.0], 4, by="epsilon").tolist() == kept.tolist()
    unit = own_range(costs)
    smallest = min(additive_epsilon(unit[list(some)], unit) for some in combinations(range(15), 4))
    assert additive_epsilon(unit[kept], unit) == smallest
    for other in ("farthest", "hypervolume"):
        assert additive_epsilon(unit[thin(costs, 4, by=other)], unit) >= smallest


def test_own_range_is_0_to_1_and_0_where_all_tie():
    unit = own_range([[2.0, 5.0, 7.0], [4.0, -5.0, 7.0], [3.0, 0.0, 7.0]])
    assert unit.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    with pytest.raises(ValueError, match="no point"):
        own_range(np.empty((0, 2)))


def test_a_best_value_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="best must be 2 finite numbers"):
        preferred([[1.0, 0.0]], ("a", "b"), {"a": 1}, best=[1.0])
    with pytest.raises(ValueError, match="best must be 2 finite numbers"):
        preferred([[1.0, 0.0]], ("a", "b"), {"a": 1}, best=[1.0, np.inf])
    with pytest.raises(ValueError, match="as many names"):
        preferred([[1.0, 0.0]], ("a",), {"a": 1})


@pytest.mark.parametrize("by", ["farthest", "hypervolume", "epsilon"])
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
