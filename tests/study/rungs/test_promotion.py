"""Who goes on: against sorting by hand and pymoo's ranks and crowding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evomerge.pareto import non_dominated
from evomerge.study.rungs.promotion import GOING_ON, Peers, best_of_cohort, crowding, ordered

SHARES = (0.05, 0.2, 1 / 3, 0.4, 0.7)


@given(values=st.lists(st.integers(0, 30), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_with_one_objective_the_order_is_that_of_costs_then_lots(values, seed):
    lots = np.random.default_rng(seed).random(len(values))
    found = ordered(np.array(values, dtype=float)[:, None], lots)
    assert list(found) == sorted(range(len(values)), key=lambda row: (values[row], lots[row]))


@given(seed=st.integers(0, 200), n=st.integers(1, 25), m=st.integers(2, 4))
def test_with_several_it_is_that_of_nsga2(seed, n, m):
    costs = np.random.default_rng(seed).random((n, m))
    order = ordered(costs, np.zeros(n))
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


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=70, unique=True),
    share=st.sampled_from(SHARES),
)
def test_a_candidate_is_placed_among_the_latest_while_the_share_has_not_gone_on(values, share):
    peers = Peers(share, seed=0)
    latest = round(GOING_ON / share)
    gone = 0
    for n, value in enumerate(values):
        seen = values[max(0, n + 1 - latest) : n + 1]
        is_good = sorted(seen).index(value) < max(1, round(share * len(seen)))
        expected = is_good and (n == 0 or gone < share * (n + 1))
        assert peers.goes_on([value]) == expected
        gone += expected


@pytest.mark.parametrize("share", SHARES)
def test_the_first_goes_on_and_of_many_the_share(share):
    peers = Peers(share, seed=1)
    chosen = [peers.goes_on([cost]) for cost in np.random.default_rng(2).random(2000)]
    assert chosen[0]
    assert np.mean(chosen) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("n_objectives", [1, 2])
def test_of_equals_the_share_goes_on_and_none_is_favoured(n_objectives):
    every = []
    for seed in range(150):
        peers = Peers(1 / 3, seed)
        every.append([peers.goes_on([0.5] * n_objectives) for _ in range(60)])
    settled = np.mean(every, axis=0)[15:]
    assert settled.mean() == pytest.approx(1 / 3, abs=0.05)
    assert np.ptp(settled) < 0.25  # a standard error is 0.04
    assert every[0] != every[1]


@pytest.mark.parametrize("drift", [0.01, 1.0])
def test_an_optimizer_that_improves_does_not_send_up_everything(drift):
    random = np.random.default_rng(0)
    costs = random.standard_normal(400) - drift * np.arange(400)
    peers = Peers(0.2, seed=0)
    share = np.mean([peers.goes_on([cost]) for cost in costs])
    of_all_so_far = np.mean([np.mean(costs[: n + 1] <= costs[n]) <= 0.2 for n in range(len(costs))])
    assert 0.18 <= share <= 0.2
    assert of_all_so_far > 1.5 * share


def test_of_a_cohort_the_share_rounded_up():
    costs = np.array([[5.0], [1.0], [3.0], [2.0]])
    assert best_of_cohort(costs, 1 / 3, seed=0) == [1, 3]
    assert best_of_cohort(costs[:1], 1 / 3, seed=0) == [0]
    equal = [best_of_cohort(np.zeros((6, 2)), 1 / 3, seed) for seed in range(40)]
    assert {len(rows) for rows in equal} == {2}
    assert {row for rows in equal for row in rows} == set(range(6))
