"""Probabilities of dominance against closed forms, brute force and repeated draws."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.pareto import (
    dominance_probabilities,
    dominates,
    hypervolume,
    hypervolume_interval,
    interval_of,
    non_dominated,
    resampled_hypervolumes,
    resampled_means,
    uncertainty,
)


def resampled_costs(scores, seed, n_resamples=2000):
    """Costs of models (n_models, n_items) per objective that are scored on items of its own."""
    parts = [-resampled_means(one, seed + n, n_resamples) for n, one in enumerate(scores)]
    return np.stack(parts, axis=2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))
def test_counts_are_those_of_every_resample_by_itself(seed, n_models, n_resamples, n_objectives):
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 3, size=(n_models, n_resamples, n_objectives)).astype(float)
    found = dominance_probabilities(costs)
    for i in range(n_models):
        fronts = [i in non_dominated(costs[:, r]).tolist() for r in range(n_resamples)]
        assert found.non_dominated[i] == np.mean(fronts)
        for j in range(n_models):
            wins = [dominates(costs[i, r], costs[j, r]) for r in range(n_resamples)]
            assert found.dominates[i, j] == np.mean(wins)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_probabilities_bound_one_another(seed, n_models):
    costs = np.random.default_rng(seed).random((n_models, 40, 2))
    found = dominance_probabilities(costs)
    beaten = found.dominates
    assert found.non_dominated.sum() >= 1 - 1e-12  # somebody always is
    assert (found.non_dominated <= 1 - beaten.max(axis=0) + 1e-12).all()
    assert (found.non_dominated >= 1 - beaten.sum(axis=0) - 1e-12).all()
    assert (beaten + beaten.T <= 1 + 1e-12).all()
    assert (np.diag(beaten) == 0).all()


def test_dominance_is_the_product_of_normal_tails():
    rng = np.random.default_rng(3)
    n_items = 600
    gaps = (0.03, 0.01)
    scores, expected = [], 1.0
    for gap in gaps:
        first = rng.normal(gap, 0.4, n_items)
        second = rng.normal(0.0, 0.4, n_items)
        scores.append(np.array([first, second]))
        z = (first - second).mean() / ((first - second).std() / math.sqrt(n_items))
        expected *= 0.5 * (1 + math.erf(z / math.sqrt(2)))
    found = dominance_probabilities(resampled_costs(scores, seed=1, n_resamples=20_000))
    assert found.dominates[0, 1] == pytest.approx(expected, abs=0.015)
    assert found.non_dominated[1] == pytest.approx(1 - expected, abs=0.015)


def test_equal_models_share_the_front_whatever_the_rounding():
    rng = np.random.default_rng(0)
    hits = (rng.random(97) < 0.6).astype(float)
    # The same mean over other items, and the same items in a row of another offset.
    scores = np.array([hits, hits, np.zeros(97)])
    costs = resampled_costs([scores, scores], seed=4, n_resamples=500)
    costs[1] += 1e-15
    found = dominance_probabilities(costs)
    assert found.dominates[0, 1] == found.dominates[1, 0] == 0.0
    assert found.non_dominated.tolist()[:2] == [1.0, 1.0]
    assert found.dominates[0, 2] == 1.0


def test_a_lead_within_noise_is_no_certainty():
    # 30 equal coins: whoever leads does so by luck, and the probabilities say so.
    rng = np.random.default_rng(5)
    leaders = []
    for seed in range(40):
        scores = (rng.random((2, 100)) < 0.5).astype(float)
        means = scores.mean(axis=1)
        if means[0] == means[1]:
            continue
        found = dominance_probabilities(resampled_costs([scores], seed, 400))
        leader = int(means.argmax())
        leaders.append(found.dominates[leader, 1 - leader])
    assert np.mean(leaders) < 0.85
    assert np.mean(np.array(leaders) > 0.95) < 0.25


def test_blocks_do_not_show_and_bound_the_memory(monkeypatch):
    costs = np.random.default_rng(1).random((60, 300, 2))
    whole = dominance_probabilities(costs)
    monkeypatch.setattr(uncertainty, "_BLOCK", 60 * 60 * 7)
    tracemalloc.start()
    blocks = dominance_probabilities(costs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks.dominates == pytest.approx(whole.dominates, abs=1e-15)
    assert blocks.non_dominated == pytest.approx(whole.non_dominated, abs=1e-15)
    assert peak < 1_000_000  # 60 × 60 × 300 comparisons at once would be over a megabyte each


def test_hypervolume_of_every_resample():
    costs = np.random.default_rng(2).random((5, 20, 3))
    volumes = resampled_hypervolumes(costs, np.ones(3))
    assert volumes == pytest.approx([hypervolume(costs[:, r], np.ones(3)) for r in range(20)])


def test_no_noise_no_width():
    costs = np.array([[0.2, 0.6], [0.5, 0.1]])
    resampled = np.repeat(costs[:, None, :], 50, axis=1)
    interval = hypervolume_interval(costs, resampled, [1.0, 1.0])
    assert interval.mean == interval.low == interval.high == hypervolume(costs, [1.0, 1.0])


def test_interval_of_one_point_is_that_of_its_score():
    scores = np.random.default_rng(8).random((1, 300))
    resampled = resampled_costs([scores], seed=3, n_resamples=4000)
    interval = hypervolume_interval([[-scores.mean()]], resampled, [0.0])
    half = 1.96 * scores.std() / math.sqrt(300)
    assert interval.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_the_interval_covers_the_true_volume_where_percentiles_do_not():
    rng = np.random.default_rng(0)
    covered, by_percentiles, n_draws = 0, 0, 60
    reference = np.full(2, -0.35)
    for draw in range(n_draws):
        angle = rng.random(10) * np.pi / 2
        truth = 0.4 + 0.2 * np.column_stack([np.cos(angle), np.sin(angle)])
        volume = hypervolume(-truth, reference)
        scores = [(rng.random((10, 200)) < truth[:, [n]]).astype(float) for n in range(2)]
        costs = -np.column_stack([one.mean(axis=1) for one in scores])
        resampled = resampled_costs(scores, 10 * draw, 300)
        interval = hypervolume_interval(costs, resampled, reference)
        covered += interval.low <= volume <= interval.high
        plain = interval_of(interval.mean, resampled_hypervolumes(resampled, reference))
        by_percentiles += plain.low <= volume <= plain.high
    assert covered >= 0.9 * n_draws
    assert by_percentiles < 0.6 * n_draws


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (np.ones((2, 3)), "n_models, n_resamples, n_objectives"),
        (np.empty((0, 3, 1)), "n_models, n_resamples, n_objectives"),
        (np.full((1, 1, 1), np.nan), "finite"),
    ],
)
def test_malformed_costs_are_refused(costs, message):
    with pytest.raises(ValueError, match=message):
        dominance_probabilities(costs)
    with pytest.raises(ValueError, match=message):
        resampled_hypervolumes(costs, [1.0])
