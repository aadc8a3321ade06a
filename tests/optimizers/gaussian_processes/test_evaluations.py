"""Evaluations: what is evaluated, in flight and failed, and what a model is fitted to."""

from __future__ import annotations

import numpy as np

from evomerge.optimizers.gaussian_processes.evaluations import Evaluations
from evomerge.pareto import non_dominated
from evomerge.types import Completed, Failed, Trial


def told(evaluations, number, costs):
    evaluations.open(number, np.array([number / 100]))
    outcome = Failed("error", "on purpose") if costs is None else Completed({})
    evaluations.close(Trial(number, (number / 100,), outcome, costs))


def test_points_go_where_their_trials_went():
    evaluations = Evaluations(1, 2)
    assert evaluations.points.shape == (0, 1)
    assert evaluations.costs.shape == (0, 2)
    told(evaluations, 0, (1.0, 2.0))
    told(evaluations, 1, None)
    evaluations.open(2, np.array([0.02]))
    assert len(evaluations) == 1
    assert evaluations.points.tolist() == [[0.0]]
    assert evaluations.costs.tolist() == [[1.0, 2.0]]
    assert sorted(evaluations.avoided[:, 0]) == [0.01, 0.02]


def test_a_model_is_fitted_to_the_front_and_the_latest():
    evaluations = Evaluations(1, 2)
    costs = np.random.default_rng(0).random((40, 2))
    for number, row in enumerate(costs):
        told(evaluations, number, tuple(row))
    front = set(non_dominated(costs).tolist())
    assert evaluations.modelled(40).tolist() == list(range(40))
    kept = evaluations.modelled(len(front) + 5).tolist()
    assert kept == sorted(kept)
    assert front <= set(kept)
    others = [index for index in range(40) if index not in front]
    assert set(kept) - front == set(others[-5:])
    assert len(evaluations.modelled(3)) == 3
    assert set(evaluations.modelled(3).tolist()) <= front
