"""Orders of items: what comes first, proportions of every prefix, and what they depend on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import UserError
from evomerge.estimators import entropy_order, half_entropy_order, random_order, stratified_order
from tests.estimators.worlds import names

IDS = names(60)
SUBTASKS = {name: ("small" if at < 12 else "large") for at, name in enumerate(IDS)}


def probes_of(seed, count=5):
    right = np.random.default_rng(seed).random((count, 60)) < np.linspace(-0.3, 1.3, 60)
    return {
        f"probe-{at}": dict(zip(IDS, row.astype(float).tolist(), strict=True))
        for at, row in enumerate(right)
    }


ORDERS = {
    "random": random_order,
    "entropy": lambda ids, seed: entropy_order(ids, probes_of(0), seed),
    "half": lambda ids, seed: half_entropy_order(ids, probes_of(0), seed),
    "stratified": lambda ids, seed: stratified_order(
        ids, seed, subtasks=SUBTASKS, probes=probes_of(0)
    ),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_an_order_holds_every_item_once_and_follows_from_ids_and_seed(order):
    one = order(IDS, 7)
    assert sorted(one) == sorted(IDS)
    assert order(IDS[::-1], 7) == one
    assert len({order(IDS, seed) for seed in range(20)}) == 20


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 100))
def test_divided_items_come_first_and_agreed_ones_last(seed, count, order_seed):
    probes = probes_of(seed, count)
    order = entropy_order(IDS, probes, order_seed)
    p = np.array([np.mean([given[name] for given in probes.values()]) for name in order])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nan_to_num(p * np.log(p)) - np.nan_to_num((1 - p) * np.log(1 - p))
    assert (np.diff(entropy) <= 1e-9).all()
    agreed = (p == 0) | (p == 1)
    assert agreed[len(agreed) - agreed.sum() :].all()


def test_equal_entropies_are_drawn_by_lot():
    # 0.2 and 0.8 have the same entropy; which is first is chance.
    probes = {f"p{at}": {"x": float(at < 1), "y": float(at < 4)} for at in range(5)}
    firsts = Counter(entropy_order(["x", "y"], probes, seed)[0] for seed in range(200))
    assert 70 <= firsts["x"] <= 130  # 100 with a standard deviation of 7


@pytest.mark.parametrize("n", [2, 3, 10, 30, 59])
def test_half_of_a_prefix_is_divided_items(n):
    order = half_entropy_order(IDS, probes_of(1), 5)
    p = {name: np.mean([given[name] for given in probes_of(1).values()]) for name in IDS}
    doubt = sorted(abs(p[name] - 0.5) for name in IDS)
    chosen = [name for at, name in enumerate(order[:n]) if at % 2 == 0]
    # The k-th divided item is at most as settled as the 2k-th of all: k may be taken by chance.
    for k, name in enumerate(chosen):
        assert abs(p[name] - 0.5) <= doubt[min(2 * k, 59)] + 1e-9


def test_the_random_half_is_no_order_of_entropy():
    settled = []
    for seed in range(40):
        order = half_entropy_order(IDS, probes_of(1), seed)
        p = [np.mean([given[name] for given in probes_of(1).values()]) for name in order[1:20:2]]
        settled.append(np.mean(np.isin(p, [0.0, 1.0])))
    overall = np.mean(
        [np.mean([given[name] for given in probes_of(1).values()]) in (0.0, 1.0) for name in IDS]
    )
    # Ten items each, the most divided of the benchmark taken away: at least the share of all.
    assert np.mean(settled) > 0.8 * overall


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_every_prefix_has_each_stratum_in_proportion(seed, n):
    order = stratified_order(IDS, seed, subtasks=SUBTASKS)
    small = sum(SUBTASKS[name] == "small" for name in order[:n])
    assert abs(small - n * 12 / 60) <= 2


def test_strata_are_of_probes_too():
    probes = probes_of(2)
    order = stratified_order(IDS, 3, probes=probes)
    count = {name: sum(given[name] for given in probes.values()) for name in IDS}
    sizes = Counter(count.values())
    for n in (15, 30, 45):
        found = Counter(count[name] for name in order[:n])
        for kind, size in sizes.items():
            assert abs(found[kind] - n * size / 60) <= 2


def test_single_items_of_a_stratum_come_anywhere():
    subtasks = {name: ("alone" if name == IDS[0] else "rest") for name in IDS}
    places = [stratified_order(IDS, seed, subtasks=subtasks).index(IDS[0]) for seed in range(200)]
    # Uniform in 0..59: mean 29.5, standard error 17.3 / sqrt(200) = 1.2.
    assert np.mean(places) == pytest.approx(29.5, abs=4)
    assert min(places) < 6
    assert max(places) > 53


def test_what_an_order_lacks_is_named():
    with pytest.raises(UserError, match="needs probes"):
        entropy_order(IDS, {}, 0)
    with pytest.raises(UserError, match="probe 'p' did not answer item 'item-000'"):
        entropy_order(IDS, {"p": {}}, 0)
    with pytest.raises(UserError, match="subtasks of the items, answers of probes"):
        stratified_order(IDS, 0)
    with pytest.raises(UserError, match="item 'item-059' has no subtask"):
        stratified_order(IDS, 0, subtasks=dict.fromkeys(IDS[:-1], "x"))
    with pytest.raises(UserError, match="listed twice"):
        random_order([*IDS, IDS[3]], 0)
