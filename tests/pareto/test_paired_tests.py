"""Paired tests against scipy, enumeration and nulls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from evomerge.pareto import exact_mcnemar, holm, sign_flips

BINARY = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


@given(BINARY)
def test_mcnemar_is_the_binomial_test_of_the_discordant_items(pairs):
    first, second = np.array(pairs).T
    found = exact_mcnemar(first, second)
    assert found.first_only == sum(a > b for a, b in pairs)
    assert found.second_only == sum(b > a for a, b in pairs)
    n = found.first_only + found.second_only
    expected = binomtest(found.first_only, n).pvalue if n else 1.0
    assert found.p_value == pytest.approx(expected)


@given(BINARY.filter(lambda pairs: sum(a != b for a, b in pairs) <= 16))
@settings(max_examples=40)
def test_all_sign_flips_of_binary_scores_are_mcnemar(pairs):
    first, second = np.array(pairs).T
    assert sign_flips(first - second, 0).exact
    assert sign_flips(first - second, 0).p_value == pytest.approx(
        exact_mcnemar(first, second).p_value
    )


@given(st.lists(st.integers(-6, 6).map(lambda k: k / 7), min_size=1, max_size=9))
@settings(max_examples=40)
def test_all_sign_flips_are_enumerated(differences):
    observed = abs(sum(differences))
    sums = [
        sum(sign * one for sign, one in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    expected = np.mean([abs(one) >= observed - 1e-9 for one in sums])
    assert sign_flips(differences, 3).p_value == pytest.approx(expected)


def test_drawn_sign_flips_agree_with_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.25, 1, 60), rng.normal(0, 1, 60)
    found = sign_flips(a - b, 1, n_draws=20_000)
    assert (found.exact, found.n_differences) == (False, 60)
    theirs = permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    )
    spread = np.sqrt(found.p_value * (1 - found.p_value) / 20_000)
    assert 0.01 < found.p_value < 0.9
    assert found.p_value == pytest.approx(theirs.pvalue, abs=6 * spread)


def test_equal_models_are_no_evidence():
    assert sign_flips(np.zeros(30), 0).p_value == 1.0
    assert exact_mcnemar([1, 0], [1, 0]).p_value == 1.0


@pytest.mark.parametrize("graded", [False, True])
def test_nulls_are_rejected_no_more_often_than_promised(graded):
    rng = np.random.default_rng(9)
    n_trials, alpha, rejected = 600, 0.05, 0
    for trial in range(n_trials):
        difficulty = rng.random(40)
        scores = (rng.random((2, 40)) < difficulty).astype(float)
        if graded:
            scores += rng.normal(0, 0.3, (2, 40))
            p_value = sign_flips(scores[0] - scores[1], trial, n_draws=499).p_value
        else:
            p_value = exact_mcnemar(*scores).p_value
        rejected += p_value <= alpha
    most = alpha * n_trials + 3 * np.sqrt(n_trials * alpha * (1 - alpha))
    assert rejected <= most
    assert rejected >= (0.02 if graded else 0.003) * n_trials  # it does reject


def test_holm_is_the_step_down_rule():
    p_values = [0.01, 0.04, 0.03, 0.005]
    adjusted = holm(p_values)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 3, then 2 x 0.03 twice, 4 x
    for alpha in (0.01, 0.02, 0.05, 0.1):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values)):
            if p_values[index] > alpha / (4 - step):
                break
            rejected.add(int(index))
        assert {i for i in range(4) if adjusted[i] <= alpha} == rejected
    assert holm([]).tolist() == []
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_mcnemar([1, 0.5], [0, 1]), "0 and 1 only"),
        (lambda: exact_mcnemar([1], [0, 1]), r"\(n_items,\)"),
        (lambda: sign_flips([np.nan], 0), "finite"),
        (lambda: sign_flips([1.0], 0, n_draws=0), "at least 1"),
        (lambda: holm([1.2]), "between 0 and 1"),
    ],
)
def test_what_means_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
