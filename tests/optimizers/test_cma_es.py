"""CMA-ES: the published parameters, convergence, restarts, and what failures must not do."""

from __future__ import annotations

import collections
import itertools
import math
import statistics

import cma
import numpy as np
import pytest

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers.cma_es import FLAT_GENERATIONS, CmaEs
from evomerge.optimizers.costs import ranked_costs
from evomerge.optimizers.random import RandomSearch
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.problems import (
    Problem,
    constant,
    continuous_domain,
    ellipsoid,
    integer_domain,
    mixed_domain,
    sphere,
)
from evomerge.testing.simulation import drive, proposals, trials
from evomerge.types import Completed, Trial


def best(events):
    return min(trial.costs[0] for trial in trials(events) if trial.costs)


def unit_domain(n_genes):
    return Domain(tuple(Gene(f"g{i}", initial=0.5) for i in range(n_genes)))


def test_published_parameters_for_six_genes():
    # arXiv 2403.13187: x0 = 0.5, sigma0 = 1/6, lambda = 4 + floor(3 ln 6) = 9
    optimizer = CmaEs(unit_domain(6), 1, 0, seeds=False)
    assert optimizer.population == 9
    assert optimizer.mean == pytest.approx((0.5,) * 6, abs=1e-15)
    assert optimizer.standard_deviations == pytest.approx((1 / 6,) * 6, rel=1e-4)
    generation = [optimizer.ask(number) for number in range(10)]
    assert [proposal is None for proposal in generation] == [False] * 9 + [True]


def test_standard_deviation_of_the_first_generation():
    optimizer = CmaEs(unit_domain(6), 1, 0, seeds=False, population=4000)
    sample = np.array([optimizer.ask(number).genotype for number in range(4000)])
    np.testing.assert_allclose(sample.mean(axis=0), 0.5, atol=0.02)
    # The third standard deviation is the bound: reflection narrows the sample by less than 1 %.
    np.testing.assert_allclose(sample.std(axis=0), 1 / 6, rtol=0.04)


def test_agrees_with_pycma_alone():
    problem = sphere(unit_domain(6))
    optimizer = CmaEs(problem.domain, 1, 42, seeds=False)
    ours = [p.genotype for p in proposals(drive(optimizer, problem, 90))]
    normals = np.random.default_rng(np.random.SeedSequence(42).spawn(2)[0])
    strategy = cma.CMAEvolutionStrategy(
        [0.5] * 6,
        1 / 6,
        {
            "bounds": [0, 1],
            "randn": lambda *shape: normals.standard_normal(shape),
            "seed": math.nan,
            "verbose": -9,
        },
    )
    theirs = []
    for _ in range(10):
        points = strategy.ask()
        theirs += [tuple(point.tolist()) for point in points]
        strategy.tell(points, [problem.costs(tuple(point.tolist()))[0] for point in points])
    assert ours == theirs


@pytest.mark.parametrize("n_genes", [1, 2, 6, 10])
def test_converges_on_the_sphere(n_genes):
    problem = sphere(continuous_domain(n_genes))
    assert best(drive(CmaEs(problem.domain, 1, 0), problem, 150 * (n_genes + 2))) < 1e-6


def test_converges_on_an_ill_conditioned_ellipsoid():
    problem = ellipsoid(6)
    assert best(drive(CmaEs(problem.domain, 1, 0), problem, 3000)) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_beats_random_search_at_equal_budget(seed):
    problem = sphere(continuous_domain(10))
    ours = best(drive(CmaEs(problem.domain, 1, seed), problem, 300))
    assert ours < 0.1 * best(drive(RandomSearch(problem.domain, 1, seed), problem, 300))


def test_converges_at_an_optimum_on_the_bounds():
    domain = unit_domain(4)
    problem = Problem("corner", domain, 1, lambda g: (math.fsum(g),))
    assert best(drive(CmaEs(domain, 1, 0), problem, 800)) < 1e-6


