"""The gambler's wealth: against closed forms, and its promise of rarely being wrong."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from evomerge.study.rungs.racing import log_threshold, log_wealth

ENDLESS = 10**9
LOOKS = (20, 50, 100, 200)


def bayes_factor(wins: int, losses: int) -> float:
    """2^k times the integral of 2 p^wins (1 - p)^losses over p in (0, 1/2)."""
    inside = special.betainc(wins + 1, losses + 1, 0.5) * special.beta(wins + 1, losses + 1)
    return 2 ** (wins + losses + 1) * inside


@given(wins=st.integers(0, 15), losses=st.integers(0, 15), ties=st.integers(0, 20))
def test_of_answers_right_or_wrong_it_is_a_bayes_factor(wins, losses, ties):
    differences = [-1.0] * wins + [1.0] * losses + [0.0] * ties
    np.random.default_rng(wins + 31 * losses).shuffle(differences)
    expected = math.log(bayes_factor(wins, losses))
    assert log_wealth(differences, ENDLESS, 1.0) == pytest.approx(expected, abs=2e-5)


@given(
    differences=st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    left=st.integers(1, 30),
    spread=st.floats(1.0, 7.0),
)
def test_it_is_the_integral_over_the_share_that_is_bet(differences, left, spread):
    n_items = len(differences) + left

    def product(share):
        wealth, before = 1.0, 0.0
        for t, d in enumerate(differences):
            mean = -before / (n_items - t)
            wealth *= 1 + share * (d - mean) / (mean + spread)
            before += d
        return wealth

    found = log_wealth(differences, n_items, spread)
    sums = np.cumsum(differences)
    if (sums > spread * (n_items - 1 - np.arange(len(sums)))).any():  # lost whatever comes
        assert found == math.inf
        return
    expected = integrate.quad(product, 0, 1)[0]
    assert found == pytest.approx(math.log(expected), rel=1e-6, abs=1e-6)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=9), share=st.integers(1, 8))
def test_under_the_null_no_game_is_worth_more_than_its_stake(values, share):
    """Brute force over all orders of a finite population whose mean is at most 0."""
    population = np.array(values) - max(0.0, float(np.mean(values)))
    population = np.clip(population, -1, 1)
    population -= max(0.0, population.mean())
    n = min(share, len(population))
    spread = 2.5
    random = np.random.default_rng(0)
    orders = np.array([random.permutation(population)[:n] for _ in range(400)])
    if len(population) <= 5:
        orders = np.array([order[:n] for order in permutations(population)])
        worth = np.mean([math.exp(log_wealth(order, len(population), spread)) for order in orders])
        assert worth <= 1 + 1e-9
    else:
        wealth = [math.exp(log_wealth(order, len(population), spread)) for order in orders]
        assert np.mean(wealth) <= 1 + 5 * np.std(wealth) / 20


def dropped(differences: np.ndarray, error_rate: float) -> bool:
    needed = log_threshold(error_rate, 1)
    return any(log_wealth(differences[:n], len(differences), 1.0) >= needed for n in LOOKS)


def drawn(random, worse: float, better: float, n: int) -> np.ndarray:
    return random.choice([1.0, -1.0, 0.0], size=n, p=[worse, better, 1 - worse - better])


def test_equals_are_rarely_dropped_and_the_worse_mostly_are():
    random = np.random.default_rng(5)
    equal = []
    for _ in range(1500):
        scores = drawn(random, 0.2, 0.2, 200)
        scores[np.flatnonzero(scores)[: abs(int(scores.sum()))]] = 0.0
        scores -= scores.mean()  # the null at its border: the means of all items are equal
        equal.append(dropped(random.permutation(scores / 2), 0.05))
    assert np.mean(equal) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(equal))
    worse = [dropped(drawn(random, 0.3, 0.1, 200), 0.05) for _ in range(300)]
    assert np.mean(worse) > 0.8


def test_what_cannot_be_made_good_any_more_is_certain():
    assert log_wealth([1.0, 1.0, 1.0], 4, 1.0) == math.inf
    assert log_wealth([1.0, 1.0], 4, 1.0) < math.inf
    assert log_wealth([], 4, 1.0) == 0.0


def test_several_rivals_and_looks_share_the_error_rate():
    assert log_threshold(0.05, 6) == pytest.approx(math.log(120))


@pytest.mark.parametrize(("differences", "n"), [([0.0] * 5, 4), ([1.5], 4)])
def test_what_cannot_be_differences_is_refused(differences, n):
    with pytest.raises(ValueError, match="difference"):
        log_wealth(differences, n, 1.0)
