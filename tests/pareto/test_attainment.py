"""Attainment against its definition, run by run and point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import (
    attainment,
    attainment_surface,
    evaluations_to_attain,
    evaluations_to_reach,
    expected_evaluations,
    non_dominated,
    running_hypervolume,
    share_reached,
)

seeds = st.integers(0, 2**32 - 1)


def random_runs(seed, n_objectives=2, levels=6):
    """Some runs of unequal length on a coarse grid, with failed evaluations among them."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(rng.integers(1, 6)):
        run = rng.integers(0, levels, size=(rng.integers(1, 8), n_objectives)).astype(float)
        run[rng.random(len(run)) < 0.2] = np.inf
        runs.append(run)
    return runs


def attains(points, goal):
    return any(all(x <= y for x, y in zip(point, goal, strict=True)) for point in points)


@given(seeds, st.integers(1, 3))
def test_evaluations_to_attain_is_the_first_prefix_that_does(seed, n_objectives):
    (run, *_) = random_runs(seed, n_objectives)
    goals = np.random.default_rng(seed).integers(0, 6, size=(5, n_objectives)).astype(float)
    times = evaluations_to_attain(run, goals)
    for goal, time in zip(goals, times, strict=True):
        expected = [n for n in range(1, len(run) + 1) if attains(run[:n], goal)]
        assert time == (expected[0] if expected else math.inf)


@given(seeds, st.integers(1, 3), st.none() | st.integers(0, 8))
def test_attainment_is_the_share_of_runs(seed, n_objectives, evaluations):
    runs = random_runs(seed, n_objectives)
    goals = np.random.default_rng(seed).integers(0, 6, size=(5, n_objectives)).astype(float)
    shares = attainment(runs, goals, evaluations)
    for goal, share in zip(goals, shares, strict=True):
        assert share == np.mean([attains(run[:evaluations], goal) for run in runs])


@settings(deadline=None)
@given(seeds, st.sampled_from([0.01, 0.25, 0.5, 0.75, 1.0]))
def test_the_surface_bounds_what_that_share_of_runs_attains(seed, share):
    runs = random_runs(seed)
    corners = attainment_surface(runs, share)
    grid = np.array([[x, y] for x in range(-1, 7) for y in range(-1, 7)], dtype=float)
    shares = attainment(runs, grid)
    for goal, attained in zip(grid, shares, strict=True):
        assert attains(corners, goal) == (attained >= share - 1e-12)
    if len(corners):
        assert non_dominated(corners).tolist() == list(range(len(corners)))
        assert (np.diff(corners[:, 0]) > 0).all()


def test_surfaces_of_three_runs_by_hand():
    runs = [[[0.0, 4.0], [2.0, 2.0]], [[1.0, 1.0]], [[3.0, 0.0]]]
    assert attainment_surface(runs, 1 / 3).tolist() == [[0.0, 4.0], [1.0, 1.0], [3.0, 0.0]]
    # Two of three: (1, 4) by the first two; (2, 2) too; (3, 1) by the last two.
    assert attainment_surface(runs, 2 / 3).tolist() == [[1.0, 4.0], [2.0, 2.0], [3.0, 1.0]]
    assert attainment_surface(runs, 1.0).tolist() == [[3.0, 2.0]]
    assert attainment_surface([*runs, [[np.inf, np.inf]]], 1.0).tolist() == []


def test_shares_count_runs_in_spite_of_rounding():
    runs = [[[float(n), 0.0]] for n in range(10)]
    for count in range(1, 11):
        assert attainment_surface(runs, count / 10).tolist() == [[count - 1.0, 0.0]]
        assert attainment_surface(runs, 0.1 * count).tolist() == [[count - 1.0, 0.0]]


def test_evaluations_to_reach_a_hypervolume():
    costs = np.array([[0.9, 0.9], [0.5, 0.5], [0.5, 0.5], [0.1, 0.1]])
    running = running_hypervolume(costs, [1.0, 1.0])
    assert evaluations_to_reach(running, 0.25) == 2
    assert evaluations_to_reach(running, 0.26) == 4
    assert evaluations_to_reach(running, 0.82) is None
    assert evaluations_to_reach([], 0.0) is None


def test_equal_budgets_give_the_plain_share():
    times = [3, None, 5, 3]
    shares = share_reached(times, [6] * 4)
    expected = [np.mean([t is not None and t <= n for t in times]) for n in range(1, 7)]
    assert shares == pytest.approx(expected)
    assert int(np.argmax(shares >= 0.5)) + 1 == 3


def test_censored_runs_count_as_long_as_they_ran():
    # Kaplan & Meier by hand: 1/4 at 2; one leaves at 3; 1 of 2 at risk at 5; the last leaves at 6.
    shares = share_reached([2, None, 5, None], [10, 3, 10, 6])
    assert shares[:6] == pytest.approx([0, 1 / 4, 1 / 4, 1 / 4, 5 / 8, 5 / 8])
    assert np.isnan(shares[6:]).all()
    assert share_reached([2, None], [2, 1]) == pytest.approx([0, 1])
    assert share_reached([1, 1], [4, 4]) == pytest.approx([1, 1, 1, 1])


def test_the_product_limit_is_unbiased_where_counting_is_not():
    # Geometric times, budgets that cut many of them; the truth is 1 - 0.9^n.
    rng = np.random.default_rng(7)
    times = rng.geometric(0.1, 4000)
    budgets = rng.integers(1, 21, 4000)
    seen = [int(t) if t <= b else None for t, b in zip(times, budgets, strict=True)]
    shares = share_reached(seen, budgets.tolist())
    truth = 1 - 0.9 ** np.arange(1, 21)
    assert shares == pytest.approx(truth, abs=0.03)
    counted = np.mean([t is not None and t <= 15 for t in seen])
    assert counted < truth[14] - 0.2


def test_expected_evaluations_pay_for_failing_runs():
    assert expected_evaluations([3, None, 5], [10, 10, 10]) == (3 + 10 + 5) / 2
    assert expected_evaluations([None], [10]) == math.inf
    # Restarts of 5 geometric evaluations: the expectation is 1 / p whatever the budget.
    rng = np.random.default_rng(1)
    times = rng.geometric(0.2, 20_000)
    seen = [int(t) if t <= 5 else None for t in times]
    assert expected_evaluations(seen, [5] * len(seen)) == pytest.approx(5.0, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attainment([], [[1.0]]), "at least one run"),
        (lambda: attainment([[[1.0]], [[1.0, 2.0]]], [[1.0]]), "objectives"),
        (lambda: attainment([[[1.0]]], [[1.0, 2.0]]), "goals have 2"),
        (lambda: attainment([[[np.nan]]], [[1.0]]), "finite, or inf"),
        (lambda: attainment([[1.0]], [[1.0]]), r"\(n_evaluations, n_objectives\)"),
        (lambda: attainment_surface([[[1.0, 2.0, 3.0]]]), "two objectives"),
        (lambda: attainment_surface([[[1.0, 2.0]]], 0.0), "share"),
        (lambda: evaluations_to_reach([[1.0]], 1.0), r"\(n_evaluations,\)"),
        (lambda: evaluations_to_reach([np.nan], 1.0), "numbers"),
        (lambda: share_reached([1], []), "as many budgets"),
        (lambda: share_reached([], []), "as many budgets"),
        (lambda: share_reached([3], [2]), "between 1 and the budget"),
        (lambda: expected_evaluations([0], [2]), "between 1 and the budget"),
    ],
)
def test_malformed_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
