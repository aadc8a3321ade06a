"""Dirichlet preferences: their distribution, the initial design, who is mated, what is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evomerge.errors import ConfigError
from evomerge.optimizers import build_optimizer, dirichlet
from evomerge.optimizers.dirichlet import Dirichlet, preference, scalarised
from evomerge.optimizers.random import RandomSearch
from evomerge.pareto import hypervolume, non_dominated
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import (
    Problem,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sequence_domain,
    sphere,
    zdt1,
)
from evomerge.testing.simulation import drive, proposals, trials

SUBJECT = Subject(
    "dirichlet",
    lambda domain, n_objectives, seed: build_optimizer(
        "dirichlet", domain, n_objectives, seed, {"design": 8}
    ),
    n_trials=40,
    n_objectives=(2, 3),
    domains=(sequence_domain(),),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check):
    check(SUBJECT)


# --- preferences and the function that they weigh ----------------------------------------------


@pytest.mark.parametrize("n_objectives", [2, 3, 5])
def test_preferences_are_uniform_on_the_simplex(n_objectives):
    random = np.random.default_rng(0)
    weights = np.array([preference(n_objectives, random) for _ in range(4000)])
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / n_objectives, atol=0.015)
    for column in weights.T:  # the marginals of Dirichlet(1, ..., 1) are Beta(1, n - 1)
        assert stats.kstest(column, stats.beta(1, n_objectives - 1).cdf).pvalue > 0.001


def test_the_function_is_the_augmented_tchebycheff_one():
    # ideal (1, 10); the front is the first three, so the nadir (3, 30): not the last, dominated one
    costs = np.array([[1.0, 30.0], [2.0, 20.0], [3.0, 10.0], [9.0, 90.0]])
    weights = np.array([0.25, 0.75])
    z = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [4.0, 4.0]])
    expected = [max(0.25 * a, 0.75 * b) + 0.05 * (0.25 * a + 0.75 * b) for a, b in z]
    np.testing.assert_allclose(scalarised(costs, weights, costs[non_dominated(costs)]), expected)


def test_a_single_best_point_is_measured_by_all_others():
    costs = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 2.0]])
    np.testing.assert_allclose(
        scalarised(costs, np.array([0.5, 0.5]), costs[non_dominated(costs)]),
        [0.0, 0.5 + 0.05 * 0.75, 0.5 + 0.05 * 0.75],
    )
    assert scalarised(np.ones((3, 2)), np.array([0.5, 0.5]), np.ones((1, 2))).tolist() == [0.0] * 3


# --- the initial design ------------------------------------------------------------------------


def weights_domain(n_donors=3, with_base=True, **further):
    """A weight for each donor in [0, 3], with the seeds that a declared space has."""
    genes = tuple(Gene(f"weight{k}", high=3.0, initial=1 / n_donors) for k in range(n_donors))
    seeds = [Seed("base", (0.0,) * n_donors)] if with_base else []
    seeds += [
        Seed(f"donor{k}", tuple(float(k == j) for j in range(n_donors))) for k in range(n_donors)
    ]
    seeds.append(Seed("uniform", (1 / n_donors,) * n_donors))
    return Domain(genes, tuple(seeds), **further)


def designed(domain, count=400, n_known=5, seed=0, **options):
    optimizer = Dirichlet(domain, 2, seed, design=count, **options)
    return [optimizer.ask(number).genotype for number in range(count + n_known)][n_known:]


def test_half_of_the_design_is_merges_weighted_by_preference():
    merges = np.array(designed(weights_domain())[::2])
    sums = merges.sum(axis=1)
    assert sums.min() > 1 - 1e-12
    assert sums.max() < 2 + 1e-12
    assert stats.kstest(sums, stats.uniform(1, 1).cdf).pvalue > 0.01
    for share in (merges / sums[:, None]).T:
        assert stats.kstest(share, stats.beta(1, 2).cdf).pvalue > 0.01


def test_the_other_half_fills_the_domain():
    others = np.array(designed(weights_domain())[1::2])
    for column in others.T:  # far more even than 200 independent draws would be
        assert stats.kstest(column, stats.uniform(0, 3).cdf).statistic < 0.02


def test_without_a_base_donors_are_averaged():
    merges = np.array(designed(weights_domain(with_base=False), n_known=4)[::2])
    np.testing.assert_allclose(merges.sum(axis=1), 1)


def test_seeds_that_are_not_used_leave_no_trace():
    points = np.array(designed(weights_domain(), n_known=0, seeds=False))
    for column in points.T:
        assert stats.kstest(column, stats.uniform(0, 3).cdf).statistic < 0.02


def test_seeds_of_different_methods_are_not_mixed():
    domain = mixed_domain()  # donors that differ in a categorical gene
    seeds = tuple(Seed(m, (1.0, 1e-3, 0, "off", m)) for m in ("a", "b"))
    methods = [g[4] for g in designed(replace(domain, seeds=seeds), count=40, n_known=3)]
    assert set(methods) == {"a", "b", "c", "d"}


def test_seeds_of_one_method_keep_it():
    seeds = (
        Seed("base", (0.0, 1e-3, 2, "on", "b")),
        *(Seed(str(w), (w, 1e-3, 2, "on", "b")) for w in (-1.0, 1.0)),
    )
    domain = replace(mixed_domain(), seeds=seeds)
    merges = designed(domain, count=40, n_known=4)[::2]
    assert {genotype[2:] for genotype in merges} == {(2, "on", "b")}
    assert len({genotype[0] for genotype in merges}) == 20


# --- who is mated ------------------------------------------------------------------------------


def spied(monkeypatch, problem, **options):
    """Return a search, and the list that its preferences and parents' costs are written to."""
    optimizer = Dirichlet(problem.domain, problem.n_objectives, 0, **options)
    seen = []
    draw, mate = dirichlet.preference, optimizer._mating.do

    def drawn(*args):
        seen.append([draw(*args), None])
        return seen[-1][0]

    def mated(*args, parents, **kwargs):
        seen[-1][1] = [tuple(one.F.tolist()) for one in parents[0]]
        return mate(*args, parents=parents, **kwargs)

    monkeypatch.setattr(dirichlet, "preference", drawn)
    monkeypatch.setattr(optimizer._mating, "do", mated)
    return optimizer, seen


