"""Brackets against the allocation of the Hyperband paper (Li et al. 2018, JMLR 18(185))."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.study.rungs.brackets import Brackets
from evomerge.study.rungs.promotion import best_of_cohort

ETA, S_MAX = 3, 4
SIZES = [ETA**k for k in range(S_MAX + 1)]
"""R = 81 and eta = 3, as in Table 1 there."""
TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(27, 3), (9, 9), (3, 27), (1, 81)],
    2: [(9, 9), (3, 27), (1, 81)],
    1: [(6, 27), (2, 81)],
    0: [(5, 81)],
}


def hyperband():
    return Brackets(SIZES, 1 / ETA, S_MAX + 1)


def test_cohorts_are_those_of_algorithm_1():
    expected = [math.ceil((S_MAX + 1) * ETA**s / (s + 1)) for s in range(S_MAX, -1, -1)]
    assert expected == [81, 34, 15, 8, 5]
    brackets = hyperband()
    assert [brackets.cohort(bracket, 81) for bracket in range(S_MAX + 1)] == expected


def test_the_shares_are_those_of_table_1_which_rounds_the_cost_down_first():
    shares = hyperband().shares
    for s, rows in TABLE_1.items():
        bracket = S_MAX - s
        quotient = shares[bracket] / shares[S_MAX] / ETA**s
        assert quotient == pytest.approx(1 / (s + 1))
        n, items = rows[0]
        assert n == math.floor((S_MAX + 1) * quotient + 1e-9) * ETA**s
        assert items == SIZES[bracket]


def test_of_a_cohort_so_many_go_on_as_in_table_1():
    random = np.random.default_rng(0)
    for rows in TABLE_1.values():
        n, _ = rows[0]
        for expected, _ in rows[1:]:
            n = len(best_of_cohort(random.random((n, 1)), 1 / ETA, seed=0))
            assert n == expected


def test_cohorts_follow_one_another_as_in_the_outer_loop():
    brackets = hyperband()
    order = []
    for _ in range(2 * (S_MAX + 1)):
        order.append(brackets.next())
        for _ in range(brackets.cohort(order[-1], 81)):
            brackets.place(order[-1])
    assert order == [*range(S_MAX + 1)] * 2


@given(
    growth=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    share=st.sampled_from([0.1, 1 / 3, 0.5]),
    n=st.integers(1, 300),
)
def test_one_by_one_each_bracket_gets_its_due_at_the_same_cost(growth, share, n):
    sizes = np.cumsum(growth)
    brackets = Brackets(sizes, share, len(sizes))
    assert sum(brackets.shares) == pytest.approx(1)
    costs = [
        own * sum(size * share**k for k, size in enumerate(sizes[first:]))
        for first, own in enumerate(brackets.shares)
    ]
    assert costs == pytest.approx([costs[0]] * len(costs))
    placed = [0] * len(sizes)
    for _ in range(n):
        bracket = brackets.next()
        brackets.place(bracket)
        placed[bracket] += 1
    for count, own in zip(placed, brackets.shares, strict=True):
        assert abs(count - own * n) < len(sizes)


def test_a_single_bracket_is_successive_halving():
    brackets = Brackets(SIZES, 1 / ETA, 1)
    assert brackets.shares == (1.0,)
    assert (brackets.next(), brackets.cohort(0, 9)) == (0, 9)
