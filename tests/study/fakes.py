"""A study without models: a space of plain numbers, scored by a formula of the recipe."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from evomerge.errors import InvalidGenotype
from evomerge.recipe import Layout, ModelRef, Recipe
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.spaces import SpaceContext, load_space, model_weights
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.study import outline
from evomerge.study.config import StudyConfig
from evomerge.study.preparation import Prepared
from evomerge.study.problems import Problems
from evomerge.study.rehearsal import Rehearsal
from evomerge.study.stage_optimizer import stage_optimizer
from evomerge.types import Completed, Failed, Objective
from evomerge.workers import EvaluatorSpec, Held, Job, JobResult, ObjectiveSpec
from evomerge.workers.spec import ProxySpec

DONORS = {"a": ModelRef(path="/models/a"), "b": ModelRef(path="/models/b")}
LAYOUT = Layout.of([f"model.layers.{layer}.mlp.weight" for layer in range(4)], "llama")
SHAPE = TensorShapes(LAYOUT, dict.fromkeys(LAYOUT.tensors, (6, 5)))
ITEMS = {name: tuple(f"i{k}" for k in range(n)) for name, n in {"one": 50, "two": 45}.items()}
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


def plain_space(context):
    """`PlainSpace` under a name a study file can give: 'tests.study.fakes:plain_space'."""
    return PlainSpace()


class AimlessSpace(PlainSpace):
    """Starts where nothing has a meaning."""

    domain = Domain((Gene("weight[a]", initial=1.0), Gene("weight[b]", initial=1.0)))


def aimless_space(context):
    """`AimlessSpace` under a name a study file can give."""
    return AimlessSpace()


def weights_of(node) -> tuple[float, float]:
    """How much of each donor is in a model; a path has the mean of what it passes through."""
    if isinstance(node, ModelRef):
        return float(node.path == "/models/a"), float(node.path == "/models/b")
    by_layer = any(isinstance(one.parameters.get("weight"), tuple) for one in node.models)
    if node.lineage is not None or by_layer:  # every tensor is as large as every other
        found = model_weights.weights_of(node, node.base_model, SHAPE)
        means = np.mean(list(found.by_tensor().values()), axis=0)
        shares = dict.fromkeys(("/models/a", "/models/b"), 0.0)
        shares |= {ref.path: share for ref, share in zip(found.models, means, strict=True)}
        return float(shares["/models/a"]), float(shares["/models/b"])
    inputs = np.array([weights_of(source.model) for source in node.models])
    if node.path is None:
        shares = [source.parameters.get("weight", 0.0) for source in node.models]
    else:
        shares = np.zeros(len(inputs))
        for hop in node.path.hops:
            shares[hop.model] += hop.scale / len(node.path.hops)
    a, b = np.asarray(shares) @ inputs
    return float(a), float(b)


def score(recipe: Recipe):
    """A smooth conflict between two objectives, and a region where scoring fails."""
    a, b = weights_of(recipe)
    if 0.6 < a < 0.75:
        return Failed("error", "ValueError: a bad region", "Traceback ...")
    metrics = {"one": 1 - (a - 0.9) ** 2 - 0.1 * b, "two": (b - 0.8) ** 2 + 0.2 * a}
    examples = {"one": {f"i{k}": math.sin(k * a) for k in range(5)}}
    return Completed(metrics, examples)


class FakeClock:
    """Stands still until it is told to go on; a later process starts where it is told to."""

    def __init__(self, now=1_800_000_000.0):
        self._now = now

    def time(self):
        return self._now

    def monotonic(self):
        return self._now

    def pass_by(self, seconds):
        self._now += seconds


class FakeExecutor:
    """Scores in-process with any capacity; results come in an order drawn from a seed.

    Up to `handful` of them come together. With a clock every evaluation takes `tick_s` by it, as
    long as which its workers are held, one for each place, and `gpus` with them.
    """

    def __init__(self, capacity=1, seed=0, pause_s=0.0, handful=1, clock=None, tick_s=0.0, gpus=0):
        self.capacity = capacity
        self._clock = clock or FakeClock()
        self._tick_s = tick_s
        self._gpus = gpus
        self._started = self._clock.monotonic()
        self._random = np.random.default_rng(seed)
        self._pause_s = pause_s
        self._handful = handful
        self._jobs = []
        self.evaluated = []

    def submit(self, job: Job):
        self._jobs.append(job)

    def wait(self, timeout_s=None):
        if not self._jobs:
            return []
        time.sleep(self._pause_s * self._random.random())
        return [self._evaluate() for _ in range(min(self._handful, len(self._jobs)))]

    def _evaluate(self):
        self._clock.pass_by(self._tick_s)
        job = self._jobs.pop(int(self._random.integers(len(self._jobs))))
        self.evaluated.append((job.id, job.split, job.attempt))
        return JobResult(job, score(job.recipe), 0.0, 0.0, "fake")

    def held(self):
        seconds = self._clock.monotonic() - self._started
        gpus, workers = self._gpus, self.capacity
        return Held(workers, gpus, workers * seconds, gpus * seconds)

    def close(self):
        pass


class Interrupting(FakeExecutor):
    """Sends this process a signal, or fails, at the n-th evaluation."""

    def __init__(self, at, times=1, **options):
        super().__init__(**options)
        self._at = at
        self._times = times

    def wait(self, timeout_s=None):
        results = super().wait(timeout_s)
        if len(self.evaluated) == self._at:
            for _ in range(self._times):
                os.kill(os.getpid(), signal.SIGINT)
        return results


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


VALIDATED = {
    "space": "tests.study.fakes:plain_space",
    "objectives": {
        "one": {"fitness": "fake", "search": "s", "validation": 20, "holdout": "h"},
        "two": {
            "fitness": "fake",
            "goal": "minimize",
            "search": "s",
            "validation": 20,
            "holdout": "h",
        },
    },
}
"""A space, and objectives with validation items."""
STAGES = [
    {
        "name": "parameters",
        "space": "tests.study.fakes:plain_space",
        "search": {"optimizer": "nsga2", "population": 6},
        "trials": 14,
    },
    {
        "name": "layers",
        "take": {"merged": {"stage": "parameters"}},
        "donors": ["merged", "b"],
        "space": {"path": "depthwise"},
        "search": {"optimizer": "nsga2", "population": 6},
        "trials": 12,
    },
    {
        "name": "again",
        "through": {"stage": "layers"},
        "space": {
            "merge_method": "task_arithmetic",
            "parameters": {"normalize": False},
            "genes": {"weight": {"range": [0.0, 1.0]}},
        },
        "search": {"optimizer": "nsga2", "population": 6},
        "trials": 10,
    },
]


def staged_config(*stages, **changes) -> StudyConfig:
    """A study of the given stages (by default all of `STAGES`); any key may be changed."""
    values = config().model_dump(mode="json", exclude={"space", "search", "budget", "stages"})
    return StudyConfig.model_validate(values | {"stages": stages or STAGES} | changes)


def rehearsed(study: StudyConfig, folder: Path, context: SpaceContext, problems: Problems):
    """Try the stages of a study with an engine that finds nothing wrong."""

    def optimizer(stage, space):
        return stage_optimizer(stage, space, study.seed, OBJECTIVES, folder)

    engine = SimpleNamespace(check=lambda recipe: recipe)
    return Rehearsal(study, folder, context, optimizer, problems).run(engine)


def without_models(monkeypatch, *modules):
    """Let runs be prepared and read although no model is there."""
    for module in modules:
        monkeypatch.setattr(module, "prepare", prepared)
    base = SimpleNamespace(layout=LAYOUT)
    monkeypatch.setattr(outline, "open_checkpoint", lambda *_, **__: base)
    monkeypatch.setattr(outline, "tensor_shapes", lambda _: SHAPE)


def context_of(study: StudyConfig) -> SpaceContext:
    """What `prepare` would say of the models."""
    base = ModelRef(path="/models/base")
    return SpaceContext(base, DONORS, LAYOUT, None, study.seed, shape=SHAPE)


def prepared(study: StudyConfig | None = None, folder: Path = Path("/study")) -> Prepared:
    """What `prepare` would return for `config()`, had it real models to check."""
    study = study or config()
    context = context_of(study)
    space, later = PlainSpace(), ()
    if isinstance(study.space, dict):
        space = load_space(study.space, context)
    if study.stages is not None:
        problems = Problems()
        first, *others = rehearsed(study, folder, context, problems)
        assert problems.lines == []
        space, later = first.space, tuple(stage.space for stage in others)
    parts = tuple(
        ObjectiveSpec(
            objective,
            "fake",
            search="s",
            holdout="h",
            proxy=None if proxy is None else ProxySpec("p", {}, None, "minimize", proxy.cost),
        )
        for objective in OBJECTIVES
        for proxy in (study.objectives[objective.name].proxy,)
    )
    spec = EvaluatorSpec(space.decode(space.domain.initial), context.base, parts, folder)
    inputs = {"models.base": "0" * 64}
    return Prepared(
        study,
        folder,
        context,
        space,
        OBJECTIVES,
        spec,
        inputs,
        later=later,
        items=ITEMS,
        needs_examples=any(stage.search.optimizer == "m2n2" for stage in study.plan),
    )