def test_parents_are_two_of_the_best_for_the_preference(monkeypatch):
    problem = sphere(continuous_domain(4), 3)
    optimizer, seen = spied(monkeypatch, problem, design=12, elite=3)
    costs, ranks = [], []
    for number in range(90):
        genotype = optimizer.ask(number).genotype
        if seen:  # brute force over all that was told
            weights, parents = seen[-1]
            ideal = [min(c[k] for c in costs) for k in range(3)]
            front = [c for c in costs if not any(dominates(other, c) for other in costs)]
            nadir = [max(c[k] for c in front) for k in range(3)]

            def value(c, weights=weights, ideal=ideal, nadir=nadir):
                terms = [
                    w * (x - low) / (high - low)
                    for w, x, low, high in zip(weights, c, ideal, nadir, strict=True)
                ]
                return max(terms) + 0.05 * sum(terms)

            order = sorted(costs, key=value)
            ranks.append(sorted(order.index(parent) for parent in parents))
        optimizer.tell(problem.completed(number, genotype))
        costs.append(problem.costs(genotype))
    assert len(ranks) > 60
    assert {tuple(pair) for pair in ranks} == {(0, 1), (0, 2), (1, 2)}


def dominates(first, second):
    return all(a <= b for a, b in zip(first, second, strict=True)) and first != second


def test_failures_are_never_parents(monkeypatch):
    problem = zdt1(4)
    optimizer, seen = spied(monkeypatch, problem, design=6)
    good = set()
    for number in range(120):
        genotype = optimizer.ask(number).genotype
        if number % 3 == 0:
            optimizer.tell(problem.failed(number, genotype))
        else:
            optimizer.tell(problem.completed(number, genotype))
            good.add(problem.costs(genotype))
    assert len(seen) > 100
    assert all(set(parents) <= good for _, parents in seen)


