"""Front indicators on a hand-made example, against pymoo, and their known weaknesses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pymoo.indicators.gd import GD
from pymoo.indicators.igd import IGD
from pymoo.indicators.igd_plus import IGDPlus

from evomerge.pareto import coverage, gd, hypervolume, igd, igd_plus, win_rate

REFERENCE = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
FRONT = np.array([[1.0, 2.0], [3.0, 3.0], [5.0, 0.0]])


def test_five_numbers_by_hand():
    # Nearest reference: itself; (2, 1) at √5; (4, 0) at 1.
    assert gd(FRONT, REFERENCE) == pytest.approx((0 + math.sqrt(5) + 1) / 3)
    # Nearest found: (1, 2) at √5; itself; (1, 2) at √2; (5, 0) at 1.
    assert igd(FRONT, REFERENCE) == pytest.approx((math.sqrt(5) + 0 + math.sqrt(2) + 1) / 4)
    # Only what is worse counts: (1, 2) is 1 worse in the first; 0; 1 worse; (5, 0) is 1 worse.
    assert igd_plus(FRONT, REFERENCE) == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert coverage(FRONT, REFERENCE) == 1 / 4
    assert coverage(REFERENCE, FRONT) == 3 / 3
    # Wins of (1, 2): 2 + 1, of (3, 3): 1 + 1, of (5, 0): 0 + 3, of 3 × 4 × 2 triples.
    assert win_rate(FRONT, REFERENCE) == 8 / 24


def test_agree_with_pymoo():
    rng = np.random.default_rng(2)
    found, wanted = rng.random((9, 3)), rng.random((7, 3))
    assert gd(found, wanted) == pytest.approx(GD(wanted)(found))
    assert igd(found, wanted) == pytest.approx(IGD(wanted)(found))
    assert igd_plus(found, wanted) == pytest.approx(IGDPlus(wanted)(found))


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
    opponent = np.array([[0.35, 0.35]])
    front = np.array([[0.0, 0.9], [0.1, 0.8], [0.3, 0.3], [0.8, 0.1], [0.9, 0.0], [0.4, 0.28]])
    front = np.vstack([front, [[0.36, 0.29], [0.95, -0.1], [0.37, 0.36], [0.5, 0.36]]])
    reference = np.ones(2)
    assert hypervolume(front, reference) > hypervolume(opponent, reference)
    assert igd(front, np.vstack([front, opponent])) < igd(opponent, np.vstack([front, opponent]))
    assert win_rate(front, opponent) < 0.5


@pytest.mark.parametrize("indicator", [gd, igd, igd_plus, coverage, win_rate])
def test_empty_or_unequal_sets_are_refused(indicator):
    with pytest.raises(ValueError, match="both sets need a point"):
        indicator(np.empty((0, 2)), REFERENCE)
    with pytest.raises(ValueError, match="same objectives"):
        indicator(REFERENCE[:, :1], REFERENCE)
