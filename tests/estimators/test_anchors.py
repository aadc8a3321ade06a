"""Anchors: distinct, representative, and of the right weight."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import UserError
from evomerge.estimators import (
    Evidence,
    ItemParameters,
    Mean,
    Weighted,
    cluster_anchors,
    cluster_order,
    random_order,
)
from tests.estimators.worlds import items_of, names


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 4), st.booleans())
def test_anchors_are_distinct_and_their_weights_sum_to_one(seed, n, kinds, coarse):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(40, kinds)), rng.normal(size=40)
    if coarse:  # many items with the same parameters
        a, b = np.round(a), np.round(b)
    items = ItemParameters(names(40), a, b)
    anchors = cluster_anchors(items, n, seed)
    assert len(anchors.ids) == len(set(anchors.ids)) == n
    assert set(anchors.ids) <= set(items.ids)
    assert tuple(anchors.weights) == anchors.ids
    assert all(weight > 0 for weight in anchors.weights.values())
    assert sum(anchors.weights.values()) == pytest.approx(1.0)
    order = random_order(items.ids, seed)
    assert cluster_anchors(items.select(order), n, seed) == anchors


def cross(center, n_pairs):
    """A centre and pairs of points on either side of it."""
    sides = [np.array([0.1 * (at + 1), 0.05 * at]) for at in range(n_pairs)]
    return [center, *(center + side for side in sides), *(center - side for side in sides)]


def test_clear_clusters_have_their_middle_as_anchor():
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    groups = [cross(center, pairs) for center, pairs in zip(centers, (4, 2, 1), strict=True)]
    points = np.concatenate(groups)
    items = ItemParameters(names(17), points[:, :1], points[:, 1])
    expected = {"item-000": 9 / 17, "item-009": 5 / 17, "item-014": 3 / 17}
    for seed in range(10):
        assert cluster_anchors(items, 3, seed).weights == pytest.approx(expected)
    # Two subtasks of equal weight: the first cluster's nine items count one half together.
    subtasks = {name: "first" if at < 9 else "others" for at, name in enumerate(items.ids)}
    balanced = cluster_anchors(items, 3, 0, subtasks).weights
    assert balanced == pytest.approx({"item-000": 1 / 2, "item-009": 5 / 16, "item-014": 3 / 16})


def test_heavy_kinds_get_several_anchors_when_there_are_few_kinds():
    points = np.repeat([[0.0], [5.0], [9.0]], [12, 4, 1], axis=0)
    items = ItemParameters(names(17), points, np.zeros(17))
    anchors = cluster_anchors(items, 6, seed=0)
    by_kind = [[w for name, w in anchors.weights.items() if int(name[-3:]) in range(*span)]
               for span in ((0, 12), (12, 16), (16, 17))]  # fmt: skip
    assert [len(kind) for kind in by_kind] == [3, 2, 1] or [len(k) for k in by_kind] == [4, 1, 1]
    assert [sum(kind) for kind in by_kind] == pytest.approx([12 / 17, 4 / 17, 1 / 17])
    assert all(len(set(kind)) == 1 for kind in by_kind)


def test_anchors_tell_a_score_better_than_a_draw():
    rng = np.random.default_rng(3)
    items = items_of(rng, 500, 1)
    evidence = Evidence(items.ids, items=items)
    anchors = cluster_anchors(items, 25, seed=0)
    by_anchors, by_mean = Weighted(evidence, weights=anchors.weights), Mean(evidence)
    errors = []
    for at in range(200):
        # Expected answers: what chance adds to each is the same for either choice of items.
        expected = items.probabilities(rng.normal(size=1))
        answers = dict(zip(items.ids, expected.tolist(), strict=True))
        truth = np.mean(list(answers.values()))
        some = [{name: answers[name] for name in ids}
                for ids in (anchors.ids, random_order(items.ids, at)[:25])]  # fmt: skip
        estimates = [by_anchors.estimate(some[0]), by_mean.estimate(some[1])]
        errors.append([abs(one.value - truth) for one in estimates])
    of_anchors, of_draws = np.mean(errors, axis=0)
    assert of_anchors < 0.5 * of_draws


def test_the_number_of_anchors_is_checked():
    items = items_of(np.random.default_rng(0), 5)
    for n in (0, 6):
        with pytest.raises(UserError, match=f"{n} anchors cannot be chosen among 5 items"):
            cluster_anchors(items, n, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_an_order_begins_with_anchors_for_every_size(seed, sizes):
    rng = np.random.default_rng(seed)
    items = ItemParameters(names(40), rng.normal(size=(40, 2)), rng.normal(size=40))
    order = cluster_order(items, sizes, seed)
    assert sorted(order) == sorted(items.ids)
    assert set(order[: sizes[0]]) == set(cluster_anchors(items, sizes[0], seed).ids)
    for before, size in pairwise(sizes):
        assert set(order[before:size]) <= set(cluster_anchors(items, size, seed).ids)
    assert cluster_order(items, sizes, seed) == order
    mirrored = items.select(items.ids[::-1])
    assert cluster_order(mirrored, sizes, seed) == order


def test_a_size_beyond_the_items_is_refused():
    with pytest.raises(UserError, match="4 anchors cannot be chosen among 3"):
        cluster_order(ItemParameters(names(3), np.ones((3, 1)), np.zeros(3)), [1, 4], 0)
