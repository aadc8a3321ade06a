"""The scale of NSGA-III against pymoo's, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization

from evomerge.optimizers.map.hyperplane import Hyperplane
from evomerge.pareto import ranks


@given(
    seed=st.integers(0, 2**32),
    n_objectives=st.integers(2, 6),
    levels=st.sampled_from([0, 2, 5]),
    n_points=st.integers(1, 40),
)
def test_it_moves_as_pymoos_does(seed, n_objectives, levels, n_points):
    random = np.random.default_rng(seed)
    ours, theirs = Hyperplane(n_objectives), HyperplaneNormalization(n_objectives)
    for scale in (1.0, 0.5, 0.3):
        costs = scale * random.random((n_points, n_objectives))
        if levels:  # ties, and planes that cut no axis
            costs = np.round(costs * levels) / levels
        front = np.flatnonzero(ranks(costs) == 0)
        ours.update(costs, front)
        with warnings.catch_warnings():
            theirs.update(costs, nds=front)
        np.testing.assert_array_equal(ours.ideal, theirs.ideal_point)
        np.testing.assert_array_equal(ours.nadir, theirs.nadir_point)


def test_the_plane_cuts_the_axes_where_each_objective_counts_one():
    plane = Hyperplane(3)
    plane.update(np.diag([2.0, 3.0, 4.0]) + 0.0, np.arange(3))
    np.testing.assert_allclose(plane.ideal, 0.0)
    np.testing.assert_allclose(plane.nadir, [2.0, 3.0, 4.0])
