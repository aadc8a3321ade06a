"""Points chosen together: against differences of hypervolume, by hand, and an acquisition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.optimizers.gaussian_processes.acquisition import LogNoisyHypervolumeImprovement
from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.models import fitted
from evomerge.optimizers.gaussian_processes.posterior import JointSamples, Surrogate
from evomerge.optimizers.gaussian_processes.together import (
    Best,
    UndominatedBoxes,
    baseline_of,
    chosen_together,
)
from evomerge.optimizers.gaussian_processes.transforms import targets_of
from evomerge.optimizers.links import links_of
from evomerge.pareto import hypervolume

COARSE = st.integers(0, 5).map(float)  # many ties
FINE = st.floats(0, 5, width=32)


def volume(values, reference):
    return hypervolume(-values, -reference) if len(values) else 0.0


def mean_volume(samples, reference):
    return np.mean([volume(values, reference) for values in samples])


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("numbers", [COARSE, FINE], ids=["ties", "floats"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=40, deadline=None)
def test_gains_by_one_number_are_improvements_of_the_best(data):
    known = data.draw(arrays(np.float64, (3, 2, 2), elements=FINE))
    values = data.draw(arrays(np.float64, (3, 4, 2), elements=FINE))
    best = Best(known, values, lambda: lambda x: x.sum(dim=-1))
    for index in (1, 3):
        highest = known.sum(axis=2).max(axis=1, keepdims=True)
        expected = np.maximum(values.sum(axis=2) - highest, 0).mean(axis=0)
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


def test_the_first_choice_is_the_acquisition_functions():
    random = np.random.default_rng(0)
    x = random.random((12, 3))
    y = np.column_stack([-((x - 0.3) ** 2).sum(axis=1), -((x - 0.7) ** 2).sum(axis=1)])
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    reference = y.min(axis=0)
    pool = torch.as_tensor(random.random((9, 3)))
    with isolated(0):
        surrogate = Surrogate(fitted(x, y, np.full_like(y, 1e-3), length_scales="ard"))
        fixed = torch.as_tensor(x)
        alone = LogNoisyHypervolumeImprovement(JointSamples(surrogate, fixed, 4096, 1), reference)
        joint = JointSamples(surrogate, torch.cat([fixed, pool]), 4096, 2).values.numpy()
        boxes = UndominatedBoxes(joint[:, :12], joint[:, 12:], reference)
        expected = alone(pool).exp().numpy()
    assert expected.max() > 0.01
    np.testing.assert_allclose(boxes.gains(), expected, rtol=0.05, atol=0.003)


@pytest.mark.parametrize("m", [1, 2, 4, 5, 6])
def test_what_counts_for_a_number_of_objectives(m):
    random = np.random.default_rng(m)
    costs = random.random((8, m))
    targets = targets_of(costs, links_of((), m), np.zeros_like(costs))
    known, values = random.normal(size=(4, 3, m)), random.normal(size=(4, 5, m))
    found = [baseline_of(known, values, targets, np.random.default_rng(0)) for _ in range(2)]
    assert isinstance(found[0], UndominatedBoxes if 2 <= m <= 4 else Best)
    first, second = (chosen_together(one, 5, 5).tolist() for one in found)
    assert first == second
    assert sorted(first) == [0, 1, 2, 3, 4]
    if m == 1:
        gains = np.maximum(values[:, :, 0] - known[:, :, 0].max(axis=1, keepdims=True), 0)
        assert first[0] == gains.mean(axis=0).argmax()


def test_many_objectives_are_weighed_anew_for_every_point():
    corners = 10 * np.eye(6)[None]  # each best by weights of its own
    targets = targets_of(np.random.default_rng(0).random((8, 6)), links_of((), 6), np.zeros((8, 6)))
    known = np.full((1, 1, 6), -1.0)
    firsts = {
        int(
            chosen_together(baseline_of(known, corners, targets, np.random.default_rng(i)), 6, 1)[0]
        )
        for i in range(40)
    }
    assert len(firsts) > 2
