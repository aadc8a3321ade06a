"""Who goes on: against sorting by hand and pymoo's ranks and crowding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evomerge.pareto import non_dominated
from evomerge.study.rungs.promotion import Peers, best_of_cohort, crowding, ordered

costs_1 = st.lists(st.integers(0, 30), min_size=1, max_size=20)


@given(values=costs_1)
def test_with_one_objective_the_order_is_that_of_costs(values):
    costs = np.array(values, dtype=float)[:, None]
    found = [values[row] for row in ordered(costs)]
    assert found == sorted(values)


@given(seed=st.integers(0, 200), n=st.integers(1, 25), m=st.integers(2, 4))
def test_with_several_it_is_that_of_nsga2(seed, n, m):
    costs = np.random.default_rng(seed).random((n, m))
    order = ordered(costs)
    layer = np.empty(n, dtype=int)
    for rank, rows in enumerate(NonDominatedSorting().do(costs)):
        layer[rows] = rank
    assert (np.diff(layer[order]) >= 0).all()
    front = non_dominated(costs)
    if len(front) > 2:
        expected = calc_crowding_distance(costs[front]) * m  # pymoo divides by the objectives
        finite = np.isfinite(expected)
        np.testing.assert_allclose(crowding(costs[front])[finite], expected[finite], rtol=1e-9)
        assert np.isinf(crowding(costs[front])[~finite]).all()


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True))
def test_of_many_that_come_one_after_the_other_about_a_share_goes_on(values):
    costs = np.array(values)[:, None]
    peers = Peers(1 / 3)
    chosen = [peers.goes_on(cost) for cost in costs]
    assert chosen[0]
    best = int(np.argmin(values))
    assert chosen[best]
    for n, one in enumerate(chosen):
        place = sorted(values[: n + 1]).index(values[n])
        assert one == (place < (n + 1) / 3)


@given(
    seed=st.integers(0, 300),
    n=st.integers(1, 60),
    m=st.integers(1, 4),
    levels=st.sampled_from([3, 8, 10**9]),
    share=st.sampled_from([0.1, 1 / 3, 0.7]),
)
def test_coming_one_by_one_they_are_placed_as_if_all_were_sorted(seed, n, m, levels, share):
    costs = np.random.default_rng(seed).integers(levels, size=(n, m)).astype(float)
    peers = Peers(share)
    found = [peers.goes_on(cost) for cost in costs]
    for count in {1, (n + 1) // 2, n}:
        place = list(ordered(costs[:count])).index(count - 1)
        assert found[count - 1] == (place < share * count)


def test_where_all_tie_nobody_is_stopped():
    peers = Peers(1 / 3)
    assert all([peers.goes_on([0.5]) for _ in range(40)][3:])


def test_of_a_cohort_the_share_rounded_up():
    costs = np.array([[5.0], [1.0], [3.0], [2.0]])
    assert sorted(best_of_cohort(costs, 1 / 3)) == [1, 3]
    assert best_of_cohort(costs[:1], 1 / 3) == [0]
