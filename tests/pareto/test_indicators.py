"""Front indicators on a hand-made example, against pymoo, and their known weaknesses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.gd import GD
from pymoo.indicators.igd import IGD
from pymoo.indicators.igd_plus import IGDPlus

from evomerge.pareto import (
    additive_epsilon,
    coverage,
    gd,
    hypervolume,
    igd,
    igd_plus,
    win_rate,
)

REFERENCE = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
FRONT = np.array([[1.0, 2.0], [3.0, 3.0], [5.0, 0.0]])


def test_six_numbers_by_hand():
    # Nearest reference: itself; (2, 1) at √5; (4, 0) at 1.
    assert gd(FRONT, REFERENCE) == pytest.approx((0 + math.sqrt(5) + 1) / 3)
    # Nearest found: (1, 2) at √5; itself; (1, 2) at √2; (5, 0) at 1.
    assert igd(FRONT, REFERENCE) == pytest.approx((math.sqrt(5) + 0 + math.sqrt(2) + 1) / 4)
    # Only what is worse counts: (1, 2) is 1 worse in the first; 0; 1 worse; (5, 0) is 1 worse.
    assert igd_plus(FRONT, REFERENCE) == pytest.approx((1 + 0 + 1 + 1) / 4)
    # Nearest in that sense: (0, 4) to (1, 2) by 1; itself; (2, 1) to (1, 2) by 1; (4, 0) by 1.
    assert additive_epsilon(FRONT, REFERENCE) == 1.0
    assert coverage(FRONT, REFERENCE) == 1 / 4
    assert coverage(REFERENCE, FRONT) == 3 / 3
    # Wins of (1, 2): 2 + 1, of (3, 3): 1 + 1, of (5, 0): 0 + 3, of 3 × 4 × 2 triples.
    assert win_rate(FRONT, REFERENCE) == 8 / 24


sets = st.integers(1, 4).flatmap(
    lambda n_objectives: st.tuples(
        *[
            st.integers(1, 7).flatmap(
                lambda n_points: arrays(
                    np.float64,
                    (n_points, n_objectives),
                    elements=st.integers(0, 4).map(float),
                )
            )
        ]
        * 2
    )
)


def rows_of(points):
    return {tuple(point) for point in points.tolist()}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_agree_with_pymoo(seed, n_objectives):
    rng = np.random.default_rng(seed)
    found = rng.random((rng.integers(1, 12), n_objectives))
    wanted = rng.random((rng.integers(1, 12), n_objectives))
    assert gd(found, wanted) == pytest.approx(GD(wanted)(found))
    assert igd(found, wanted) == pytest.approx(IGD(wanted)(found))
    assert igd_plus(found, wanted) == pytest.approx(IGDPlus(wanted)(found))


@given(sets)
def test_zero_distances_are_set_inclusions(pair):
    found, wanted = pair
    assert (igd(found, wanted) == 0.0) == (rows_of(wanted) <= rows_of(found))
    assert (gd(found, wanted) == 0.0) == (rows_of(found) <= rows_of(wanted))


@given(sets)
def test_indicators_agree_on_who_covers_whom(pair):
    found, wanted = pair
    covers = all(
        any(all(a <= b for a, b in zip(p, q, strict=True)) for p in found.tolist())
        for q in wanted.tolist()
    )
    assert (coverage(found, wanted) == 1.0) == covers
    assert (igd_plus(found, wanted) == 0.0) == covers
    assert (additive_epsilon(found, wanted) <= 0.0) == covers


@given(sets)
def test_additive_epsilon_is_the_shift_that_covers(pair):
    found, wanted = pair
    epsilon = additive_epsilon(found, wanted)
    assert coverage(found - epsilon, wanted) == 1.0
    assert coverage(found - (epsilon - 0.5), wanted) < 1.0
    by_hand = max(
        min(max(a - b for a, b in zip(p, q, strict=True)) for p in found.tolist())
        for q in wanted.tolist()
    )
    assert epsilon == by_hand


@given(sets, st.integers(0, 2**32 - 1))
def test_igd_plus_never_rates_a_front_below_one_it_dominates(pair, seed):
    worse, wanted = pair
    better = worse - np.random.default_rng(seed).integers(0, 3, worse.shape)
    assert igd_plus(better, wanted) <= igd_plus(worse, wanted)
    assert additive_epsilon(better, wanted) <= additive_epsilon(worse, wanted)


@given(sets)
def test_win_rates_of_both_directions_and_ties_are_everything(pair):
    found, wanted = pair
    ties = (found[:, None, :] == wanted[None, :, :]).mean()
    assert win_rate(found, wanted) + win_rate(wanted, found) + ties == pytest.approx(1.0)


def test_zero_exactly_when_one_set_holds_the_other():
    assert igd(np.vstack([REFERENCE, [[9.0, 9.0]]]), REFERENCE) == 0.0
    assert igd(REFERENCE[1:], REFERENCE) > 0.0
    assert gd(REFERENCE[1:], REFERENCE) == 0.0
    assert gd(np.vstack([REFERENCE, [[9.0, 9.0]]]), REFERENCE) > 0.0


def test_igd_plus_respects_dominance_where_igd_does_not():
    # Ishibuchi et al. (2015): every point of `better` is dominated by none and covers `worse`.
    wanted = np.array([[0.0, 10.0], [10.0, 0.0], [1.0, 6.0], [2.0, 5.0], [6.0, 1.0]])
    better, worse = np.array([[2.0, 4.0]]), np.array([[3.0, 5.0]])
    assert coverage(better, worse) == 1.0
    assert igd_plus(better, wanted) < igd_plus(worse, wanted)


def test_win_rate_can_fall_below_parity_for_the_better_front():
    # The front holds a point that dominates the opponent, and the ends that the opponent lacks.
    opponent = np.array([[0.35, 0.35]])
    front = np.array([[0.0, 0.9], [0.1, 0.8], [0.3, 0.3], [0.8, 0.1], [0.9, 0.0], [0.4, 0.28]])
    front = np.vstack([front, [[0.36, 0.29], [0.95, -0.1], [0.37, 0.36], [0.5, 0.36]]])
    reference = np.ones(2)
    assert hypervolume(front, reference) > hypervolume(opponent, reference)
    assert igd(front, np.vstack([front, opponent])) < igd(opponent, np.vstack([front, opponent]))
    assert coverage(front, opponent) == 1.0
    assert coverage(opponent, front) < 1.0
    assert win_rate(front, opponent) < 0.5


@pytest.mark.parametrize("indicator", [gd, igd, igd_plus, additive_epsilon, coverage, win_rate])
def test_empty_or_unequal_sets_are_refused(indicator):
    with pytest.raises(ValueError, match="both sets need a point"):
        indicator(np.empty((0, 2)), REFERENCE)
    with pytest.raises(ValueError, match="same objectives"):
        indicator(REFERENCE[:, :1], REFERENCE)
