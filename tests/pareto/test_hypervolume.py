"""Hypervolume against inclusion and exclusion, Monte Carlo, and its own invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import (
    contributions,
    hypervolume,
    hypervolume_gain,
    non_dominated,
    running_hypervolume,
)
from tests.pareto.volume_by_hand import by_inclusion_and_exclusion


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 8), st.booleans())
def test_agrees_with_inclusion_and_exclusion(seed, n_objectives, n_points, on_a_grid):
    rng = np.random.default_rng(seed)
    costs = rng.random((n_points, n_objectives))
    if on_a_grid:
        costs = np.round(costs * 4) / 4
    reference = rng.choice([0.75, 1.0, 1.1], n_objectives)  # some points lie beyond it
    expected = by_inclusion_and_exclusion(costs, reference)
    assert hypervolume(costs, reference) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(9, 40), st.booleans())
def test_larger_sets_agree_with_botorch(seed, n_objectives, n_points, on_a_grid):
    """pymoo's hypervolume is moocore's, as ours; botorch has its own."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("botorch.utils.multi_objective.hypervolume")
    costs = np.random.default_rng(seed).random((n_points, n_objectives))
    if on_a_grid:
        costs = np.round(costs * 4) / 4
    reference = np.full(n_objectives, 0.9)
    front = torch.tensor(-costs[non_dominated(costs, dedupe=True)])
    expected = theirs.Hypervolume(torch.tensor(-reference)).compute(front)
    assert hypervolume(costs, reference) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 30), st.booleans())
def test_gain_is_the_difference_of_volumes(seed, n_objectives, n_points, on_a_grid):
    rng = np.random.default_rng(seed)
    costs = rng.random((n_points + 1, n_objectives))
    if on_a_grid:
        costs = np.round(costs * 4) / 4
    reference = np.full(n_objectives, 0.9)
    before, point = costs[:-1], costs[-1]
    gain = hypervolume(costs, reference) - hypervolume(before, reference)
    assert hypervolume_gain(before, reference, point) == pytest.approx(gain, abs=1e-12)


@pytest.mark.parametrize("n_objectives", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5, 9))
def test_lies_within_three_standard_errors_of_monte_carlo(n_objectives, seed):
    rng = np.random.default_rng(seed)
    costs = rng.random((12, n_objectives))
    samples = rng.random((20_000, n_objectives))
    hit = (costs[None, :, :] <= samples[:, None, :]).all(axis=2).any(axis=1)
    error = hit.std() / np.sqrt(len(hit))
    assert abs(hypervolume(costs, np.ones(n_objectives)) - hit.mean()) < 3 * error


def test_closed_forms():
    assert hypervolume([[0.25]], [1.0]) == 0.75
    assert hypervolume([[0.0, 0.5], [0.5, 0.0]], [1.0, 1.0]) == 0.75
    corners = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
    assert hypervolume(corners, [1.0, 1.0, 1.0]) == 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 12))
def test_order_duplicates_and_dominated_points_change_nothing(seed, n_objectives, n_points):
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 5, size=(n_points, n_objectives)) / 4
    reference = np.full(n_objectives, 1.1)
    volume = hypervolume(costs, reference)
    shuffled = rng.permutation(np.vstack([costs, costs[:2]]))
    assert hypervolume(shuffled, reference) == pytest.approx(volume, abs=1e-12)
    front = costs[non_dominated(costs)]
    assert hypervolume(front, reference) == pytest.approx(volume, abs=1e-12)
    more = np.vstack([costs, rng.random((1, n_objectives))])
    assert hypervolume(more, reference) >= volume - 1e-12


def test_points_at_or_beyond_the_reference_contribute_nothing():
    assert hypervolume([[1.0, 0.0], [0.5, 1.5]], [1.0, 1.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("n_objectives", [1, 2, 3])
def test_contribution_is_what_a_point_alone_adds(n_objectives):
    rng = np.random.default_rng(3)
    costs = rng.integers(0, 6, size=(15, n_objectives)) / 5
    reference = np.full(n_objectives, 1.1)
    total = hypervolume(costs, reference)
    expected = [total - hypervolume(np.delete(costs, i, axis=0), reference) for i in range(15)]
    assert contributions(costs, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
def test_contributions_keep_their_scale(n_objectives):
    rng = np.random.default_rng(n_objectives)
    costs, reference = rng.random((8, n_objectives)), np.ones(n_objectives)
    large = contributions(costs, reference)
    small = contributions(1e-4 * costs, 1e-4 * reference)
    assert (large > 0).any()
    assert small == pytest.approx(1e-4**n_objectives * large, rel=1e-9, abs=0)


def test_running_volume_is_the_volume_of_each_prefix():
    rng = np.random.default_rng(8)
    costs = rng.random((30, 3)) * 1.3
    expected = [hypervolume(costs[: n + 1], np.ones(3)) for n in range(30)]
    running = running_hypervolume(costs, np.ones(3))
    assert running == pytest.approx(expected, abs=1e-12)
    assert (np.diff(running) >= 0).all()


def test_reference_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        hypervolume([[0.0, 0.0]], [1.0])
    with pytest.raises(ValueError, match="finite"):
        hypervolume([[0.0]], [np.inf])
