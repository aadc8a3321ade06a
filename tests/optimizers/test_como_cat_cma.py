"""COMO-CatCMA: a known front, kernels that do not drift, and where failures stand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from evomerge.errors import ConfigError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.como_cat_cma import ComoCatCma
from evomerge.optimizers.random import RandomSearch
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.problems import (
    Problem,
    conditional_domain,
    constant,
    continuous_domain,
    mixed_domain,
    sphere,
)
from evomerge.testing.simulation import drive, proposals, trials


def hypervolume(events, reference):
    """Sum of the rectangles under the sorted two-objective staircase."""
    points = sorted(trial.costs for trial in trials(events) if trial.costs)
    volume, height = 0.0, reference[1]
    for first, second in points:
        if first < reference[0] and second < height:
            volume += (reference[0] - first) * (height - second)
            height = second
    return volume


def bits_and_scale(n_bits):
    """f1 counts 'on', f2 counts 'off', both add (x - 0.3)^2: the front has n_bits + 1 points."""
    bits = tuple(
        Gene(f"b{i}", "categorical", initial="off", choices=("off", "on")) for i in range(n_bits)
    )
    domain = Domain((*bits, Gene("x", initial=0.5)))

    def costs(genotype):
        on = sum(value == "on" for value in genotype[:-1])
        distance = (genotype[-1] - 0.3) ** 2
        return (on + distance, n_bits - on + distance)

    return Problem("bits", domain, 2, costs)


@pytest.mark.parametrize("seed", range(2))
def test_finds_every_point_of_a_discrete_front(seed):
    problem = bits_and_scale(6)
    events = drive(ComoCatCma(problem.domain, 2, seed), problem, 2500)
    found = {
        round(trial.costs[0]) for trial in trials(events) if abs(trial.genotype[-1] - 0.3) < 0.05
    }
    assert found == set(range(7))
    # with x = 0.3 the staircase through (k, 6 - k) dominates 28 of the 49 below (7, 7)
    assert 27 < hypervolume(events, (7, 7)) < 28


@pytest.mark.parametrize("seed", range(2))
def test_approaches_the_line_between_two_optima(seed):
    # two spheres: the front is f1 = d t^2, f2 = d (1 - t)^2 with d = 0.16 n
    problem = sphere(continuous_domain(3), 2)
    events = drive(ComoCatCma(problem.domain, 2, seed), problem, 3000)
    d = 0.48
    ideal = d * d - d * d / 6  # the square minus the integral under (sqrt(d) - sqrt(f1))^2
    ours = hypervolume(events, (d, d))
    assert 0.93 * ideal < ours < ideal
    theirs = hypervolume(drive(RandomSearch(problem.domain, 2, seed), problem, 3000), (d, d))
    assert ours > theirs


def kernels(optimizer):
    return [
        (kernel.mean, kernel.standard_deviations, kernel.probabilities)
        for kernel in optimizer.kernels
    ]


@pytest.mark.parametrize("failure_rate", [0.0, 0.5, 1.0])
def test_ties_and_failures_leave_all_kernels_unchanged(failure_rate):
    problem = constant(conditional_domain(), 2)
    optimizer = ComoCatCma(problem.domain, 2, 1, kernels=3, seeds=False, population=8)
    before = kernels(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events = drive(optimizer, problem, 150, failure_rate=failure_rate, workers=3)
    assert kernels(optimizer) == before
    assert len({proposal.genotype for proposal in proposals(events)}) > 100
    # and the first generations with costs move them
    number = 150
    while kernels(optimizer) == before and number < 200:
        proposal = optimizer.ask(number)
        optimizer.tell(sphere(problem.domain, 2).completed(number, proposal.genotype))
        number += 1
    assert kernels(optimizer) != before


def test_failures_stand_behind_every_completed_candidate():
    domain = continuous_domain(2)
    problem = sphere(domain, 2)
    optimizer = ComoCatCma(domain, 2, 0, kernels=3, seeds=False, population=10)
    told = []
    tell = optimizer._como.tell
    optimizer._como.tell = lambda solutions: (told.append(list(solutions)), tell(solutions))
    events = drive(optimizer, problem, 200, failure_rate=0.4)
    completed = [trial.costs for trial in trials(events) if trial.costs]
    worst, best = np.max(completed, axis=0), np.min(completed, axis=0)
    costs = np.array([costs for generation in told for _, costs in generation])
    assert np.isfinite(costs).all()
    assert (costs <= worst + 0.0101 * (worst - best)).all(), "the reference point would run away"
    seen = 0
    for generation in told:
        values = [tuple(costs) for _, costs in generation]
        failed = {value for value in values if value not in completed}
        seen += len(failed)
        for value in failed:
            assert all(np.less(other, value).all() for other in values if other in completed)
    assert seen > 5


def test_failures_do_not_keep_a_front_from_being_found():
    problem = bits_and_scale(4)
    events = drive(
        ComoCatCma(problem.domain, 2, 0, kernels=5), problem, 2000, failure_rate=0.3, workers=4
    )
    found = {
        round(trial.costs[0])
        for trial in trials(events)
        if trial.costs and abs(trial.genotype[-1] - 0.3) < 0.1
    }
    assert found == set(range(5))


def test_kernels_start_at_the_best_known_points():
    genes = continuous_domain(2).genes
    points = {"worst": (2.0, 2.0), "first": (-0.1, -0.1), "second": (1.1, 1.1)}
    domain = Domain(genes, tuple(Seed(name, point) for name, point in points.items()))
    optimizer = ComoCatCma(domain, 2, 0, kernels=3)
    drive(optimizer, sphere(domain, 2), 4)
    # the initial point (0.5, 0.5) lies between the optima, so nothing dominates it either
    expected = [domain.to_unit(point) for point in ((-0.1, -0.1), (1.1, 1.1), (0.5, 0.5))]
    assert [kernel.mean for kernel in optimizer.kernels] == [
        pytest.approx(tuple(mean)) for mean in expected
    ]
    optimizer = ComoCatCma(domain, 2, 0, kernels=3, start="initial")
    drive(optimizer, sphere(domain, 2), 4)
    assert optimizer.kernels[0].mean == pytest.approx((0.5, 0.5))


def test_a_generation_is_one_kernel_and_the_incumbents():
    optimizer = ComoCatCma(mixed_domain(), 2, 0, kernels=4, population=9, seeds=False)
    origins = [p.origin for p in proposals(drive(optimizer, sphere(mixed_domain(), 2), 60))]
    assert origins.count("como_cat_cma:gen1") == 9 + 3
    assert [origins.count(f"como_cat_cma:gen{k}") for k in (2, 3, 4)] == [10] * 3


def test_stops_when_all_kernels_have_converged():
    problem = sphere(continuous_domain(1), 2)
    optimizer = ComoCatCma(problem.domain, 2, 0, kernels=2)
    events = drive(optimizer, problem, 6000)
    assert len(trials(events)) < 6000
    assert optimizer.stop_reason() == "como_cat_cma: all kernels have converged"
    assert optimizer.ask(10_000) is None


@pytest.mark.parametrize(
    ("n_objectives", "message"),
    [
        (1, "needs two objectives and the study has 1; use cma_es, or cat_cma"),
        (3, "takes exactly two objectives and the study has 3; use nsga2"),
    ],
)
def test_other_numbers_of_objectives_are_refused(n_objectives, message):
    with pytest.raises(ConfigError) as error:
        build_optimizer("como_cat_cma", mixed_domain(), n_objectives, 0, {})
    assert message in str(error.value)
    with pytest.raises(ConfigError, match=f"takes 2 objectives, got {n_objectives}; use nsga2"):
        ComoCatCma(mixed_domain(), n_objectives, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": 1}, "kernels: expected an integer >= 2, got 1"),
        ({"population": 3}, "population: expected an integer >= 4, got 3"),
        ({"start": "middle"}, "start: 'middle' is unknown"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        ComoCatCma(mixed_domain(), 2, 0, **options)
    assert message in str(error.value)
