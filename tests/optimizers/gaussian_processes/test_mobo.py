"""MOBO: its phases, points in flight, failures, fronts, and domains of every kind."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import qmc

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers import build_optimizer, groups
from evomerge.optimizers.gaussian_processes.mobo import Mobo
from evomerge.optimizers.gaussian_processes.pool import USED_UP
from evomerge.optimizers.sobol import SobolSearch
from evomerge.pareto import hypervolume
from evomerge.spaces.domain import Condition, Domain, Gene
from evomerge.testing.problems import constant, continuous_domain, integer_domain
from evomerge.types import Objective
from tests.optimizers.gaussian_processes.searches import (
    mobo,
    search,
    trial,
    two_spheres,
    unit_domain,
)


def volume(proposals, costs=two_spheres, reference=(0.8, 0.8)):
    return hypervolume([costs(p.genotype) for p in proposals], reference)


def test_known_points_then_sobol_then_the_model():
    domain = continuous_domain(2)
    origins = [p.origin for p in search(mobo(domain, seeds=True), two_spheres, 11)]
    assert origins == ["seed:corner", "seed:ones", "initial", *["mobo:start"] * 6, "mobo", "mobo"]


def test_the_start_takes_half_of_a_small_budget():
    for n_start, options in ((10, {"budget": 20}), (14, {"budget": 200}), (4, {"initial": 4})):
        found = search(mobo(unit_domain(6), **options), two_spheres, n_start + 1)
        assert [p.origin for p in found] == ["mobo:start"] * n_start + ["mobo"]


def test_finds_a_front_with_few_evaluations():
    domain = unit_domain(3)
    # the front is the line between the two centres: costs 0.75 (s^2, (1 - s)^2)
    s = np.linspace(0, 1, 2001)
    exact = hypervolume(0.75 * np.column_stack([s**2, (1 - s) ** 2]), (0.8, 0.8))
    found = volume(search(mobo(domain), two_spheres, 22))
    sobol = [
        volume(search(SobolSearch(domain, 2, seed, seeds=False), two_spheres, 22))
        for seed in range(5)
    ]
    assert found > 0.9 * exact
    assert np.mean(sobol) < 0.8 * exact


def test_finds_one_optimum():
    found = search(mobo(unit_domain(3), 1), lambda x: two_spheres(x)[:1], 20)
    assert min(two_spheres(p.genotype)[0] for p in found) < 3e-3


def test_many_objectives_are_scalarised():
    centres = np.eye(5)[:, :3] * 0.6 + 0.2

    def costs(genotype):
        return tuple(((np.array(genotype) - centres) ** 2).sum(axis=1).tolist())

    found = search(mobo(unit_domain(3), 5), costs, 12)
    assert found[-1].origin == "mobo"
    assert len({p.genotype for p in found}) == 12


def test_four_objectives_go_by_hypervolume():
    def costs(genotype):
        return tuple(float((genotype[k % 2] - k / 4) ** 2 + 0.1 * genotype[0]) for k in range(4))

    assert len({p.genotype for p in search(mobo(unit_domain(2), 4), costs, 9)}) == 9


def after_start(n=12, **options):
    """A search of two genes whose model has been told of n points."""
    optimizer = mobo(unit_domain(2), initial=n, **options)
    search(optimizer, two_spheres, n)
    return optimizer


def test_points_in_flight_are_kept_away_from():
    # acceptance 4: four asks without a tell
    optimizer = after_start()
    points = np.array([optimizer.ask(100 + i).genotype for i in range(4)])
    assert qmc.discrepancy(points) >= 0  # inside the cube
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(4, 1)]
    assert gaps.min() > 1e-2


def test_without_points_in_flight_the_same_point_is_worth_most():
    optimizer = after_start(samples=64)
    optimizer.ask(100)
    fit = optimizer._learner.latest

    def climbed(pending, counter):
        return optimizer._proposer.prospect(fit, pending, counter).climb()[0].points[0]

    best = [climbed(np.zeros((0, 2)), counter) for counter in range(3)]
    taken = climbed(np.array(best[:1]), 0)
    nearest = max(np.linalg.norm(point - best[0]) for point in best[1:])
    assert nearest < 0.3 * np.linalg.norm(taken - best[0])


def test_hyperparameters_are_learnt_from_every_new_share_of_evaluations():
    optimizer = after_start(n=60)
    learnt = []
    for number in range(100, 106):
        proposal = optimizer.ask(number)
        learnt.append(optimizer._learner.latest.surrogate.model.covar_module.lengthscale.tolist())
        assert len(optimizer._learner.latest.points) == 60 + number - 100
        optimizer.tell(trial(number, proposal.genotype, two_spheres(proposal.genotype)))
    news = [one != other for one, other in pairwise(learnt)]
    assert news == [False, True, False, True, False]  # from 60, 62 and 64 evaluations


@pytest.fixture
def in_groups(monkeypatch):
    """Have one model make up to ten proposals of 60 evaluations, and two of 12."""
    monkeypatch.setattr(groups, "MANY", 8)
    monkeypatch.setattr(groups, "SHARE", 6)


def test_of_many_evaluations_one_model_makes_several_proposals(in_groups, monkeypatch):
    planned = []
    plan = Mobo._plan

    def kept(self, count):
        places = []
        prospect = self._prospect

        def noted(*args):
            places.append(prospect(*args))
            return places[-1]

        monkeypatch.setattr(self, "_prospect", noted)
        points = plan(self, count)
        planned.append((count, points, places))
        return points

    optimizer = after_start(n=60)
    monkeypatch.setattr(Mobo, "_plan", kept)
    asked = [optimizer.ask(number).genotype for number in range(100, 130)]
    assert len(planned) < 15
    for count, points, places in planned:
        assert count == 10
        assert 1 <= len(points) <= count
        # each is worth what is asked of it, given those before it
        worths = [
            place.score(point[None]).worths[0] for place, point in zip(places, points, strict=False)
        ]
        assert min(worths) >= worths[0] - USED_UP - 1e-9
    assert any(len(points) < 10 for _, points, _ in planned)
    gaps = np.linalg.norm(np.array(asked)[:, None] - np.array(asked)[None], axis=2)
    assert gaps[np.triu_indices(len(asked), 1)].min() > 1e-3


def test_a_group_holds_no_known_point_while_others_are_left(in_groups):
    proposals = search(mobo(integer_domain(0, 4, 2), initial=9), two_spheres, 25)
    assert len({one.genotype for one in proposals}) == 25


@pytest.mark.parametrize("name", ["mobo", "mm_mo", "auto"])
def test_doubt_multiplies_the_errors_of_estimates(name):
    def found(error, doubt):
        optimizer = build_optimizer(name, unit_domain(2), 2, 0, {}, budget=40, doubt=doubt)
        genotypes = []
        for number in range(20):
            genotype = optimizer.ask(number).genotype
            genotypes.append(genotype)
            told = trial(number, genotype, two_spheres(genotype))
            optimizer.tell(replace(told, errors=(error, 0.0) if number % 2 else ()))
        return genotypes

    doubted = found(0.1, 2.0)
    assert doubted == found(0.2, 1.0)
    assert doubted != found(0.1, 1.0)


def test_nothing_is_proposed_twice_or_nearly():
    found = np.array([p.genotype for p in search(mobo(unit_domain(2)), two_spheres, 18)])
    gaps = np.abs(found[:, None] - found[None]).max(axis=2)[np.triu_indices(18, 1)]
    assert gaps.min() > 1e-3


def test_failures_are_no_data_and_are_kept_away_from():
    def costs(genotype):
        return None if 0.3 < genotype[0] < 0.6 else two_spheres(genotype)

    optimizer = mobo(unit_domain(2), initial=8)
    found = search(optimizer, costs, 18)
    optimizer.ask(100)
    failed = np.array([p.genotype for p in found if costs(p.genotype) is None])
    assert 1 < len(failed) < 12
    assert len(optimizer._learner.latest.points) == 18 - len(failed)
    gaps = np.abs(failed[:, None] - failed[None]).max(axis=2)[np.triu_indices(len(failed), 1)]
    assert gaps.min() > 1e-3


@pytest.mark.parametrize("change", [lambda y: 128 * y, lambda y: y + 1024, lambda y: 1e-6 * y])
def test_units_do_not_matter(change):
    # acceptance 1
    plain = search(mobo(unit_domain(2), initial=8), two_spheres, 11)
    changed = search(
        mobo(unit_domain(2), initial=8),
        lambda x: tuple(float(change(y)) for y in two_spheres(x)),
        11,
    )
    for one, other in zip(plain, changed, strict=True):
        np.testing.assert_allclose(one.genotype, other.genotype, atol=2e-3)


def test_the_goal_does_not_matter():
    def run(objective, metric):
        optimizer = mobo(unit_domain(2), initial=8, objectives=(objective, Objective("y")))
        return search(
            optimizer,
            lambda x: (objective.cost(metric(x)), two_spheres(x)[1]),
            10,
        )

    def accuracy(x):
        return round(256 * (0.95 - 0.5 * two_spheres(x)[0])) / 256

    right = run(Objective("accuracy", "maximize", (0.0, 1.0), 256), accuracy)
    wrong = run(Objective("error", "minimize", (0.0, 1.0), 256), lambda x: 1 - accuracy(x))
    assert right == wrong


def methods_domain():
    """A method with a parameter of its own each, and a weight that all have."""
    return Domain(
        (
            Gene("method", "categorical", initial="linear", choices=("linear", "ties", "dare")),
            Gene("weight"),
            Gene("density", condition=Condition(0, ("ties", "dare"))),
            Gene("layers", "integer", low=1, high=4, initial=2),
        )
    )


def of_methods(genotype):
    method, weight, density, layers = genotype
    offset = {"linear": 0.4, "ties": 0.0, "dare": 0.3}[method]
    shape = 0.0 if method == "linear" else (density - 0.8) ** 2
    first = offset + shape + (weight - 0.3) ** 2 + 0.05 * abs(layers - 3)
    return first, offset + shape + (weight - 0.6) ** 2 + 0.05 * abs(layers - 3)


def test_methods_with_parameters_of_their_own():
    optimizer = mobo(methods_domain(), initial=10, raw_samples=64)
    found = [p.genotype for p in search(optimizer, of_methods, 26)]
    assert {genotype[0] for genotype in found[:10]} == {"linear", "ties", "dare"}
    assert all(genotype[2] == 0.5 for genotype in found if genotype[0] == "linear")
    late = found[-8:]
    assert sum(genotype[0] == "ties" for genotype in late) >= 7
    assert sum(genotype[3] == 3 for genotype in late) >= 4
    best = min(found, key=lambda genotype: sum(of_methods(genotype)))
    assert best[0] == "ties"
    assert best[2] == pytest.approx(0.8, abs=0.1)
    assert 0.25 < best[1] < 0.65


def test_a_finite_domain_is_gone_through_before_anything_repeats():
    domain = integer_domain(0, 3, 2)
    found = search(mobo(domain, initial=3), lambda x: (float(x[0]), float(3 - x[0] + x[1])), 20)
    assert len({p.genotype for p in found}) == 16


def test_ties_are_searched_on():
    problem = constant(unit_domain(2), 2)
    found = search(mobo(problem.domain, initial=4), problem.costs, 9)
    assert len({p.genotype for p in found}) == 9


@pytest.mark.parametrize("screen", ["keep_most_uncertain", "keep_most_certain"])
def test_a_screen_chooses_among_what_is_worth_most(screen):
    plain, screened = after_start(), after_start(screen=screen)
    at = plain.ask(100).genotype
    chosen = screened.ask(100).genotype
    points = np.array([at, chosen])
    _, variances = plain._proposer.predict(plain._learner.latest, points)
    information = (1 / variances).sum(axis=1)
    if screen == "keep_most_uncertain":
        assert information[1] <= information[0]
    else:
        assert information[1] >= information[0]


def test_a_model_of_the_front_and_the_latest():
    optimizer = mobo(unit_domain(2), initial=4, max_points=10)
    search(optimizer, two_spheres, 12)
    optimizer.ask(100)
    assert len(optimizer._learner.latest.points) == 10


def test_importance_by_name():
    optimizer = mobo(unit_domain(3), initial=4, importance={"x1": 1.0})
    search(optimizer, two_spheres, 4)
    optimizer.ask(100)
    prior = optimizer._learner.latest.surrogate.model.covar_module.lengthscale_prior
    assert prior.loc[0, 0].argmin() == 1


def test_four_workers_are_never_idle_and_lose_little():
    # acceptance 5: run times spread tenfold
    # (experiments/pareto/mm_mo_toy.py --asynchrony has more seeds)
    domain = unit_domain(2)
    alone = volume(search(mobo(domain), two_spheres, 20))
    optimizer, random = mobo(domain), np.random.default_rng(0)
    running, done, now = [], [], 0.0
    for number in range(20):
        if len(running) == 4:
            now, finished, proposal = heapq.heappop(running)
            done.append(proposal)
            optimizer.tell(trial(finished, proposal.genotype, two_spheres(proposal.genotype)))
        proposal = optimizer.ask(number)
        assert proposal is not None  # it never waits: no worker is idle before the end
        heapq.heappush(running, (now + 10 ** random.random(), number, proposal))
    done += [proposal for _, _, proposal in running]
    assert volume(done) > 0.97 * alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"screen": "uncertain"}, "screen: 'uncertain' is unknown"),
        ({"initial": -1}, "initial: expected an integer >= 0"),
        ({"rerank": 1}, "rerank: expected true or false"),
        ({"weak_to_strong": None}, "weak_to_strong: expected true or false"),
        ({"restarts": 0}, "restarts: expected an integer >= 1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError) as caught:
        mobo(unit_domain(2), **options)
    assert message in str(caught.value)


def test_too_many_genes():
    with pytest.raises(SpaceError, match="at most 21201 genes"):
        Mobo(unit_domain(21202), 2, 0)
