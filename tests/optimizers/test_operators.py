"""Optimizers where a choice decides which other genes have an effect, as the merge method does."""

import importlib.util

import numpy as np
import pytest
from pymoo.core.problem import Problem as Box

from evomerge.optimizers import build_optimizer
from evomerge.optimizers.mixed_variation import crossover, mutation, snapped
from evomerge.spaces import load_space
from evomerge.testing.problems import Problem
from evomerge.testing.simulation import drive, proposals, replay
from tests.recipe.layouts import llama
from tests.spaces.models import context, decoders

FLOOR = {"task_arithmetic": 0.15, "ties": 0.0, "dare_ties": 0.1}
"""The best cost by each method."""


def problem(target=0.4, n_objectives=1):
    """TIES is best, at densities of `target`; where its densities start it is worse than others."""
    domain = load_space("operators", context(llama(4))).domain
    names = [gene.name for gene in domain.genes]

    def costs(genotype):
        values = dict(zip(names, genotype, strict=True))
        method = values["method"]
        cost = (
            FLOOR[method] + (values["weight[math]"] - 1) ** 2 + (values["weight[code]"] - 0.3) ** 2
        )
        if method != "task_arithmetic":
            cost += sum((values[f"{method}:density[{d}]"] - target) ** 2 for d in ("math", "code"))
        return (cost, values["weight[math]"])[:n_objectives]

    return Problem("operators", domain, n_objectives, costs)


TPE = {"sampler": "tpe", "sampler_options": {"multivariate": True, "group": True}}
SEARCHES = [
    ("nsga2", {"population": 12}, 0.9, 200),
    ("nsga2", {"population": 12}, 0.2, 200),
    ("cat_cma", {}, 0.4, 200),
    ("optuna", TPE, 0.9, 100),
    ("optuna", {"sampler": "tpe"}, 0.2, 100),
]


def skip_if_absent(name):
    absent = {"optuna": "optuna", "smac": "smac"}.get(name)
    if absent is not None and importlib.util.find_spec(absent) is None:
        pytest.skip(f"{absent} is not installed")


@pytest.mark.parametrize(("name", "options", "target", "budget"), SEARCHES)
def test_the_best_method_is_found_with_its_densities(name, options, target, budget):
    skip_if_absent(name)
    one = problem(target)

    def build():
        return build_optimizer(name, one.domain, 1, 1, options, budget=budget)

    events = drive(build(), one, budget, workers=2, failure_rate=0.05)
    found = proposals(events)
    for proposal in found:
        assert proposal.genotype == one.domain.canonical(one.domain.checked(proposal.genotype))
    best = min((one.costs(proposal.genotype)[0], proposal.genotype[0]) for proposal in found)
    assert best < (0.1, "ties")  # less than any other method can reach
    replay(build(), events)


@pytest.mark.parametrize(
    ("name", "n_objectives", "options"),
    [
        ("random", 1, {}),
        ("sobol", 1, {}),
        ("como_cat_cma", 2, {"kernels": 3}),
        ("nsga2", 2, {"population": 8}),
        ("nsga3", 2, {"population": 8}),
        ("sms_emoa", 2, {"population": 8}),
        ("moead", 2, {"population": 8}),
        ("optuna", 2, TPE),
        ("optuna", 2, {"sampler": "nsgaii"}),
        ("smac", 1, {}),
    ],
)
def test_others_search_it_too(name, n_objectives, options):
    skip_if_absent(name)
    one = problem(n_objectives=n_objectives)
    found = proposals(
        drive(build_optimizer(name, one.domain, n_objectives, 2, options), one, 40, workers=3)
    )
    seeds = [seed.genotype for seed in one.domain.seeds]
    assert [proposal.genotype for proposal in found[: len(seeds)]] == seeds
    assert {proposal.genotype[0] for proposal in found} == set(FLOOR)
    for proposal in found:
        assert proposal.genotype == one.domain.canonical(one.domain.checked(proposal.genotype))


def points(domain, method, n, seed):
    """Canonical points of one method."""
    random = np.random.default_rng(seed)
    found = []
    while len(found) < n:
        genotype = domain.draw(random)
        if genotype[0] == method:
            found.append(domain.to_unit(genotype))
    return snapped(np.array(found), domain)


def applied(operator, domain, parents):
    """What pymoo has an operator do."""
    box = Box(n_var=len(domain), n_obj=1, xl=0.0, xu=1.0)
    return operator._do(box, parents.copy(), random_state=np.random.default_rng(3))


def test_children_have_genes_without_effect_in_one_parent_from_the_other():
    domain = problem().domain
    parents = np.stack([points(domain, "ties", 40, 1), points(domain, "task_arithmetic", 40, 2)])
    children = applied(crossover(domain, 1.0, 15.0), domain, parents)
    densities = slice(3, 5)
    assert domain.genes[3].name == "ties:density[math]"
    for child in children:
        np.testing.assert_array_equal(child[:, densities], parents[0][:, densities])
    methods = {domain.from_unit(row)[0] for child in children for row in child}
    assert methods == {"ties", "task_arithmetic"}
    # what has an effect in both, or in neither, is crossed as ever
    assert (children[0][:, 1:3] != parents[0][:, 1:3]).any()
    np.testing.assert_array_equal(children[0][:, 5:], parents[0][:, 5:])


def test_genes_that_mutation_brings_to_life_are_drawn():
    domain = problem().domain
    before = points(domain, "task_arithmetic", 2000, 1)
    after = applied(mutation(domain, 1.0, 20.0), domain, before)
    changed = np.array([domain.from_unit(row)[0] == "ties" for row in after])
    assert 50 < changed.sum() < 500
    drawn = after[changed, 3]
    for share in (0.25, 0.5, 0.75):
        assert np.mean(drawn < share) == pytest.approx(share, abs=4 * (0.25 / len(drawn)) ** 0.5)
    # those that had an effect before and after move as polynomial mutation does: little
    ties = points(domain, "ties", 2000, 2)
    moved = applied(mutation(domain, 1.0, 20.0), domain, ties)
    kept = np.array([domain.from_unit(row)[0] == "ties" for row in moved])
    assert np.median(np.abs(moved - ties)[kept][:, 3]) < 0.01


def test_scales_of_layer_paths_start_where_they_say():
    domain = load_space("sakana_dfs", decoders(4)).domain
    random = np.random.default_rng(5)
    before = snapped(np.array([domain.to_unit(domain.draw(random)) for _ in range(300)]), domain)
    after = applied(mutation(domain, 1.0, 20.0), domain, before)
    initial = np.array(domain.to_unit(domain.initial))
    scales = [index for index, gene in enumerate(domain.genes) if gene.condition is not None]
    was = np.array([domain.active(domain.from_unit(row)) for row in before])
    now = np.array([domain.active(domain.from_unit(row)) for row in after])
    revived = (now & ~was)[:, scales]
    assert revived.any()
    moved = np.abs(after - initial)[:, scales][revived]
    assert np.mean(moved == 0) > 0.9  # but for those that polynomial mutation moved itself
