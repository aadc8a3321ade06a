"""Epsilon subsets against every subset there is."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.pareto import additive_epsilon, epsilon_subset, non_dominated


def smallest_epsilon(costs, k):
    """The additive epsilon indicator of the best subset, by trying all; never below 0."""
    worse = (costs[:, None, :] - costs[None, :, :]).max(axis=2)
    best = min(worse[list(some)].min(axis=0).max() for some in combinations(range(len(costs)), k))
    return max(0.0, best)


def epsilon_of(costs, kept):
    return max(0.0, additive_epsilon(costs[kept], costs))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 11), st.integers(1, 5), st.booleans())
def test_two_objectives_are_exact(seed, n_points, k, curved):
    rng = np.random.default_rng(seed)
    # A grid has duplicates, ties and dominated points; a curve has none.
    costs = rng.integers(0, 6, size=(n_points, 2)) / 5
    if curved:
        angle = rng.random(n_points) * np.pi / 2
        costs = 1 - np.column_stack([np.cos(angle), np.sin(angle)])
    kept = epsilon_subset(costs, k)
    assert len(kept) == min(k, n_points)
    assert sorted(set(kept.tolist())) == kept.tolist()
    assert epsilon_of(costs, kept) == smallest_epsilon(costs, min(k, n_points))


@pytest.mark.parametrize("n_objectives", [1, 3, 4])
def test_one_point_is_exact_for_any_number_of_objectives(n_objectives):
    for seed in range(20):
        costs = np.random.default_rng(seed).random((9, n_objectives))
        kept = epsilon_subset(costs, 1)
        assert epsilon_of(costs, kept) == smallest_epsilon(costs, 1)


@pytest.mark.parametrize("n_objectives", [3, 5])
def test_more_objectives_are_near_the_smallest_and_mostly_at_it(n_objectives):
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = np.abs(rng.standard_normal((12, n_objectives)))
        costs = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)
        kept = epsilon_subset(costs, 4)
        ratios.append(epsilon_of(costs, kept) / smallest_epsilon(costs, 4))
    assert min(ratios) >= 1.0
    assert max(ratios) < 1.5
    assert np.isclose(ratios, 1.0).mean() > 0.7


def test_no_single_exchange_lowers_epsilon():
    for seed in range(12):
        costs = np.random.default_rng(seed).random((25, 3))
        costs = costs[non_dominated(costs)]
        kept = epsilon_subset(costs, 3).tolist()
        reached = epsilon_of(costs, kept)
        for position, other in product(range(3), range(len(costs))):
            exchanged = [*kept[:position], other, *kept[position + 1 :]]
            assert epsilon_of(costs, exchanged) >= reached


def test_more_points_never_need_a_larger_epsilon_on_a_line():
    x = np.linspace(0, 1, 33)
    costs = np.column_stack([x, 1 - x])
    epsilons = [epsilon_of(costs, epsilon_subset(costs, k)) for k in range(1, 34)]
    assert epsilons == sorted(epsilons, reverse=True)
    assert epsilons[-1] == 0.0
    # k points on a line of 33 leave each a stretch of 33 / k, half of it on either side.
    assert epsilons[0] == 0.5
    assert epsilons[2] == pytest.approx(5 / 32)


def test_dominated_points_and_duplicates_are_kept_last():
    costs = np.array([[5.0, 5.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    front = non_dominated(costs, dedupe=True).tolist()
    assert epsilon_subset(costs, 3).tolist() == front == [1, 3, 4]
    assert len(epsilon_subset(costs, 4)) == 4
    assert epsilon_subset(costs, 9).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="at least 1"):
        epsilon_subset(costs, 0)
