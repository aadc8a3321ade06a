"""NSGA-II: agreement with pymoo alone, a known front, and populations that fail or run dry."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.problems.static import StaticProblem

from evomerge.errors import ConfigError
from evomerge.optimizers.mixed_variation import crossover, mutation, snapped
from evomerge.optimizers.nsga2 import Nsga2
from evomerge.optimizers.random import RandomSearch
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.problems import (
    ZDT1_HYPERVOLUME,
    ZDT1_REFERENCE,
    Problem,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sphere,
    zdt1,
)
from evomerge.testing.simulation import drive, proposals, trials


def hypervolume(events, reference=ZDT1_REFERENCE):
    """Sum of the rectangles under the sorted two-objective staircase."""
    points = sorted(trial.costs for trial in trials(events) if trial.costs)
    volume, height = 0.0, reference[1]
    for first, second in points:
        if first < reference[0] and second < height:
            volume += (reference[0] - first) * (height - second)
            height = second
    return volume


def test_agrees_with_pymoo_alone():
    problem = zdt1(5)
    ours = Nsga2(problem.domain, 2, 11, seeds=False, population=10)
    run = [p.genotype for p in proposals(drive(ours, problem, 100))]
    first = np.array(run[:10])
    algorithm = NSGA2(
        pop_size=10, sampling=first, crossover=SBX(eta=15, prob=0.9), mutation=PM(eta=20), seed=11
    )
    unconstrained = PymooProblem(n_var=5, n_obj=2, xl=0.0, xu=1.0)
    algorithm.setup(unconstrained, termination=NoTermination())
    theirs = []
    for _ in range(10):
        offspring = algorithm.ask()
        rows = offspring.get("X")
        theirs += [tuple(row.tolist()) for row in rows]
        costs = np.array([problem.costs(tuple(row.tolist())) for row in rows])
        Evaluator().eval(StaticProblem(unconstrained, F=costs), offspring)
        algorithm.tell(infills=offspring)
    assert run == theirs


@pytest.mark.parametrize("seed", range(3))
def test_approaches_the_known_hypervolume(seed):
    problem = zdt1(6)
    events = drive(Nsga2(problem.domain, 2, seed), problem, 2400)
    assert 0.97 * ZDT1_HYPERVOLUME < hypervolume(events) < ZDT1_HYPERVOLUME


@pytest.mark.parametrize("seed", range(3))
def test_beats_random_search_at_equal_budget(seed):
    problem = zdt1(6)
    ours = hypervolume(drive(Nsga2(problem.domain, 2, seed), problem, 480))
    theirs = hypervolume(drive(RandomSearch(problem.domain, 2, seed), problem, 480))
    assert ours > 1.5 * theirs


def test_minimises_one_objective():
    problem = sphere(continuous_domain(4))
    events = drive(Nsga2(problem.domain, 1, 0), problem, 960)
    assert min(trial.costs[0] for trial in trials(events)) < 1e-3


def test_generation_zero_is_known_points_and_uniform_ones():
    problem = sphere(continuous_domain(4), 2)
    optimizer = Nsga2(problem.domain, 2, 0, population=12)
    first = [optimizer.ask(number) for number in range(13)]
    assert first[12] is None
    assert [p.origin for p in first[:3]] == ["seed:corner", "seed:ones", "initial"]
    assert {p.origin for p in first[3:12]} == {"nsga2:gen0"}
    assert len({p.genotype for p in first[:12]}) == 12


def test_more_known_points_than_population():
    rng = np.random.default_rng(0)
    genes = tuple(Gene(f"g{i}", initial=0.5) for i in range(3))
    seeds = tuple(Seed(f"s{k}", tuple(rng.random(3).tolist())) for k in range(9))
    problem = sphere(Domain(genes, seeds), 2)
    events = drive(Nsga2(problem.domain, 2, 0, population=4), problem, 30, workers=3)
    run = proposals(events)
    assert [p.origin for p in run[:10]] == [*(f"seed:s{k}" for k in range(9)), "initial"]
    assert [p.origin for p in run[10:15]] == ["nsga2:gen1"] * 4 + ["nsga2:gen2"]


def test_failures_do_not_breed():
    # the left half fails; after some generations nobody is proposed deep inside it
    problem = zdt1(4)
    optimizer = Nsga2(problem.domain, 2, 0, population=16)
    for number in range(320):
        genotype = optimizer.ask(number).genotype
        trial = problem.failed if genotype[1] < 0.5 else problem.completed
        optimizer.tell(trial(number, genotype))
    assert all(x >= 0.5 for x in optimizer._algorithm.pop.get("X")[:, 1])


def test_a_failed_first_generation_is_replaced_by_the_first_success():
    problem = zdt1(4)
    optimizer = Nsga2(problem.domain, 2, 0, population=6)
    for number in range(12):
        genotype = optimizer.ask(number).genotype
        # a cost far worse than any other must still beat every failure
        success = Problem("far", problem.domain, 2, lambda _: (1e6, 1e6)).completed
        optimizer.tell((success if number == 8 else problem.failed)(number, genotype))
    population = optimizer._algorithm.pop
    assert population.get("F")[0].tolist() == [1e6, 1e6]
    assert population.get("feas").ravel().tolist() == [True] + [False] * 5


def test_mixed_genes_reach_the_optimum():
    domain = mixed_domain()
    best = {"depth": 6, "switch": "on", "method": "d"}

    def costs(genotype):
        values = dict(zip((gene.name for gene in domain.genes), genotype, strict=True))
        wrong = sum(values[name] != value for name, value in best.items())
        return (wrong + abs(values["weight"] - 1.0), wrong + abs(values["rate"] - 0.1))

    problem = Problem("mixed", domain, 2, costs)
    events = drive(Nsga2(domain, 2, 0), problem, 720)
    nearest = min(trials(events), key=lambda trial: sum(trial.costs))
    assert nearest.genotype[2:] == (6, "on", "d")
    assert sum(nearest.costs) < 0.1


def test_every_choice_stays_reachable():
    domain = mixed_domain()
    flat = Problem("flat", domain, 1, lambda _: (0.0,))
    late = proposals(drive(Nsga2(domain, 1, 0, population=8), flat, 400))[200:]
    assert {p.genotype[4] for p in late} == {"a", "b", "c", "d"}
    assert {p.genotype[3] for p in late} == {"off", "on"}
    assert len({p.genotype[2] for p in late}) >= 5


def test_choices_are_inherited_and_never_blended():
    domain = mixed_domain()
    mating = crossover(domain, 1.0, 2.0)
    parents = np.tile([[0.1, 0.1, 0.15, 0.25, 0.125], [0.9, 0.9, 0.85, 0.75, 0.875]], (200, 1))
    parents = parents.reshape(200, 2, 5).swapaxes(0, 1)
    cube = PymooProblem(n_var=5, n_obj=1, xl=0.0, xu=1.0)
    children = mating._do(cube, parents, random_state=np.random.default_rng(0))
    assert set(children[:, :, 3].ravel()) == {0.25, 0.75}
    assert set(children[:, :, 4].ravel()) == {0.125, 0.875}
    np.testing.assert_array_equal(children[0, :, 4] + children[1, :, 4], 1.0)
    assert len(set(children[:, :, 0].ravel())) > 50, "continuous genes are crossed by SBX"


def test_a_mutated_integer_leaves_its_bin():
    domain = integer_domain(0, 1, 2)  # polynomial mutation alone would almost never flip a bit
    cube = PymooProblem(n_var=2, n_obj=1, xl=0.0, xu=1.0)
    before = np.tile([0.25, 0.75], (400, 1))
    after = mutation(domain, 1.0, 20.0)._do(cube, before, random_state=np.random.default_rng(0))
    flipped = snapped(after, domain) != before
    # each gene mutates with probability 1/2; half of the moves point out of the domain
    assert 0.15 < flipped.mean() < 0.35


def test_no_duplicates_within_a_generation_and_its_parents():
    problem = sphere(integer_domain(0, 3, 3), 2)
    optimizer = Nsga2(problem.domain, 2, 0, population=6)
    events = drive(optimizer, problem, 60)
    by_generation = {}
    for proposal in proposals(events):
        by_generation.setdefault(proposal.origin, []).append(proposal.genotype)
    for genotypes in by_generation.values():
        assert len(set(genotypes)) == len(genotypes)


def test_stops_when_a_finite_domain_runs_dry():
    problem = sphere(integer_domain(0, 1), 2)
    optimizer = Nsga2(problem.domain, 2, 0, population=4)
    events = drive(optimizer, problem, 20)
    assert {p.genotype for p in proposals(events)} == {(0,), (1,)}
    assert "no genotype outside the population" in optimizer.stop_reason()
    assert optimizer.ask(1000) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "population: expected an integer >= 2, got 1"),
        ({"crossover_probability": 1.5}, "crossover_probability: expected a number above 0"),
        ({"mutation_eta": "20"}, "mutation_eta: expected a number above 0, got '20'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        Nsga2(continuous_domain(2), 2, 0, **options)
    assert message in str(error.value)
