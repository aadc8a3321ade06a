"""NSGA-II and NSGA-III on arrays against pymoo's own, and against a front that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3, ReferenceDirectionSurvival, associate_to_niches
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from evomerge.optimizers.map.evolution import Niches, evolved
from evomerge.pareto import hypervolume, non_dominated, ranks

N_GENES = 6
LOW, HIGH = np.zeros(N_GENES), np.linspace(0.5, 1.0, N_GENES)


def spheres(points, n_objectives):
    centres = np.random.default_rng(100 + n_objectives).random((n_objectives, N_GENES)) * HIGH
    return ((points[:, None] - centres) ** 2).sum(axis=2)


class Spheres(Problem):
    def __init__(self, n_objectives):
        super().__init__(n_var=N_GENES, n_obj=n_objectives, xl=LOW, xu=HIGH)

    def _evaluate(self, x, out, *_args, **_options):
        out["F"] = spheres(x, self.n_obj)


def start_of(seed, count=60):
    return LOW + np.random.default_rng(seed).random((count, N_GENES)) * (HIGH - LOW)


def directions_of(n_objectives):
    divisions = {3: 6, 4: 4, 5: 3}[n_objectives]
    return get_reference_directions("das-dennis", n_objectives, n_partitions=divisions)


def run(n_objectives, seed, generations, violation=None, directions=None):
    def evaluate(points):
        beyond = np.zeros(len(points)) if violation is None else violation(points)
        return spheres(points, n_objectives), beyond

    random = np.random.default_rng(seed)
    return evolved(evaluate, LOW, HIGH, start_of(seed), generations, random, directions)


@pytest.mark.parametrize("n_objectives", [1, 2, 3])
def test_it_comes_as_far_as_pymoos(n_objectives):
    reference = np.ones(n_objectives)
    ours = [hypervolume(spheres(run(n_objectives, s, 25), n_objectives), reference) for s in (1, 2)]
    theirs = []
    for seed in (1, 2):
        algorithm = NSGA2(pop_size=60, sampling=start_of(seed))
        found = minimize(Spheres(n_objectives), algorithm, ("n_gen", 26), seed=seed).pop
        theirs.append(hypervolume(found.get("F"), reference))
    start = hypervolume(spheres(start_of(1), n_objectives), reference)
    assert np.mean(ours) > start
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)


@pytest.mark.parametrize("n_objectives", [3, 4, 5])
def test_by_directions_it_comes_as_far_as_pymoos(n_objectives):
    reference, directions = np.ones(n_objectives), directions_of(n_objectives)
    ours, theirs = [], []
    for seed in (1, 2, 3):
        found = run(n_objectives, seed, 25, directions=directions)
        ours.append(hypervolume(spheres(found, n_objectives), reference))
        algorithm = NSGA3(directions, pop_size=60, sampling=start_of(seed))
        found = minimize(Spheres(n_objectives), algorithm, ("n_gen", 26), seed=seed).pop
        theirs.append(hypervolume(found.get("F"), reference))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.03)


@given(seed=st.integers(0, 2**16), n_objectives=st.integers(3, 5), count=st.integers(1, 59))
def test_niches_get_as_many_survivors_as_pymoo_gives_them(seed, n_objectives, count):
    random = np.random.default_rng(seed)
    costs = random.random((60, n_objectives))  # no point half-way between two directions
    directions, layer = directions_of(n_objectives), ranks(costs)
    preferred = Niches(directions, random)(costs, layer, count)
    ours = np.lexsort((-preferred, layer))[:count]
    survival = ReferenceDirectionSurvival(directions)
    survivors = survival.do(
        Problem(n_obj=n_objectives),
        Population.new(X=np.arange(60)[:, None], F=costs),
        n_survive=count,
        random_state=np.random.default_rng(seed),
    )
    theirs = survivors.get("X").ravel()
    whole = layer < layer[ours].max()
    assert set(np.flatnonzero(whole)) <= set(ours)
    normal = survival.norm
    niche, distance, _ = associate_to_niches(
        costs, directions, normal.ideal_point, normal.nadir_point
    )
    counts = [np.bincount(niche[rows], minlength=len(directions)) for rows in (ours, theirs)]
    np.testing.assert_array_equal(*map(np.sort, counts))
    for one in np.setdiff1d(niche[ours], niche[whole]):  # empty before: the nearest comes first
        rows = np.flatnonzero((niche == one) & (layer == layer[ours].max()))
        assert distance[rows].min() == pytest.approx(distance[np.intersect1d(rows, ours)].min())


def test_it_stays_in_the_box_and_follows_from_the_seed():
    found = run(2, 3, 10)
    assert found.shape == (60, N_GENES)
    assert ((found >= LOW) & (found <= HIGH)).all()
    np.testing.assert_array_equal(found, run(2, 3, 10))
    assert not np.array_equal(found, run(2, 4, 10))


def test_no_point_is_kept_twice():
    found = run(1, 6, 30)
    assert len(np.unique(found, axis=0)) == len(found)


def test_points_that_violate_dominate_nobody():
    # The front lies beyond the limit, so that most of what is found there violates it.
    def violation(points):
        return np.maximum(0.35 - points.mean(axis=1), 0.0)

    for seed in range(3):
        found = run(2, seed, 40, violation)
        costs = spheres(found, 2)
        assert (violation(found) <= 0).all()
        assert len(non_dominated(costs)) == len(found)


def test_points_that_violate_come_last():
    def violation(points):
        return np.maximum(points[:, 0] - 0.2, 0.0)

    found = run(2, 5, 20, violation)
    assert (violation(found) <= 0).all()
    first = run(2, 5, 0, violation)
    beyond = violation(first)
    assert (np.diff(beyond) >= 0).all()
    assert beyond[0] == 0.0 < beyond[-1]
