"""The bootstrap against the normal approximation, on nulls, and on degenerate scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from evomerge.pareto import (
    agreed_interval,
    bootstrap,
    mean_interval,
    paired_difference,
    resampled_means,
    stratified_difference,
    stratified_interval,
)


def test_interval_of_many_items_is_the_normal_one():
    scores = np.random.default_rng(0).random(800)
    interval = mean_interval(scores, seed=1, n_resamples=8000)
    half = 1.96 * scores.std() / np.sqrt(800)
    assert interval.mean == pytest.approx(scores.mean())
    assert interval.low == pytest.approx(scores.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(scores.mean() + half, abs=0.05 * half)


def test_confidence_sets_the_width():
    scores = np.random.default_rng(0).random(400)
    narrow = mean_interval(scores, seed=1, n_resamples=8000, confidence=0.68)
    half = 0.9945 * scores.std() / np.sqrt(400)
    assert (narrow.high - narrow.low) / 2 == pytest.approx(half, rel=0.05)


def test_pairing_removes_what_items_share():
    rng = np.random.default_rng(4)
    difficulty = rng.normal(0, 5, 300)
    noise = rng.normal(0, 0.1, (2, 300))
    a, b = difficulty + noise[0] + 0.05, difficulty + noise[1]
    paired = paired_difference(a, b, seed=2, n_resamples=4000)
    half = 1.96 * (a - b).std() / np.sqrt(300)
    assert paired.difference == pytest.approx((a - b).mean())
    assert paired.high - paired.low == pytest.approx(2 * half, rel=0.06)
    alone = mean_interval(a, seed=2)
    assert alone.high - alone.low > 20 * (paired.high - paired.low)


def test_probability_better_is_the_normal_tail():
    rng = np.random.default_rng(11)
    gain = rng.normal(0.03, 0.5, 500)
    result = paired_difference(gain, np.zeros(500), seed=3, n_resamples=20_000)
    z = gain.mean() / (gain.std() / np.sqrt(500))
    expected = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    assert result.probability_better == pytest.approx(expected, abs=0.02)


def test_nulls_are_covered_as_often_as_promised():
    rng = np.random.default_rng(6)
    n_trials, missed, favoured = 300, 0, []
    for trial in range(n_trials):
        a, b = rng.random((2, 100)) < 0.5
        result = paired_difference(a, b, seed=trial, n_resamples=400)
        missed += not result.low <= 0.0 <= result.high
        favoured.append(result.probability_better)
    # 5% of 300 is 15 with a standard deviation of 3.8; the percentile bootstrap misses a bit more.
    assert 5 <= missed <= 30
    assert np.mean(favoured) == pytest.approx(0.5, abs=0.06)


def test_equal_scores_have_no_width_and_ties_are_even():
    interval = mean_interval([0.7] * 9, seed=0)
    assert (interval.mean, interval.low, interval.high) == (0.7, 0.7, 0.7)
    paired = paired_difference([0.1, 0.7, 0.3], [0.1, 0.7, 0.3], seed=0)
    assert (paired.difference, paired.low, paired.high) == (0.0, 0.0, 0.0)
    assert paired.probability_better == 0.5
    better = paired_difference([1.0, 1.0], [0.0, 0.0], seed=0)
    assert (better.difference, better.low, better.probability_better) == (1.0, 1.0, 1.0)
    assert mean_interval([0.4], seed=0).low == 0.4


@pytest.mark.parametrize("n_items", [1, 4, 24])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_all_or_none_is_that_of_a_proportion(n_items, confidence):
    for value in (0, 1):
        theirs = binomtest(value * n_items, n_items).proportion_ci(confidence, method="exact")
        ours = agreed_interval(value, n_items, (0, 1), confidence)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_equal_differences_are_as_uncertain_as_the_items_that_may_differ():
    # A mean beyond the interval is seldom left unnoticed by 12 items: at most in 2.5 % of draws.
    for value in (-1.0, 0.0, 0.25, 1.0):
        found = agreed_interval(value, 12, (-1, 1))
        assert -1 <= found.low <= value <= found.high <= 1
        for end, extreme in ((found.low, -1), (found.high, 1)):
            if end != value:
                share = (end - value) / (extreme - value)
                assert binom.pmf(0, 12, share) == pytest.approx(0.025)


def test_seeds_name_the_draws_and_rows_share_them():
    scores = np.random.default_rng(9).random((3, 50))
    assert mean_interval(scores[0], seed=5) == mean_interval(scores[0], seed=5)
    assert mean_interval(scores[0], seed=5) != mean_interval(scores[0], seed=6)
    together = resampled_means(scores, seed=5, n_resamples=100)
    alone = resampled_means(scores[1:2], seed=5, n_resamples=100)
    assert together[1] == pytest.approx(alone[0], abs=1e-15)
    difference = resampled_means(scores[:1] - scores[1:2], seed=5, n_resamples=100)
    assert together[0] - together[1] == pytest.approx(difference[0], abs=1e-14)


def test_blocks_do_not_show(monkeypatch):
    scores = np.random.default_rng(9).random((2, 30))
    whole = resampled_means(scores, seed=5, n_resamples=101)
    monkeypatch.setattr(bootstrap, "_BLOCK", 30 * 7)
    assert resampled_means(scores, seed=5, n_resamples=101) == pytest.approx(whole, abs=1e-15)


def test_groups_weigh_the_same_whatever_their_size():
    rng = np.random.default_rng(12)
    few, many = rng.random(50) + 1.0, rng.random(900)
    interval = stratified_interval([few, many], seed=4, n_resamples=6000)
    assert interval.mean == pytest.approx((few.mean() + many.mean()) / 2)
    error = np.sqrt(few.var() / 50 + many.var() / 900) / 2
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    paired = stratified_difference([(few, few - 0.2), (many, many)], seed=4)
    assert paired.difference == pytest.approx(0.1)
    assert stratified_interval([few], seed=4) == mean_interval(few, seed=4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([], 0), "with an item"),
        (lambda: mean_interval([[1.0]], 0), "with an item"),
        (lambda: mean_interval([1.0, np.nan], 0), "item 1 has no finite score"),
        (lambda: mean_interval([1.0], 0, n_resamples=0), "n_resamples"),
        (lambda: mean_interval([1.0], 0, confidence=1.0), "confidence"),
        (lambda: paired_difference([1.0], [1.0, 2.0], 0), "same items"),
        (lambda: agreed_interval(2.0, 4, (0, 1)), "between 0 and 1, got 2"),
        (lambda: agreed_interval(1.0, 0, (0, 1)), "n_items"),
        (lambda: agreed_interval(1.0, 4, (0, 1), 1.0), "confidence"),
        (lambda: stratified_interval([], 0), "at least one group"),
        (lambda: resampled_means([1.0], 0), r"\(n_models, n_items\)"),
        (lambda: resampled_means([[np.inf]], 0), "finite"),
    ],
)
def test_malformed_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