def test_starts_at_the_best_known_point():
    genes = unit_domain(5).genes
    good, bad = (0.3125,) * 5, (1.0,) * 5
    domain = Domain(genes, (Seed("bad", bad), Seed("good", good)))
    problem = sphere(domain)
    for start, expected in (("best", good), ("initial", (0.5,) * 5)):
        optimizer = CmaEs(domain, 1, 0, start=start)
        drive(optimizer, problem, 3)
        assert optimizer.mean == pytest.approx(expected, abs=1e-12)


def test_starts_at_the_initial_point_when_all_known_points_fail():
    domain = continuous_domain(3)
    optimizer = CmaEs(domain, 1, 0)
    drive(optimizer, sphere(domain), 3, failure_rate=1.0)
    assert optimizer.mean == pytest.approx((0.5,) * 3, abs=1e-12)


def test_uninformative_generations_leave_the_distribution_unchanged():
    problem = constant(continuous_domain(4))
    for failure_rate in (0.0, 0.5, 1.0):
        optimizer = CmaEs(problem.domain, 1, 3, seeds=False)
        before = optimizer.mean, optimizer.standard_deviations
        events = drive(optimizer, problem, 5 * optimizer.population, failure_rate=failure_rate)
        assert (optimizer.mean, optimizer.standard_deviations) == before
        generations = {proposal.genotype for proposal in proposals(events)}
        assert len(generations) == 5 * optimizer.population, "a redrawn generation repeats points"


def test_a_generation_of_many_genes_can_be_drawn_again():
    # above 300 genes pycma's default step-size rule cannot
    domain = unit_domain(301)
    optimizer = CmaEs(domain, 1, 0, seeds=False, population=6)
    counter = itertools.count()
    problem = Problem(
        "ties now and then", domain, 1, lambda g: ((next(counter) // 6 % 2) * math.fsum(g),)
    )
    assert len(trials(drive(optimizer, problem, 48))) == 48


def test_a_single_success_among_failures_leaves_the_distribution_unchanged():
    domain = continuous_domain(4)
    problem = sphere(domain)
    optimizer = CmaEs(domain, 1, 3, seeds=False)
    before = optimizer.mean, optimizer.standard_deviations
    for number in range(optimizer.population):
        genotype = optimizer.ask(number).genotype
        trial = problem.failed if number else problem.completed
        optimizer.tell(trial(number, genotype))
    assert (optimizer.mean, optimizer.standard_deviations) == before


def test_failures_move_the_mean_away():
    domain = unit_domain(2)
    optimizer = CmaEs(domain, 1, 0, seeds=False)
    problem = sphere(domain)
    for number in range(8 * optimizer.population):
        genotype = optimizer.ask(number).genotype
        # everything right of 0.5 fails; elsewhere the cost falls towards the right
        if genotype[0] > 0.5:
            optimizer.tell(problem.failed(number, genotype))
        else:
            cost = -genotype[0]
            optimizer.tell(Trial(number, genotype, Completed({"c": cost}), (cost,)))
    assert 0.3 < optimizer.mean[0] < 0.55


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([1.0, None, 3.0], [1.0, 5.0, 3.0]),
        ([None, None], None),
        ([2.0, 2.0, None], None),
        ([2.0, None], None),
        ([-4.0, -8.0, None, None], [-4.0, -8.0, 0.0, 0.0]),
    ],
)
def test_failures_cost_the_worst_plus_the_range(costs, expected):
    assert ranked_costs(costs) == expected


@pytest.mark.parametrize(
    "costs", [[1e308, -1e308, None], [2.0**53 - 1, 2.0**53, None], [5e-324, 0, None]]
)
def test_failures_rank_last_at_any_magnitude(costs):
    ranked = ranked_costs(costs)
    assert all(math.isfinite(cost) for cost in ranked)
    assert ranked[2] > max(ranked[:2])


def test_ipop_doubles_the_population():
    problem = sphere(continuous_domain(2))
    optimizer = CmaEs(problem.domain, 1, 0, max_restarts=2)
    events = drive(optimizer, problem, 5000)
    origins = [proposal.origin for proposal in proposals(events)]
    sizes = [origins.count(f"cma:{run}gen2") for run in ("", "run2:", "run3:")]
    assert sizes == [6, 12, 24]
    assert optimizer.n_restarts == 2
    assert "after 2 restarts" in optimizer.stop_reason()
    assert optimizer.ask(99999) is None
    assert "run4:" not in "".join(origins)


