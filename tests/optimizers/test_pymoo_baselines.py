"""NSGA-III, MOEA/D and SMS-EMOA: agreement with pymoo alone, fronts, failures, units, workers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.duplicate import NoDuplicateElimination
from pymoo.core.evaluator import Evaluator
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.termination import NoTermination
from pymoo.decomposition.tchebicheff import Tchebicheff
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.problems.static import StaticProblem

from evomerge.errors import ConfigError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.moead import Moead
from evomerge.optimizers.nsga3 import Nsga3
from evomerge.optimizers.pymoo_search import completed
from evomerge.optimizers.random import RandomSearch
from evomerge.optimizers.reference_directions import reference_directions
from evomerge.optimizers.sms_emoa import SmsEmoa
from evomerge.pareto import hypervolume
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import (
    ZDT1_HYPERVOLUME,
    ZDT1_REFERENCE,
    Problem,
    conditional_domain,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sequence_domain,
    sphere,
    zdt1,
)
from evomerge.testing.simulation import drive, proposals, replay, trials

ALL = {"nsga3": Nsga3, "moead": Moead, "sms_emoa": SmsEmoa}
STEADY = {"moead": Moead, "sms_emoa": SmsEmoa}


def subject(name, label=None, **fields):
    options = {"population": 8, **fields.pop("options", {})}

    def build(domain, n_objectives, seed):
        return build_optimizer(name, domain, n_objectives, seed, options)

    return Subject(label or name, build, n_trials=40, n_objectives=(2, 3), **fields)


SUBJECTS = [
    subject("nsga3", generational=True, domains=(sequence_domain(),)),
    subject("moead", domains=(sequence_domain(),)),
    subject("moead", "moead-pbi", options={"decomposition": "pbi"}, dimensions=(2,)),
    subject("sms_emoa", domains=(sequence_domain(),)),
    subject("sms_emoa", "sms_emoa-batches", options={"n_offsprings": 5}, dimensions=(2,)),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)


def volume(events, reference):
    return hypervolume([trial.costs for trial in trials(events) if trial.costs], reference)


def dtlz2(n_genes, n_objectives=3):
    """DTLZ2 (Deb et al., 2002): a front on the unit sphere; reference (1.1, ...) is customary."""
    domain = Domain(tuple(Gene(f"x{i}", initial=0.5) for i in range(n_genes)))

    def costs(genotype):
        angles = [x * np.pi / 2 for x in genotype[: n_objectives - 1]]
        g = sum((x - 0.5) ** 2 for x in genotype[n_objectives - 1 :])
        result = []
        for k in range(n_objectives):
            value = 1 + g
            for angle in angles[: n_objectives - 1 - k]:
                value *= np.cos(angle)
            if k:
                value *= np.sin(angles[n_objectives - 1 - k])
            result.append(float(value))
        return tuple(result)

    return Problem(f"dtlz2-{n_genes}x{n_objectives}", domain, n_objectives, costs)


# --- the same points as pymoo alone -----------------------------------------------------------


def between_0_and_3_halves():
    """Three costs whose ranges are 1.5 from the known points on: units that need no rescaling."""
    genes = tuple(Gene(f"x{i}", initial=0.25) for i in range(6))
    corners = {"low": (0.0,) * 6, "up": (1.0,) * 6, "rest": (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)}
    corners["front"] = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    domain = Domain(genes, tuple(Seed(name, point) for name, point in corners.items()))

    def costs(genotype):
        first, second, *rest = genotype
        g = sum(rest) / len(rest)
        return tuple(0.75 * (part + g) for part in (first, second, 1 - (first + second) / 2))

    return Problem("range 1.5", domain, 3, costs)


def ask_and_tell(algorithm, problem, n_trials, **attributes):
    """Drive pymoo, with some attributes set once it is set up, and list what it proposes."""
    cube = PymooProblem(n_var=len(problem.domain), n_obj=problem.n_objectives, xl=0.0, xu=1.0)
    algorithm.setup(cube, termination=NoTermination())
    vars(algorithm).update(attributes)
    points = []
    while len(points) < n_trials:
        asked = algorithm.ask()
        offspring = asked if hasattr(asked, "__len__") else [asked]
        rows = [tuple(one.X.tolist()) for one in offspring]
        points += rows
        costs = np.array([problem.costs(row) for row in rows])
        if hasattr(asked, "__len__"):
            Evaluator().eval(StaticProblem(cube, F=costs), asked)
        else:
            asked.F = costs[0]
        algorithm.tell(infills=asked)
    return points[:n_trials]


def test_nsga3_agrees_with_pymoo_alone():
    problem = between_0_and_3_halves()
    ours = Nsga3(problem.domain, 3, 11, population=15)
    run = [p.genotype for p in proposals(drive(ours, problem, 150))]
    theirs = NSGA3(
        reference_directions(3, 15),
        pop_size=15,
        sampling=np.array(run[:15]),
        crossover=SBX(eta=30, prob=1.0),
        mutation=PM(eta=20),
        seed=11,
    )
    with warnings.catch_warnings():
        assert run == ask_and_tell(theirs, problem, 150)


@pytest.mark.parametrize("n_offsprings", [1, 4])
def test_sms_emoa_agrees_with_pymoo_alone(n_offsprings):
    problem = zdt1(5)
    options = {"population": 10, "n_offsprings": n_offsprings, "seeds": False}
    ours = SmsEmoa(problem.domain, 2, 11, **options)
    run = [p.genotype for p in proposals(drive(ours, problem, 130))]
    theirs = SMSEMOA(
        pop_size=10,
        n_offsprings=n_offsprings,
        sampling=np.array(run[:10]),
        crossover=SBX(eta=15, prob=0.9),
        mutation=PM(eta=20),
        seed=11,
    )
    assert run == ask_and_tell(theirs, problem, 130)


@pytest.mark.parametrize("decomposition", ["tchebycheff", "pbi"])
def test_moead_agrees_with_pymoo_alone(decomposition):
    problem = dtlz2(10)
    ours = Moead(
        problem.domain,
        3,
        5,
        seeds=False,
        population=15,
        neighbours=4,
        normalize=False,
        decomposition=decomposition,
    )
    ours._mating.eliminate_duplicates = NoDuplicateElimination()  # pymoo evaluates copies too
    drive(ours, problem, 15)
    assigned = ours._population.get("X")
    run = []
    for number in range(15, 300):
        run.append(ours.ask(number).genotype)
        ours.tell(problem.completed(number, run[-1]))
    theirs = MOEAD(
        reference_directions(3, 15),
        n_neighbors=4,
        sampling=assigned,
        decomposition=Tchebicheff() if decomposition == "tchebycheff" else None,
        crossover=SBX(prob=1.0, eta=20),
        mutation=PM(prob=0.9, eta=20),
        seed=5,
    )
    # pymoo leaves the order of equally near neighbours to an unstable sort
    assert run == ask_and_tell(theirs, problem, 300, neighbors=ours._neighbours)[15:]


# --- fronts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ALL)
def test_beats_random_search_on_zdt1(name, seed):
    problem = zdt1(6)
    ours, theirs = (
        volume(drive(kind(problem.domain, 2, seed), problem, 480), ZDT1_REFERENCE)
        for kind in (ALL[name], RandomSearch)
    )
    assert ours > 1.5 * theirs


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ALL)
def test_beats_random_search_on_three_objectives(name, seed):
    problem = dtlz2(8)
    ours, theirs = (
        volume(drive(kind(problem.domain, 3, seed), problem, 400, workers=3), (1.1,) * 3)
        for kind in (ALL[name], RandomSearch)
    )
    assert ours > 1.5 * theirs


@pytest.mark.parametrize("name", ALL)
def test_approaches_the_known_hypervolume(name):
    problem = zdt1(6)
    found = volume(drive(ALL[name](problem.domain, 2, 1), problem, 1500), ZDT1_REFERENCE)
    assert 0.96 * ZDT1_HYPERVOLUME < found < ZDT1_HYPERVOLUME


@pytest.mark.parametrize("name", ALL)
def test_units_and_origins_of_objectives_do_not_matter(name):
    # powers of two: no digit changes, so that the proposals must agree to the last bit
    problem = zdt1(4)
    factors = (2.0**-30, 2.0**20)
    scaled = replace(
        problem,
        costs=lambda g: tuple(c * f for c, f in zip(problem.costs(g), factors, strict=True)),
    )
    plain, other = (
        proposals(drive(ALL[name](problem.domain, 2, 3, population=10), one, 150))
        for one in (problem, scaled)
    )
    assert plain == other


@pytest.mark.parametrize("name", ALL)
def test_mixed_genes_reach_the_optimum(name):
    domain = mixed_domain()
    best = {"depth": 6, "switch": "on", "method": "d"}

    def costs(genotype):
        values = dict(zip((gene.name for gene in domain.genes), genotype, strict=True))
        wrong = sum(values[name] != value for name, value in best.items())
        return (wrong + abs(values["weight"] - 1.0), wrong + abs(values["rate"] - 0.1))

    problem = Problem("mixed", domain, 2, costs)
    nearest = min(trials(drive(ALL[name](domain, 2, 0), problem, 600)), key=lambda t: sum(t.costs))
    assert nearest.genotype[2:] == (6, "on", "d")
    assert sum(nearest.costs) < 0.3


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_failures_do_not_survive(name):
    problem = zdt1(4)
    optimizer = ALL[name](problem.domain, 2, 0, population=12)
    for number in range(300):
        genotype = optimizer.ask(number).genotype
        trial = problem.failed if genotype[1] < 0.5 else problem.completed
        optimizer.tell(trial(number, genotype))
    population = optimizer._population if name == "moead" else optimizer._algorithm.pop
    assert all(completed(one) for one in population)


@pytest.mark.parametrize("name", ALL)
def test_any_success_replaces_failures(name):
    problem = zdt1(4)
    optimizer = ALL[name](problem.domain, 2, 0, population=6)
    far = Problem("far", problem.domain, 2, lambda _: (1e6, 1e6))
    for number in range(12):
        genotype = optimizer.ask(number).genotype
        optimizer.tell((far.completed if number == 8 else problem.failed)(number, genotype))
    population = optimizer._population if name == "moead" else optimizer._algorithm.pop
    survivors = [one for one in population if completed(one)]
    assert survivors
    assert all(one.F.tolist() == [1e6, 1e6] for one in survivors)
    # MOEA/D's candidate holds every subproblem of its neighbourhood, the others hold one place
    assert len(survivors) == (4 if name == "moead" else 1)


@pytest.mark.parametrize("name", ALL)
def test_failures_leave_the_scale_alone(name):
    # costs far from 0: a failure at (0, 0), as pymoo sees an unset cost, would be the ideal
    shift = replace(zdt1(4), costs=lambda g: tuple(c + 1e3 for c in zdt1(4).costs(g)))
    optimizer = ALL[name](shift.domain, 2, 0, population=12)
    events = drive(optimizer, shift, 400, workers=3, failure_rate=0.3)
    reference = tuple(c + 1e3 for c in ZDT1_REFERENCE)
    theirs = drive(RandomSearch(shift.domain, 2, 0), shift, 400, workers=3, failure_rate=0.3)
    assert volume(events, reference) > 1.5 * volume(theirs, reference)


def test_sms_emoa_measures_volumes_in_ranges_of_completed_candidates(monkeypatch):
    problem = replace(zdt1(4), costs=lambda g: tuple(c + 1e3 for c in zdt1(4).costs(g)))
    optimizer = SmsEmoa(problem.domain, 2, 0, population=10)
    algorithm, seen = optimizer._algorithm, []
    survive = algorithm.survival.do

    def spied(*args, ideal=None, nadir=None, **kwargs):
        done = np.array([one.F for one in algorithm.pop if completed(one)])
        if ideal is not None and len(done):
            seen.append(len(done) < len(algorithm.pop))
            assert ideal.tolist() == done.min(axis=0).tolist()
            assert nadir.tolist() == done.max(axis=0).tolist()
        return survive(*args, ideal=ideal, nadir=nadir, **kwargs)

    monkeypatch.setattr(algorithm.survival, "do", spied)
    drive(optimizer, problem, 60, failure_rate=0.7)
    assert any(seen), "no population had failures"


# --- workers, known points, finite domains -----------------------------------------------------


@pytest.mark.parametrize("name", STEADY)
def test_a_straggler_keeps_nobody_waiting(name):
    """One of the first trials ends last; everybody else goes on, and it is still learnt."""
    problem = sphere(continuous_domain(3), 2)
    optimizer = STEADY[name](problem.domain, 2, 0, population=6)
    slow = optimizer.ask(0)
    origins = [slow.origin]
    for number in range(1, 60):
        proposal = optimizer.ask(number)
        origins.append(proposal.origin)
        optimizer.tell(problem.completed(number, proposal.genotype))
    assert origins[:6] == ["seed:corner", "seed:ones", "initial", *[f"{name}:start"] * 3]
    assert origins[6] == f"{name}:drawn"
    assert set(origins[7:]) == {f"{name}:child"}
    best = Problem("best", problem.domain, 2, lambda _: (-1.0, -1.0))
    optimizer.tell(best.completed(0, slow.genotype))
    population = optimizer._population if name == "moead" else optimizer._algorithm.pop
    held = population.get("F").tolist().count([-1.0, -1.0])
    assert held == (4 if name == "moead" else 1), "MOEA/D: in one neighbourhood"


@pytest.mark.parametrize("name", ALL)
def test_more_known_points_than_population(name):
    rng = np.random.default_rng(0)
    genes = tuple(Gene(f"g{i}", initial=0.5) for i in range(3))
    seeds = tuple(Seed(f"s{k}", tuple(rng.random(3).tolist())) for k in range(9))
    problem = sphere(Domain(genes, seeds), 2)
    optimizer = ALL[name](problem.domain, 2, 0, population=4)
    run = proposals(drive(optimizer, problem, 40, workers=3))
    assert [p.origin for p in run[:10]] == [*(f"seed:s{k}" for k in range(9)), "initial"]
    assert [p.genotype for p in run[:9]] == [seed.genotype for seed in seeds]
    population = optimizer._population if name == "moead" else optimizer._algorithm.pop
    assert len(population) == 4


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", STEADY)
def test_nothing_is_proposed_twice_and_a_finite_domain_ends(name, workers):
    problem = sphere(integer_domain(0, 3, 3), 2)
    optimizer = STEADY[name](problem.domain, 2, 0, population=6)
    run = proposals(drive(optimizer, problem, 80, workers=workers))
    genotypes = [proposal.genotype for proposal in run]
    assert len(set(genotypes)) == len(genotypes)
    assert len(genotypes) >= 60  # of 64; draws at random leave a few unseen
    assert "no genotype that was not proposed before" in optimizer.stop_reason()
    assert optimizer.ask(1000) is None


@pytest.mark.parametrize("name", ALL)
def test_another_order_of_completion_replays(name):
    problem = sphere(conditional_domain(), 3)
    for order_seed in range(2):
        events = drive(
            ALL[name](problem.domain, 3, 4, population=8),
            problem,
            120,
            workers=5,
            order_seed=order_seed,
            failure_rate=0.3,
        )
        assert any(trial.costs is None for trial in trials(events))
        replay(ALL[name](problem.domain, 3, 4, population=8), events)


def test_warning_filters_are_left_alone():
    problem = sphere(continuous_domain(2), 2)
    before = list(warnings.filters)
    drive(Nsga3(problem.domain, 2, 0, population=6), problem, 30)
    assert warnings.filters == before


# --- decomposition ---------------------------------------------------------------------------


def test_moead_scalarises_as_the_paper_says():
    optimizer = Moead(continuous_domain(2), 2, 0, population=5, seeds=False)
    problem = Problem("two", continuous_domain(2), 2, lambda g: (3.0 + g[0], 100.0 - 20 * g[0]))
    drive(optimizer, problem, 5)
    costs = optimizer._population.get("F")
    ideal, nadir = costs.min(axis=0), costs.max(axis=0)
    z = (costs - ideal) / (nadir - ideal)
    expected = [
        [max(w * z_k for w, z_k in zip(d, row, strict=True)) for d in DIRECTIONS] for row in z
    ]
    np.testing.assert_allclose(
        optimizer._scalarised(optimizer._population, optimizer._directions), expected
    )


DIRECTIONS = np.array([[0, 1], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1, 0]])


def test_penalty_boundary_intersection_is_that_of_the_paper():
    optimizer = Moead(continuous_domain(2), 2, 0, population=5, decomposition="pbi")
    problem = sphere(continuous_domain(2), 2)
    drive(optimizer, problem, 5)
    costs = optimizer._population.get("F")
    ideal, nadir = costs.min(axis=0), costs.max(axis=0)
    z = (costs - ideal) / (nadir - ideal)
    unit = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    along = z @ unit.T
    off = np.linalg.norm(z[:, None] - along[..., None] * unit, axis=2)
    np.testing.assert_allclose(
        optimizer._scalarised(optimizer._population, optimizer._directions),
        along + 5 * off,
        atol=1e-12,
    )


def test_first_candidates_go_where_they_serve_best():
    """Known points at the ends of a front take the subproblems of those ends."""
    genes = (Gene("x", initial=0.5),)
    domain = Domain(genes, (Seed("first", (0.0,)), Seed("second", (1.0,))))
    problem = Problem("line", domain, 2, lambda g: (g[0], 1 - g[0]))
    optimizer = Moead(domain, 2, 0, population=7)
    drive(optimizer, problem, 7)
    owners = optimizer._population.get("X").ravel()
    # the first direction weighs the second cost only, which x = 1 minimises
    assert (owners[0], owners[-1]) == (1.0, 0.0)
    assert owners.tolist() == sorted(owners, reverse=True)
    assert len(set(owners)) == 7


@pytest.mark.parametrize(
    ("n_objectives", "population", "expected"), [(2, 24, 24), (3, 24, 21), (3, 91, 91), (5, 24, 24)]
)
def test_reference_directions(n_objectives, population, expected):
    directions = reference_directions(n_objectives, population)
    assert directions.shape == (expected, n_objectives)
    assert (directions >= 0).all()
    np.testing.assert_allclose(directions.sum(axis=1), 1)
    for corner in np.eye(n_objectives):
        assert np.abs(directions - corner).sum(axis=1).min() < 1e-6
    np.testing.assert_array_equal(directions, reference_directions(n_objectives, population))
    if n_objectives == 5:  # unlike the lattice of 15 points, which all lie on edges
        assert ((directions > 0.05).sum(axis=1) >= 3).any()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nsga3", {"population": 1}, "population: expected an integer >= 2, got 1"),
        (
            "nsga3",
            {"population": 2},
            "population: expected at least one candidate for each of the 3",
        ),
        ("moead", {"neighbours": 1}, "neighbours: expected an integer >= 2, got 1"),
        ("moead", {"decomposition": "pbl"}, "decomposition: 'pbl' is unknown; did you mean 'pbi'?"),
        ("moead", {"neighbour_mating": 2}, "neighbour_mating: expected a number above 0"),
        ("sms_emoa", {"n_offsprings": 0}, "n_offsprings: expected an integer >= 1, got 0"),
        ("sms_emoa", {"mutation_eta": 0}, "mutation_eta: expected a number above 0"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ConfigError) as error:
        ALL[name](continuous_domain(2), 3, 0, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ALL)
def test_one_objective_is_refused(name):
    with pytest.raises(ConfigError, match="needs two or more objectives"):
        build_optimizer(name, continuous_domain(2), 1, 0, {})
    with pytest.raises(ConfigError, match="n_objectives: expected an integer >= 2, got 1"):
        ALL[name](continuous_domain(2), 1, 0)
