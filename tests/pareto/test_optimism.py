"""The luck of a winner against what it is: simulated models whose true scores are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from evomerge.pareto import optimism_of_best


def largest_of(k):
    """The expected largest of k standard normals, by quadrature."""
    return integrate.quad(
        lambda x: x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1), -9, 9
    )[0]


@pytest.mark.parametrize("k", [2, 10, 50])
def test_equal_models_have_the_luck_of_the_largest_of_k(k):
    rng = np.random.default_rng(k)
    found = [optimism_of_best([rng.normal(0, 1, (k, 100))], seed, 100) for seed in range(150)]
    expected = largest_of(k) / 10
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected, abs=4 * error + 0.03 * expected)


def test_shared_difficulty_is_not_luck():
    rng = np.random.default_rng(1)
    noise, difficulty = rng.normal(0, 1, (10, 100)), rng.normal(0, 20, 100)
    alone = optimism_of_best([noise], 3, 2000)
    assert optimism_of_best([noise + difficulty], 3, 2000) == pytest.approx(alone, abs=0.15)


def test_the_luck_of_models_that_differ_is_met_within_its_bound():
    rng = np.random.default_rng(2)
    luck, found = [], []
    for seed in range(200):
        ability = np.clip(0.5 + 0.1 * rng.normal(size=20), 0.05, 0.95)
        answers = (rng.random((20, 100)) < ability[:, None]).astype(float)
        winner = answers.mean(1).argmax()
        luck.append(answers[winner].mean() - ability[winner])
        found.append(optimism_of_best([answers], seed, 100))
    assert 0.95 < np.mean(found) / np.mean(luck) < 1.5


def test_a_clear_winner_has_no_luck():
    rng = np.random.default_rng(3)
    scores = np.vstack([rng.random(50), rng.random(50) + 5])
    assert optimism_of_best([scores], 0) < 0.03


def test_groups_weigh_alike():
    rng = np.random.default_rng(4)
    found = [
        optimism_of_best([rng.normal(0, 1, (10, 50)), rng.normal(0, 1, (10, 200))], seed, 100)
        for seed in range(150)
    ]
    expected = largest_of(10) * np.sqrt(1 / 50 + 1 / 200) / 2
    assert np.mean(found) == pytest.approx(expected, rel=0.08)


def test_two_items_and_one_model_are_enough():
    assert optimism_of_best([[[0.0, 1.0]]], 0) >= 0.0
    assert optimism_of_best([[[1.0, 1.0], [0.0, 0.0]]], 0) == 0.0


@pytest.mark.parametrize(
    "groups",
    [[], [[[1.0]]], [[1.0, 2.0]], [[[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]]], [[[np.nan, 1.0]]]],
)
def test_shapes_that_mean_nothing_are_refused(groups):
    with pytest.raises(ValueError, match=r"groups|finite"):
        optimism_of_best(groups, 0)
