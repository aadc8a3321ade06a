"""A study without models: a space of plain numbers, scored by a formula of the recipe."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from evomerge.errors import InvalidGenotype
from evomerge.recipe import Layout, ModelRef, Recipe
from evomerge.spaces import SpaceContext
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.study.config import StudyConfig
from evomerge.study.preparation import Prepared
from evomerge.types import Completed, Failed, Objective
from evomerge.workers import EvaluatorSpec, Job, JobResult, ObjectiveSpec

DONORS = {"a": ModelRef(path="/models/a"), "b": ModelRef(path="/models/b")}
OBJECTIVES = (Objective("one"), Objective("two", "minimize"))


class PlainSpace:
    """Two weights; weights that sum to more than 1.9 mean nothing."""

    domain = Domain(
        (Gene("weight[a]", initial=0.5), Gene("weight[b]", initial=0.5)),
        (
            Seed("base", (0.0, 0.0)),
            Seed("a", (1.0, 0.0)),
            Seed("b", (0.0, 1.0)),
            Seed("uniform", (0.5, 0.5)),
        ),
    )

    def decode(self, genotype):
        if sum(genotype) > 1.9:
            raise InvalidGenotype(f"weights sum to {sum(genotype):.3f}")
        sources = [
            {"model": ref, "parameters": {"weight": weight}}
            for ref, weight in zip(DONORS.values(), genotype, strict=True)
        ]
        return Recipe.model_validate(
            {
                "merge_method": "task_arithmetic",
                "base_model": "/models/base",
                "models": sources,
                "parameters": {"normalize": False},
                "seed": 3,
            }
        )


def score(recipe: Recipe):
    """A smooth conflict between two objectives, and a region where scoring fails."""
    values = {source.model.path: source.parameters.get("weight", 0.0) for source in recipe.models}
    a, b = values.get("/models/a", 0.0), values.get("/models/b", 0.0)
    if 0.6 < a < 0.75:
        return Failed("error", "ValueError: a bad region", "Traceback ...")
    metrics = {"one": 1 - (a - 0.9) ** 2 - 0.1 * b, "two": (b - 0.8) ** 2 + 0.2 * a}
    examples = {"one": {f"i{k}": math.sin(k * a) for k in range(5)}}
    return Completed(metrics, examples)


class FakeExecutor:
    """Scores in-process with any capacity; results come in an order drawn from a seed."""

    def __init__(self, capacity=1, seed=0, pause_s=0.0):
        self.capacity = capacity
        self._random = np.random.default_rng(seed)
        self._pause_s = pause_s
        self._jobs = []
        self.evaluated = []

    def submit(self, job: Job):
        self._jobs.append(job)

    def wait(self, timeout_s=None):
        if not self._jobs:
            return []
        time.sleep(self._pause_s * self._random.random())
        job = self._jobs.pop(int(self._random.integers(len(self._jobs))))
        self.evaluated.append((job.id, job.split, job.attempt))
        return [JobResult(job, score(job.recipe), 0.0, 0.0, "fake")]

    def close(self):
        pass


def config(**changes) -> StudyConfig:
    """A study of 40 NSGA-II trials; any key may be changed."""
    values = {
        "name": "fake",
        "seed": 3,
        "models": {"base": "/models/base", "donors": {n: r.path for n, r in DONORS.items()}},
        "space": "plain",
        "objectives": {
            "one": {"fitness": "fake", "search": "s", "holdout": "h"},
            "two": {"fitness": "fake", "goal": "minimize", "search": "s", "holdout": "h"},
        },
        "search": {"optimizer": "nsga2", "population": 8},
        "budget": {"trials": 40},
        "front": {"lambdas": [0.3, 0.5], "size": 6},
    }
    return StudyConfig.model_validate(values | changes)


def prepared(study: StudyConfig | None = None, folder: Path = Path("/study")) -> Prepared:
    """What `prepare` would return for `config()`, had it real models to check."""
    study = study or config()
    base = ModelRef(path="/models/base")
    layout = Layout.of(["model.layers.0.mlp.weight", "model.layers.1.mlp.weight"])
    context = SpaceContext(base, DONORS, layout, None, study.seed)
    space = PlainSpace()
    parts = tuple(
        ObjectiveSpec(objective, "fake", search="s", holdout="h") for objective in OBJECTIVES
    )
    spec = EvaluatorSpec(space.decode((0.5, 0.5)), base, parts, folder)
    return Prepared(study, folder, context, space, OBJECTIVES, spec, {"models.base": "0" * 64})
