"""Boxes: their gains are differences of hypervolume, and there are as few as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.optimizers.gaussian_processes.boxes import undominated
from evomerge.pareto import hypervolume

COARSE = st.integers(0, 5).map(float)  # many ties
FINE = st.floats(0, 5, width=32)


def gain(values, reference, y):
    boxes = undominated(values[None], reference)
    sides = np.minimum(np.maximum(y - boxes.lower, 0), boxes.upper - boxes.lower)
    return np.prod(sides, axis=1).sum()


def volume(values, reference):
    return hypervolume(-values, -reference) if len(values) else 0.0


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("numbers", [COARSE, FINE], ids=["ties", "floats"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_gains_are_differences_of_hypervolume(m, numbers, data):
    values = data.draw(arrays(np.float64, (data.draw(st.integers(0, 9)), m), elements=numbers))
    y = data.draw(arrays(np.float64, m, elements=numbers))
    reference = np.full(m, 1.0)
    expected = volume(np.vstack([values, y]), reference) - volume(values, reference)
    assert gain(values, reference, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("m", [2, 3, 4])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_boxes_are_disjoint_and_few(m, data):
    values = data.draw(arrays(np.float64, (data.draw(st.integers(0, 9)), m), elements=COARSE))
    boxes = undominated(values[None], np.zeros(m))
    lower, upper = boxes.lower, boxes.upper
    assert (lower < upper).all()
    if m < 4:
        assert len(lower) <= (m - 1) * len(values) + 1
    for i in range(len(lower)):
        for j in range(i):
            assert (np.maximum(lower[i], lower[j]) >= np.minimum(upper[i], upper[j])).any()


def test_of_four_objectives_there_are_hardly_more_boxes_than_botorchs():
    values = np.abs(np.random.default_rng(0).normal(size=(8, 25, 4)))
    values /= np.linalg.norm(values, axis=2, keepdims=True)  # none dominates another
    fewest = 0
    torch.set_default_dtype(torch.double)  # BoTorch's partitioning has no other
    try:
        for one in values:
            theirs = FastNondominatedPartitioning(torch.zeros(4), torch.as_tensor(one))
            lower, upper = theirs.get_hypercell_bounds()
            fewest += int((upper > lower).all(dim=1).sum())
    finally:
        torch.set_default_dtype(torch.float)
    assert len(undominated(values, np.zeros(4)).front) < 1.5 * fewest


@pytest.mark.parametrize("m", [2, 3, 4])
def test_padding_is_marked(m):
    fronts = np.random.default_rng(m).random((3, 4, m))
    fronts[1, :] = 0.9  # one point, and so fewer boxes
    boxes = undominated(fronts, np.zeros(m))
    lower, upper, padding = boxes.padded(3)
    assert padding[1].any()
    for row in range(3):
        alone = undominated(fronts[row : row + 1], np.zeros(m))
        low, high = lower[row][~padding[row]], upper[row][~padding[row]]
        assert sorted(np.hstack([low, high]).tolist()) == sorted(
            np.hstack([alone.lower, alone.upper]).tolist()
        )
        np.testing.assert_array_equal(lower[row][padding[row]], 0.0)
        np.testing.assert_array_equal(upper[row][padding[row]], 1.0)
