"""Picks from a front: by geometry, by weights, by volume."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
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
from tests.pareto.volume_by_hand import by_inclusion_and_exclusion


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


whole_costs = st.integers(2, 4).flatmap(
    lambda n_objectives: st.lists(
        st.tuples(*[st.integers(0, 9)] * n_objectives), min_size=1, max_size=10
    )
)


@given(whole_costs)
def test_knee_has_the_smallest_sum_of_shares_of_the_range(points):
    front = np.array(points)[non_dominated(points, dedupe=True)].tolist()
    low, high = ([extreme(column) for column in zip(*front, strict=True)] for extreme in (min, max))
    sums = [
        sum(Fraction(c - b, w - b) for c, b, w in zip(row, low, high, strict=True) if w > b)
        for row in front
    ]
    assert sums[knee(front)] == min(sums)


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=20))
def test_knee_spans_the_largest_triangle_below_the_ends_of_two_objectives(points):
    costs = np.array(sorted(points))
    front = costs[non_dominated(costs)].tolist()
    (ax, ay), (bx, by) = front[0], front[-1]
    # Twice the signed area, a multiple of the distance from the line through both ends; scaling
    # an objective scales the areas of all alike.
    areas = [(ay - by) * (ax - x) + (bx - ax) * (ay - y) for x, y in front]
    assert areas[knee(front)] == max(areas)


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


def some_points(seed, n_points, n_objectives):
    """Distances between such points do not tie, but for those of the extremes."""
    return (
        np.random.default_rng(seed).random((n_points, n_objectives))
        * [1.0, 30.0, 0.2][:n_objectives]
    )


def unit_by_hand(costs):
    return ((costs - costs.min(axis=0)) / (costs.max(axis=0) - costs.min(axis=0))).tolist()


sizes = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 3))


@given(sizes, st.integers(1, 9))
def test_each_farthest_point_is_the_one_farthest_from_those_taken(size, k):
    costs = some_points(*size)
    unit = unit_by_hand(costs)
    firsts = [min(range(len(unit)), key=lambda row: sum(unit[row]))]
    firsts += [min(range(len(unit)), key=lambda row: unit[row][one]) for one in range(size[2])]
    taken = list(dict.fromkeys(firsts))[:k]
    while len(taken) < min(k, len(unit)):
        left = [row for row in range(len(unit)) if row not in taken]
        distance = {row: min(math.dist(unit[row], unit[one]) for one in taken) for row in left}
        taken.append(max(left, key=distance.__getitem__))
    assert thin(costs, k, by="farthest").tolist() == sorted(taken)


def drops_lead_to(kept, left, unit):
    """Whether dropping a point that costs the least volume, again and again, leaves `kept`."""
    if len(left) == len(kept):
        return left == kept
    rests = [[one for one in left if one != row] for row in left]
    volumes = [by_inclusion_and_exclusion(unit[rest], 1.1) for rest in rests]
    best = max(volumes) - 1e-12  # the ends of two objectives lose as much as one another
    return any(
        set(kept) <= set(rest) and volume >= best and drops_lead_to(kept, rest, unit)
        for rest, volume in zip(rests, volumes, strict=True)
    )


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(1, 9))
def test_each_point_dropped_by_volume_leaves_the_largest_volume(size, k):
    costs = some_points(*size)
    kept = thin(costs, k, by="hypervolume").tolist()
    assert len(kept) == min(k, len(costs))
    assert drops_lead_to(kept, list(range(len(costs))), np.array(unit_by_hand(costs)))


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
