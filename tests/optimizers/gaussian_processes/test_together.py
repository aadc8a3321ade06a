"""Points chosen together: against differences of hypervolume, by hand, and an acquisition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.optimizers.gaussian_processes.acquisition import objective_for
from evomerge.optimizers.gaussian_processes.encoding import Encoding
from evomerge.optimizers.gaussian_processes.proposer import Proposer
from evomerge.optimizers.gaussian_processes.settings import settings_of
from evomerge.optimizers.gaussian_processes.together import (
    Best,
    UndominatedBoxes,
    chosen_together,
)
from evomerge.optimizers.gaussian_processes.transforms import targets_of
from evomerge.optimizers.links import links_of
from evomerge.pareto import hypervolume
from tests.optimizers.gaussian_processes.searches import unit_domain

COARSE = st.integers(0, 5).map(float)  # many ties
FINE = st.floats(0, 5, width=32)


def volume(values, reference):
    return hypervolume(-values, -reference) if len(values) else 0.0


def mean_volume(samples, reference):
    return np.mean([volume(values, reference) for values in samples])


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("numbers", [COARSE, FINE], ids=["ties", "floats"])
@given(data=st.data())
@examples(max_examples=40, deadline=None)
def test_gains_are_differences_of_hypervolume_whoever_has_joined(m, numbers, data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(0, 5)))
    known = data.draw(arrays(np.float64, (*shape, m), elements=numbers))
    values = data.draw(arrays(np.float64, (shape[0], 4, m), elements=numbers))
    reference = np.full(m, 1.0)
    boxes = UndominatedBoxes(known, values, reference)
    for index in (2, 0, 2, 3):
        before = mean_volume(known, reference)
        with_each = [
            mean_volume(np.concatenate([known, values[:, i : i + 1]], axis=1), reference)
            for i in range(4)
        ]
        np.testing.assert_allclose(boxes.gains(), np.array(with_each) - before, atol=1e-9)
        boxes.join(index)
        known = np.concatenate([known, values[:, index : index + 1]], axis=1)
    assert boxes.gains()[[0, 2, 3]] == pytest.approx(0, abs=1e-9)


@given(data=st.data())
@examples(max_examples=40, deadline=None)
def test_gains_by_one_number_are_improvements_of_the_best(data):
    known = data.draw(arrays(np.float64, (3, 2, 2), elements=FINE))
    values = data.draw(arrays(np.float64, (3, 4, 2), elements=FINE))
    best = Best(known, values, [lambda x: x.sum(dim=-1), lambda x: x[..., 1]])
    for index, objective in ((1, lambda x: x.sum(axis=2)), (3, lambda x: x[..., 1])):
        highest = objective(known).max(axis=1, keepdims=True)
        expected = np.maximum(objective(values) - highest, 0).mean(axis=0)
        np.testing.assert_allclose(best.gains(), expected)
        best.join(index)
        known = np.concatenate([known, values[:, index : index + 1]], axis=1)


def test_the_greedy_choice_by_hand():
    known = np.array([[[0.0, 0.0]]])
    values = np.array([[[2.0, 2.0], [1.9, 1.9], [1.0, 3.0], [3.0, 0.9]]])
    boxes = UndominatedBoxes(known, values, np.zeros(2))
    # 4, 3.61, 3, 2.7 alone; then 0, 1, .9; then .9; then the one that is dominated
    assert chosen_together(boxes, 4, 9).tolist() == [0, 2, 3, 1]
    assert chosen_together(UndominatedBoxes(known, values, np.zeros(2)), 4, 2).tolist() == [0, 2]


def test_of_equals_the_first():
    known = np.array([[[5.0, 5.0]]])
    boxes = UndominatedBoxes(known, np.ones((1, 3, 2)), np.zeros(2))
    assert chosen_together(boxes, 3, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_the_first_choice_is_worth_most_and_the_second_is_elsewhere(m):
    proposer, fit, pool = model(m)
    chosen = proposer.chosen(fit, pool, NONE, 1, len(pool) + 1)
    assert sorted(chosen) == list(range(len(pool)))
    if m < 5:  # more are weighed at random
        worths = np.exp(proposer.prospect(fit, NONE, 1).score(pool).worths)
        assert worths[chosen[0]] > 0.9 * worths.max() > 0
    twin = np.vstack([pool, pool[chosen[0]] + 1e-4])  # adds nothing to the first any more
    assert set(proposer.chosen(fit, twin, NONE, 1, 2)) != {chosen[0], len(pool)}


def test_what_is_in_flight_is_not_chosen_first():
    proposer, fit, pool = model(2)
    first = proposer.chosen(fit, pool, NONE, 1, 1)
    then = proposer.chosen(fit, pool, pool[first], 1, 1)
    assert first != then


def test_many_objectives_are_weighed_anew_for_every_point():
    """Each of six far points is the best by weights of its own."""
    corners = 10 * np.eye(6)[None]
    values = np.random.default_rng(0).normal(size=(8, 6))
    objectives = [objective_for(values, seed) for seed in range(40)]
    best = Best(np.full((1, 1, 6), -1.0), corners, objectives)
    assert len({int(best.gains().argmax()) for _ in objectives}) > 2


def test_of_many_objectives_the_best_of_each_weighing_is_in_the_baseline():
    """Also where more points are on some front than a baseline has."""
    _, fit, _ = model(6, n_points=150)
    objectives = [objective_for(fit.targets.values, seed) for seed in range(5)]
    rows = fit.best_by(objectives)
    for objective in objectives:
        drawn = objective(fit.drawn)
        assert set(drawn.argmax(dim=1).tolist()) <= set(rows.tolist())


NONE = np.zeros((0, 3))


def model(m, n_points=12):
    """Return a proposer, its model of smooth costs, and a pool of points."""
    random = np.random.default_rng(m)
    domain = unit_domain(3)
    settings = settings_of(
        domain,
        m,
        length_scales="auto",
        importance=None,
        max_points=200,
        samples=1024,
        raw_samples=16,
        restarts=1,
    )
    x = random.random((n_points, 3))
    centres = random.random((m, 3))
    costs = np.column_stack([((x - centre) ** 2).sum(axis=1) for centre in centres])
    proposer = Proposer(Encoding(domain), 0, settings)
    targets = targets_of(costs, links_of((), m), np.zeros_like(costs))
    return proposer, proposer.fit(x, targets), random.random((9, 3))
