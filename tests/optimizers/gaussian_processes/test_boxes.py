"""Boxes: their gains are differences of hypervolume, and there are as few as published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.optimizers.gaussian_processes.boxes import stacked, undominated_boxes
from evomerge.pareto import hypervolume

COARSE = st.integers(0, 5).map(float)  # many ties
FINE = st.floats(0, 5, width=32)


def gain(values, reference, y):
    lower, upper = undominated_boxes(values, reference)
    return np.prod(np.minimum(np.maximum(y - lower, 0), upper - lower), axis=1).sum()


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


@pytest.mark.parametrize("m", [2, 3])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_boxes_are_disjoint_and_few(m, data):
    values = data.draw(arrays(np.float64, (data.draw(st.integers(0, 9)), m), elements=COARSE))
    lower, upper = undominated_boxes(values, np.zeros(m))
    assert (lower < upper).all()
    assert len(lower) <= len(values) + 1 if m == 2 else 2 * len(values) + 1
    for i in range(len(lower)):
        for j in range(i):
            assert (np.maximum(lower[i], lower[j]) >= np.minimum(upper[i], upper[j])).any()


def test_padding_is_marked():
    fronts = np.array([[[1.0, 2.0], [2.0, 1.0]], [[3.0, 3.0], [1.0, 1.0]]])
    lower, upper, padding = stacked(fronts, np.zeros(2))
    assert padding.sum(axis=1).tolist() == [0, 1]
    for row in range(2):
        low, high = undominated_boxes(fronts[row], np.zeros(2))
        np.testing.assert_array_equal(lower[row][~padding[row]], low)
        np.testing.assert_array_equal(upper[row][~padding[row]], high)
