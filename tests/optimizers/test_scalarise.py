"""Scalarisation: the formulas by hand, the goals of the anchors, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evomerge.errors import ConfigError
from evomerge.optimizers import Combination, Needs, Scalarised
from evomerge.optimizers.cma_es import CmaEs
from evomerge.optimizers.random import RandomSearch
from evomerge.testing.problems import Problem, continuous_domain, sphere
from evomerge.testing.simulation import drive, trials
from evomerge.types import Completed, Trial

DOMAIN = continuous_domain(2)


def wrapped(n_objectives=2, *args, **options):
    combination = Combination.of(n_objectives, *args, **options)
    return Scalarised(RandomSearch(DOMAIN, 1, 0), combination)


def test_mean():
    assert wrapped(3).combination.cost((1.0, 2.0, 6.0)) == pytest.approx(3.0, rel=1e-15)


def test_weighted():
    scalar = wrapped(2, "weighted", [3.0, 1.0])
    assert scalar.combination.cost((1.0, 5.0)) == pytest.approx(0.75 * 1 + 0.25 * 5, rel=1e-15)


def test_weighted_with_anchors():
    # objective 0 minimised from 10 down to 2, objective 1 maximised (cost -m) from 0.5 up to 0.9
    scalar = wrapped(2, "weighted", [1, 3], [(2, 10), (0.9, 0.5)])
    assert scalar.combination.cost((2.0, -0.9)) == pytest.approx(0.0, abs=1e-15)
    assert scalar.combination.cost((10.0, -0.5)) == pytest.approx(1.0, rel=1e-15)
    assert scalar.combination.cost((6.0, -0.6)) == pytest.approx(
        0.25 * 0.5 + 0.75 * 0.75, rel=1e-12
    )


def test_tchebycheff():
    scalar = wrapped(2, "tchebycheff", [1, 1], [(0, 1), (0, 2)])
    terms = (0.5 * 0.3, 0.5 * 0.4)
    assert scalar.combination.cost((0.3, 0.8)) == pytest.approx(
        max(terms) + 0.05 * sum(terms), rel=1e-12
    )


def test_tchebycheff_prefers_the_dominating_of_two_equal_maxima():
    scalar = wrapped(2, "tchebycheff", anchors=[(0, 1), (0, 1)])
    assert scalar.combination.cost((0.5, 0.1)) < scalar.combination.cost((0.5, 0.2))


@pytest.mark.parametrize(
    ("method", "weights", "anchors"),
    [
        ("mean", None, None),
        ("weighted", [3, 1], [(2, 10), (0.9, 0.5)]),
        ("tchebycheff", [3, 1], [(2, 10), (0.9, 0.5)]),
    ],
)
def test_the_error_is_that_of_costs_drawn_with_theirs(method, weights, anchors):
    scalar = wrapped(2, method, weights, anchors)
    costs, errors = (6.0, -0.65), (0.08, 0.01)  # the greatest term stays the greatest
    draws = np.random.default_rng(3).normal(costs, errors, (20_000, 2))
    spread = np.std([scalar.combination.cost(tuple(draw)) for draw in draws])
    assert scalar.combination.error(costs, errors) == pytest.approx(spread, rel=0.03)


def test_tells_the_error_of_an_estimate_and_none_of_a_score():
    told = []

    class Recorder(RandomSearch):
        def tell(self, trial):
            told.append(trial)

    scalar = Scalarised(Recorder(DOMAIN, 1, 0), Combination.of(2))
    for number, errors in enumerate([(0.3, 0.4), ()]):
        genotype = scalar.ask(number).genotype
        outcome = Completed({"one": 1.0, "two": 3.0})
        scalar.tell(Trial(number, genotype, outcome, (1.0, 3.0), errors))
    assert [trial.costs for trial in told] == [(2.0,), (2.0,)]
    assert told[0].errors == pytest.approx((0.25,))
    assert told[1].errors == ()


@pytest.mark.parametrize(("method", "target"), [("mean", 0.5), ("tchebycheff", 0.5)])
def test_finds_the_compromise_of_two_spheres(method, target):
    problem = sphere(continuous_domain(3), 2)  # optima at 0.3 and 0.7 of every range
    optimizer = Scalarised(CmaEs(problem.domain, 1, 0), Combination.of(2, method))
    best = min(
        trials(drive(optimizer, problem, 500)), key=lambda t: optimizer.combination.cost(t.costs)
    )
    assert problem.domain.to_unit(best.genotype) == pytest.approx([target] * 3, abs=1e-3)


def test_tchebycheff_reaches_a_concave_front_where_sums_cannot():
    # f = (u, 1 - u^2): any weighted sum is least at an end of the front
    domain = continuous_domain(1)

    def costs(genotype):
        (unit,) = domain.to_unit(genotype)
        return (unit, 1 - unit**2)

    problem = Problem("concave", domain, 2, costs)
    found = {}
    for method in ("mean", "tchebycheff"):
        optimizer = Scalarised(CmaEs(domain, 1, 0, restarts="none"), Combination.of(2, method))
        best = min(
            trials(drive(optimizer, problem, 300)),
            key=lambda t: optimizer.combination.cost(t.costs),
        )
        (found[method],) = domain.to_unit(best.genotype)
    assert found["mean"] in (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert found["tchebycheff"] == pytest.approx((math.sqrt(5) - 1) / 2, abs=1e-3)


def test_costs_near_the_float_range_stay_finite():
    scalar = wrapped(2, "weighted", [1, 1], [(0, 1e-300), (1e308, -1e308)])
    for costs in ((1e308, -1e308), (-1e308, 1e308), (5e-324, 0.0)):
        assert math.isfinite(scalar.combination.cost(costs))


def test_needs_many_objectives_and_passes_the_reason_to_stop():
    inner = CmaEs(DOMAIN, 1, 0, restarts="none")
    optimizer = Scalarised(inner, Combination.of(2))
    assert optimizer.needs == Needs(objectives="many", compares="generation", generations=True)
    drive(optimizer, sphere(DOMAIN, 2), 3000)
    assert optimizer.stop_reason() == inner.stop_reason() is not None


@pytest.mark.parametrize(
    ("n_objectives", "options", "message"),
    [
        (1, {}, "n_objectives: expected an integer >= 2, got 1"),
        (2, {"method": "mea"}, "method: 'mea' is unknown; did you mean 'mean'?"),
        (2, {"method": "weighted"}, "method 'weighted' needs one weight per objective"),
        (2, {"method": "weighted", "weights": [1]}, "weights: expected 2 numbers >= 0"),
        (2, {"method": "weighted", "weights": [0, 0]}, "not all 0"),
        (2, {"method": "weighted", "weights": [1, -1]}, "weights: expected 2 numbers >= 0"),
        (2, {"method": "weighted", "weights": [1, math.nan]}, "weights: expected finite numbers"),
        (2, {"weights": [1, 2]}, "method 'mean' weighs all objectives alike"),
        (2, {"method": "tchebycheff", "weights": [1, 2]}, "need anchors"),
        (2, {"anchors": [(0, 1)]}, "anchors: expected 2 of [ideal, reference], got 1"),
        (2, {"anchors": [(0, 1), (1, 1)]}, "anchors: expected [ideal, reference], two numbers"),
        (2, {"anchors": [(0, 1), ("a", 1)]}, "anchors: expected finite numbers, got 'a'"),
    ],
)
def test_arguments_are_checked(n_objectives, options, message):
    with pytest.raises(ConfigError) as error:
        wrapped(n_objectives, **options)
    assert message in str(error.value)


def test_optimizers_that_need_more_than_one_cost_are_refused():
    inner = RandomSearch(DOMAIN, 1, 0)
    for needs, message in (
        (Needs(objectives="many"), "takes several objectives"),
        (Needs(examples=True), "reads per-example scores"),
    ):
        inner.needs = needs
        with pytest.raises(ConfigError, match=message):
            Scalarised(inner, Combination.of(2))
