"""A translated study searches as mergekit-evolve does: against pycma, called as it is there."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import cma
import numpy as np
import pytest
import yaml

from evomerge.migrate.options import read_command
from evomerge.migrate.translation import translate
from evomerge.recipe import ModelRef
from evomerge.spaces import SpaceContext, load_space
from evomerge.study import read_study
from evomerge.study.stage_optimizer import stage_optimizer
from evomerge.types import Completed, Objective, Trial
from tests.recipe.layouts import llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # upstream's own, while it is imported
    pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
    from mergekit.evo.genome import ModelGenome, ModelGenomeDefinition

SEED = 11


def theirs(x0, sigma0, score, max_fevals, population):
    """Call pycma as mergekit-evolve does, but for where normal numbers come from and printing."""
    stream = np.random.default_rng(SEED)
    options = {"maxfevals": max_fevals, "timeout": None}
    if population is not None:
        options["popsize"] = population
    options |= {"randn": lambda *shape: stream.standard_normal(shape), "seed": math.nan}
    options |= {"verbose": -9, "verb_log": 0, "verb_disp": 0}
    seen = []

    def evaluate(genotypes):
        seen.extend(np.array(one) for one in genotypes)
        return [-score(one) for one in genotypes]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cma.fmin2(None, parallel_objective=evaluate, x0=x0, sigma0=sigma0, options=options)
    return seen


def ours(study, space, metrics_of, folder):
    """Ask and tell what the study names, until its trials are spent."""
    objectives = [Objective(name, one.goal) for name, one in study.objectives.items()]
    stage = study.plan[0]
    optimizer = stage_optimizer(stage, space, study.seed, objectives, folder)
    seen = []
    while len(seen) < study.budget.trials and optimizer.stop_reason() is None:
        pending = []
        while (proposal := optimizer.ask(len(seen))) is not None:
            pending.append((len(seen), proposal.genotype))
            seen.append(np.array(proposal.genotype))
        for number, genotype in reversed(pending):
            metrics = metrics_of(np.array(genotype))
            costs = tuple(one.cost(metrics[one.name]) for one in objectives)
            optimizer.tell(Trial(number, genotype, Completed(metrics), costs))
    return seen[: study.budget.trials]


@pytest.mark.parametrize(
    ("keys", "options", "tasks"),
    [
        ({"merge_method": "task_arithmetic"}, "", ["t"]),
        ({"merge_method": "ties", "layer_granularity": 4}, "--sigma0 0.3", ["t", "u"]),
        (
            {"merge_method": "dare_ties", "layer_granularity": 6, "filters": ["mlp"]},
            "--force-population-size 25",
            [{"name": "t", "weight": 0.2}, {"name": "u", "weight": -3}, {"name": "v", "weight": 0}],
        ),
        ({"merge_method": "linear"}, "--force-population-size 4", ["t"]),
        ({"merge_method": "slerp", "layer_granularity": 2}, "--force-population-size 5", ["t"]),
        (
            {"merge_method": "ties", "layer_granularity": 1, "filters": list("abcdef")},
            "--max-fevals 100",
            ["t", "u"],
        ),
    ],
)
def test_the_same_genotypes_in_the_same_order(keys, options, tasks, tmp_path):
    """With mirrored samples (below 6), two-point adaptation (from 300 genes), several tasks."""
    for name in ("base", "a", "b", "c"):
        (tmp_path / name).mkdir()
        config = {"model_type": "llama", "num_hidden_layers": 12}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    models = [str(tmp_path / name) for name in "abc"]
    base = keys["merge_method"] not in ("linear", "slerp")
    genome = keys | {"models": models, "base_model": str(tmp_path / "base") if base else None}
    line = f"--random-seed {SEED} --max-fevals 240 {options}"
    _, given = read_command(line.split())
    text = yaml.safe_dump({"genome": genome, "tasks": tasks})
    study = read_study(translate(text, Path("evolve.yml"), given).study, "study")

    named = {"base": study.models.base, **study.models.donors}
    refs = {name: ModelRef(path=path) for name, path in named.items()}
    context = SpaceContext(refs.pop("base"), refs, llama(12), "bfloat16", study.seed)
    space = load_space(study.space, context)
    x0 = ModelGenome(ModelGenomeDefinition.model_validate(genome)).initial_genotype()
    x0 = x0.view(-1).numpy()

    def metrics_of(genotype):
        peaks = {"t": 0.6, "u": -0.2, "v": 0.9}
        slope = np.linspace(1, 3, len(genotype))
        return {
            name: float(-np.sum(slope * (np.abs(genotype) - peaks[name]) ** 2))
            for name in study.objectives
        }

    weights = {
        one["name"]: one.get("weight", 1) if isinstance(one, dict) else 1
        for one in [one if isinstance(one, dict) else {"name": one} for one in tasks]
    }

    def score(genotype):
        metrics = metrics_of(genotype)
        return sum(weight * metrics[name] for name, weight in weights.items())

    wanted = theirs(x0, given.sigma0, score, given.max_fevals, given.force_population_size)
    got = ours(study, space, metrics_of, tmp_path)
    assert len(got) == given.max_fevals
    for mine, other in zip(got, wanted, strict=False):
        np.testing.assert_array_equal(mine, other)
    population = given.force_population_size or 4 + int(3 * math.log(len(x0)))
    generations = given.max_fevals // population + 1  # as the notes of a translation say
    assert len(wanted) == generations * population + 1


def test_a_generation_without_a_ranking_ends_it_there_and_is_drawn_again_here(tmp_path):
    genome = {"merge_method": "linear", "models": ["o/a", "o/b", "o/c"]}
    _, given = read_command(f"--random-seed {SEED} --max-fevals 28".split())
    text = yaml.safe_dump({"genome": genome, "tasks": ["t"]})
    study = read_study(translate(text, Path("evolve.yml"), given).study, "study")
    refs = {name: ModelRef(path=f"o/{name}") for name in "bc"}
    context = SpaceContext(ModelRef(path="o/a"), refs, llama(12), "bfloat16", study.seed)
    space = load_space(study.space, context)
    wanted = theirs(np.array(space.domain.initial), given.sigma0, lambda _: 0.5, 28, None)
    got = ours(study, space, lambda _: {"t": 0.5}, tmp_path)
    assert len(wanted) == 7 + 1
    assert len(got) == 28
    np.testing.assert_array_equal(got[:7], wanted[:7])
    assert len(set(map(tuple, got))) == 28