def test_draws_go_on_until_two_trials_completed():
    problem = zdt1(3)
    optimizer = Dirichlet(problem.domain, 2, 0, design=4)
    origins = []
    for number in range(30):
        proposal = optimizer.ask(number)
        origins.append(proposal.origin)
        trial = problem.completed if number in (2, 20) else problem.failed
        optimizer.tell(trial(number, proposal.genotype))
    assert origins[:2] == ["seed:middle", "initial"]
    assert set(origins[2:6]) == {"dirichlet:start"}
    assert set(origins[6:21]) == {"dirichlet:drawn"}
    assert set(origins[21:]) == {"dirichlet:child"}


def test_nothing_is_proposed_twice_and_a_finite_domain_ends():
    problem = sphere(integer_domain(0, 3, 3), 2)
    optimizer = Dirichlet(problem.domain, 2, 0)
    genotypes = [p.genotype for p in proposals(drive(optimizer, problem, 80, workers=4))]
    assert len(set(genotypes)) == len(genotypes) >= 60
    assert "no genotype that was not proposed before" in optimizer.stop_reason()


# --- what is found -----------------------------------------------------------------------------


def volume(events, reference):
    return hypervolume([trial.costs for trial in trials(events) if trial.costs], reference)


@pytest.mark.parametrize("seed", range(3))
def test_beats_random_search(seed):
    problem = zdt1(6)
    ours, theirs = (
        volume(drive(kind(problem.domain, 2, seed), problem, 200, workers=3), (1.1, 5.0))
        for kind in (Dirichlet, RandomSearch)
    )
    assert ours > 1.1 * theirs


@pytest.mark.parametrize("seed", range(3))
def test_sixty_merges_of_three_donors_beat_random_ones(seed):
    """Each task has its optimum near a donor, as merges have."""
    domain = weights_domain()
    optima = np.array([[1.1, 0.2, 0.0], [0.1, 0.9, 0.3], [0.2, 0.0, 1.2]])

    def costs(genotype):
        return tuple((1 - np.exp(-((optima - genotype) ** 2).sum(axis=1))).tolist())

    problem = Problem("donors", domain, 3, costs)
    ours, theirs = (
        volume(drive(kind(domain, 3, seed), problem, 60), (1.0,) * 3)
        for kind in (Dirichlet, RandomSearch)
    )
    assert ours > 1.2 * theirs


def test_units_and_origins_of_objectives_do_not_matter():
    problem = zdt1(4)
    scaled = replace(
        problem,
        costs=lambda g: tuple(
            c * f for c, f in zip(problem.costs(g), (2.0**-40, 2.0**30), strict=True)
        ),
    )
    runs = [proposals(drive(Dirichlet(p.domain, 2, 3), p, 80)) for p in (problem, scaled)]
    assert runs[0] == runs[1]


def concave():
    """A quarter circle of costs: sums of costs are least at its two ends."""
    domain = Domain(tuple(Gene(f"x{i}", initial=0.5) for i in range(5)))

    def costs(genotype):
        radius = 1 + sum((x - 0.5) ** 2 for x in genotype[1:])
        angle = genotype[0] * np.pi / 2
        return (float(radius * np.cos(angle)), float(radius * np.sin(angle)))

    return Problem("concave", domain, 2, costs)


def in_the_middle(seed):
    """Count the trials near the middle third of the concave front."""
    problem = concave()
    found = [
        np.array(t.costs) for t in trials(drive(Dirichlet(problem.domain, 2, seed), problem, 150))
    ]
    angles = [np.arctan2(c[1], c[0]) / (np.pi / 2) for c in found]
    return sum(
        1 / 3 < angle < 2 / 3 and np.linalg.norm(c) < 1.02
        for angle, c in zip(angles, found, strict=True)
    )


def test_concave_parts_of_a_front_are_reached_as_sums_would_not(monkeypatch):
    reached = sum(in_the_middle(seed) for seed in range(6))

    def weighted_sum(costs, weights, _):
        return costs @ weights

    monkeypatch.setattr(dirichlet, "scalarised", weighted_sum)
    by_sums = sum(in_the_middle(seed) for seed in range(6))
    assert reached > 40
    assert reached > 4 * by_sums


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elite": 1}, "elite: expected an integer >= 2, got 1"),
        ({"design": 1}, "design: expected an integer >= 2, got 1"),
        ({"crossover_probability": 0}, "crossover_probability: expected a number above 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        Dirichlet(continuous_domain(2), 2, 0, **options)
    assert message in str(error.value)