def test_no_restarts_stops_with_the_reason():
    problem = sphere(continuous_domain(2))
    optimizer = CmaEs(problem.domain, 1, 0, restarts="none")
    events = drive(optimizer, problem, 5000)
    assert len(trials(events)) < 1000
    assert "tolfun" in optimizer.stop_reason()


def test_bipop_runs_small_and_large_populations():
    problem = sphere(continuous_domain(2))
    optimizer = CmaEs(problem.domain, 1, 0, restarts="bipop")
    origins = [p.origin for p in proposals(drive(optimizer, problem, 6000))]
    runs = range(2, optimizer.n_restarts + 1)
    sizes = [origins.count(f"cma:run{run}:gen1") for run in runs]
    large = [6 * 2**k for k in range(1, 10)]
    assert [size for size in sizes if size in large][:2] == large[:2]
    assert any(size < 12 for size in sizes[1:]), "no small run"
    last_large = 0
    for run, size in zip(runs, sizes, strict=True):
        length = sum(f":run{run}:" in origin for origin in origins)
        if size in large:
            last_large = length
        else:
            assert length < last_large / 2 + size, "a small run outlived its share"


def test_small_runs_end_with_their_share():
    # noise never converges by itself; a first run of one level is ended by ties
    domain = continuous_domain(2)
    counter = itertools.count()

    def costs(genotype):
        number = next(counter)
        return (1.0,) if number < 200 else (math.sin(1e6 * math.fsum(genotype)),)

    problem = Problem("noise after ties", domain, 1, costs)
    optimizer = CmaEs(domain, 1, 0, restarts="bipop", seeds=False)
    origins = [p.origin for p in proposals(drive(optimizer, problem, 1500))]
    lengths = collections.Counter(origin.rpartition(":")[0] for origin in origins)
    # 60 evaluations in the first run, 120 in the second and large one, so 60 in a small third
    assert [lengths[run] for run in ("cma", "cma:run2")] == [60, 120]
    assert 60 <= lengths["cma:run3"] < 60 + 12


def test_endless_ties_end_a_run():
    problem = constant(continuous_domain(3))
    optimizer = CmaEs(problem.domain, 1, 0, restarts="none", seeds=False)
    events = drive(optimizer, problem, 10_000)
    assert len(trials(events)) == FLAT_GENERATIONS * optimizer.population
    assert "without two different costs" in optimizer.stop_reason()


def test_coarse_scores_do_not_end_a_run():
    # an accuracy over 16 items: most generations are full of ties
    domain = unit_domain(6)
    problem = Problem(
        "coarse", domain, 1, lambda g: (-round(16 * (1 - sum((x - 0.3) ** 2 for x in g))) / 16,)
    )
    optimizer = CmaEs(domain, 1, 0)
    drive(optimizer, problem, 300)
    assert optimizer.n_restarts == 0
    assert max(abs(x - 0.3) for x in optimizer.mean) < 0.2


@pytest.mark.parametrize(
    ("n_genes", "option", "expected"),
    [(100, "auto", False), (101, "auto", True), (3, True, True), (101, False, False)],
)
def test_separable_above_a_hundred_genes(n_genes, option, expected):
    optimizer = CmaEs(unit_domain(n_genes), 1, 0, seeds=False, separable=option)
    assert optimizer.separable is expected
    strategy = optimizer._run.strategy
    assert (strategy.sm.covariance_matrix is None) is expected


