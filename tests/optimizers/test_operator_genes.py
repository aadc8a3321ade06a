"""The merge method as a gene: who finds the best of several methods, each with its own genes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from evomerge.optimizers import build_optimizer
from evomerge.spaces.domain import Condition, Domain, Gene
from evomerge.testing.problems import Problem, conditional_domain
from evomerge.testing.simulation import drive, trials

WEIGHTS = ("first", "second", "third", "fourth")
METHODS = {"task_arithmetic": WEIGHTS, "ties": (*WEIGHTS, "density"), "slerp": ("t",)}
FLOORS = {"task_arithmetic": 0.3, "ties": 0.0, "slerp": 0.5}
"""What each method costs at its best; ties is the best one, and has most to be tuned."""


def methods():
    """Return a method gene with genes of its own for each method, and two costs.

    One cost is least where all weights are 1.4 and the other where all are 1; in between their sum
    is 2 x floor + 0.08.
    """
    genes = [Gene("method", "categorical", initial="task_arithmetic", choices=tuple(METHODS))]
    places = {}
    for method, names in METHODS.items():
        places[method] = slice(len(genes), len(genes) + len(names))
        condition = Condition(0, (method,))
        genes += [
            Gene(f"{method}.{name}", initial=0.5, high=2.0, condition=condition) for name in names
        ]

    def costs(genotype):
        method, values = genotype[0], list(genotype[places[genotype[0]]])
        density = values.pop() if method == "ties" else 1.4
        shared = FLOORS[method] + (density - 1.4) ** 2
        return tuple(
            shared + sum((value - best) ** 2 for value in values) / len(values)
            for best in (1.4, 1.0)
        )

    return Problem("methods", Domain(tuple(genes)), 2, costs)


WELL_TUNED = 0.3
"""Sum of costs that only a tuned ties reaches: others have 0.68 at least, ties 0.08."""

ARMS = {  # optimizer, options, trials, seeds
    "nsga2": ("nsga2", {}, 200, 20),
    "moead": ("moead", {"population": 10}, 100, 12),
    "dirichlet": ("dirichlet", {"design": 10}, 100, 12),
    "tpe": ("optuna", {"sampler_options": {"multivariate": True, "group": True}}, 60, 5),
    "smac": ("smac", {"local_searches": 1}, 40, 4),
}


def outcome(name, options, n_trials, n_seeds):
    """Return how often ties was tuned well, and its share of the last 20 trials."""
    problem, found, late = methods(), 0, []
    for seed in range(n_seeds):
        optimizer = build_optimizer(name, problem.domain, 2, seed, options)
        told = trials(drive(optimizer, problem, n_trials))
        best = min(told, key=lambda trial: sum(trial.costs))
        if sum(best.costs) < WELL_TUNED:
            assert best.genotype[0] == "ties"
            found += 1
        late += [trial.genotype[0] == "ties" for trial in told[-20:]]
    return found / n_seeds, float(np.mean(late))


@cache
def at_random(n_trials):
    return outcome("random", {}, n_trials, 40)


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_method_is_found_more_reliably_than_at_random(arm):
    name, options, n_trials, n_seeds = ARMS[arm]
    if name in ("optuna", "smac"):
        pytest.importorskip(name)
    found, late = outcome(name, options, n_trials, n_seeds)
    by_chance, late_by_chance = at_random(n_trials)
    assert found > by_chance + 0.2
    assert late_by_chance < 0.4
    assert late > 0.5


def tuned_switches():
    """Two of four switches are best on, with scales of 1.4, three repeats and 'last' at 1.5."""
    domain = conditional_domain()

    def costs(genotype):
        switched, scales = genotype[0:8:2], genotype[1:8:2]
        wrong = sum(s != w for s, w in zip(switched, ("on", "off", "on", "off"), strict=True))
        off = sum((x - 1.4) ** 2 for x, s in zip(scales, switched, strict=True) if s == "on")
        return (wrong + off + abs(genotype[8] - 3) / 2 + (genotype[9] - 1.5) ** 2,)

    return Problem("tuned switches", domain, 1, costs)


@pytest.mark.parametrize(
    ("name", "options"),
    [("nsga2", {"population": 10}), ("optuna", {}), ("smac", {"local_searches": 1})],
)
def test_conditional_genes_are_tuned_better_than_at_random(name, options):
    if name in ("optuna", "smac"):
        pytest.importorskip(name)
    problem = tuned_switches()
    n_trials, n_seeds = (30, 2) if name == "smac" else (80, 4)

    def best(kind, settings):
        runs = (
            drive(build_optimizer(kind, problem.domain, 1, seed, settings), problem, n_trials)
            for seed in range(n_seeds)
        )
        return np.mean([min(trial.costs[0] for trial in trials(run)) for run in runs])

    assert best(name, options) < 0.7 * best("random", {})