def test_the_published_dimension_runs():
    # arXiv 2403.13187: 192 slots and a 64 x 64 matrix of scales, population 128
    slots = [
        Gene(
            f"slot{i}",
            "categorical",
            initial="on" if i < 32 else "off",
            choices=("off", "on"),
            weights=(0.023, 0.977) if i < 32 else (0.977, 0.023),
        )
        for i in range(192)
    ]
    scales = [Gene(f"w{i}", low=0.4, high=1.6, initial=1.0, spread=0.1) for i in range(64 * 64)]
    domain = Domain((*slots, *scales))
    optimizer = CmaEs(domain, 1, 0, seeds=False, population=128)
    assert optimizer.separable
    assert optimizer.standard_deviations == pytest.approx([1 / 6] * 192 + [1 / 12] * 4096, rel=1e-3)
    assert optimizer.mean[:1] + optimizer.mean[-1:] == pytest.approx(
        (0.5 + 1.9954 / 6, 0.5), abs=1e-5
    )
    first = [optimizer.ask(number).genotype for number in range(128)]
    assert optimizer.ask(128) is None
    assert np.std([genotype[192:] for genotype in first]) == pytest.approx(0.1, abs=0.003)
    for number, genotype in enumerate(first):
        cost = math.fsum(genotype[192:])
        optimizer.tell(Trial(number, genotype, Completed({"c": cost}), (cost,)))
    assert optimizer.ask(128).origin == "cma:gen2"
    assert statistics.mean(optimizer.mean[192:]) < 0.5


def test_integer_genes_never_freeze():
    domain = integer_domain(0, 9, 5)
    optimum = (7, 2, 9, 0, 5)
    problem = Problem(
        "steps",
        domain,
        1,
        lambda g: (float(sum(abs(a - b) for a, b in zip(g, optimum, strict=True))),),
    )
    optimizer = CmaEs(domain, 1, 0)
    assert best(drive(optimizer, problem, 600)) == 0.0


def test_integer_genes_keep_their_margin():
    continuous = Gene("x", initial=0.5)
    domain = Domain((continuous, *integer_domain(0, 9, 3).genes))
    problem = Problem(
        "steps", domain, 1, lambda g: ((g[0] - 0.3) ** 2 + sum(abs(k - 4) for k in g[1:]),)
    )
    optimizer = CmaEs(domain, 1, 0, restarts="none")
    drive(optimizer, problem, 1000)
    alpha = 1 / (4 * optimizer.population)
    margin = 0.05 / statistics.NormalDist().inv_cdf(1 - alpha / 2)
    first, *others = optimizer.standard_deviations
    assert first < 0.1 * margin
    assert all(deviation > 0.99 * margin for deviation in others)


def test_binary_genes_are_searched():
    genes = tuple(
        Gene(f"b{i}", "categorical", initial="off", choices=("off", "on")) for i in range(12)
    )
    domain = Domain(genes)
    target = tuple("on" if i % 3 else "off" for i in range(12))
    problem = Problem(
        "bits", domain, 1, lambda g: (float(sum(a != b for a, b in zip(g, target, strict=True))),)
    )
    assert best(drive(CmaEs(domain, 1, 0), problem, 600)) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma0": 0}, "sigma0: expected a number above 0 and at most 1, got 0"),
        ({"sigma0": math.nan}, "sigma0: expected a number"),
        ({"population": 2}, "population: expected an integer >= 3, got 2"),
        ({"population": True}, "population: expected an integer >= 3, got True"),
        ({"restarts": "ipo"}, "did you mean 'ipop'?"),
        ({"start": "middle"}, "start: 'middle' is unknown"),
        ({"separable": "yes"}, "separable: expected true or false, got 'yes'"),
        ({"max_restarts": -1}, "max_restarts: expected an integer >= 0"),
        ({"seeds": 1}, "seeds: expected true or false, got 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=r"^[a-z0-9_]+: ") as error:
        CmaEs(unit_domain(3), 1, 0, **options)
    assert message in str(error.value)


def test_several_objectives_are_refused():
    with pytest.raises(ConfigError, match=r"takes 1 objective, got 2"):
        CmaEs(unit_domain(3), 2, 0)


def test_unordered_choices_are_refused():
    with pytest.raises(SpaceError, match=r"'method' has 4 unordered choices.*nsga2"):
        CmaEs(mixed_domain(), 1, 0)
