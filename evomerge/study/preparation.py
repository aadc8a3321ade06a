"""From a study file to the objects a run is made of, with every problem found before it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from evomerge.callbacks import check_callback
from evomerge.errors import ConfigError
from evomerge.fitness import BoundFitness, FitnessSpec, check_fitness
from evomerge.fitness.public_tests import public_test_of
from evomerge.merging import MergeEngine, resolve_device
from evomerge.merging.checkpoint import resolve_folder
from evomerge.merging.spread import Placement, require_placeable
from evomerge.merging.tokenizer import load_tokenizer
from evomerge.optimizers import Optimizer
from evomerge.recipe.model import ModelRef, Recipe
from evomerge.spaces import Space, SpaceContext, known_recipes
from evomerge.study.config import ObjectiveConfig, StageConfig, StudyConfig
from evomerge.study.course import Part
from evomerge.study.expected_trials import expected_trials
from evomerge.study.items import ItemsBySplit, read_items, with_default_sources
from evomerge.study.models import context_of, is_adapter, pinned, trusted_code
from evomerge.study.outline import Outline
from evomerge.study.problems import Problems
from evomerge.study.rehearsal import Rehearsal, Rehearsed
from evomerge.study.rungs.checks import check_rungs
from evomerge.study.stage_optimizer import stage_optimizer
from evomerge.study.unseen import StandIns
from evomerge.study.workers_config import WorkersConfig
from evomerge.types import Objective
from evomerge.workers.cached import OutcomeStore
from evomerge.workers.local import devices_of_workers
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec, ProxySpec, items_digest

VERSIONED = (
    "evomerge",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "cma",
    "cmaes",
    "pymoo",
    "optuna",
    "botorch",
    "gpytorch",
    "smac",
    "scikit-learn",
    "lm-eval",
    "datasets",
    "vllm",
)


@dataclass(frozen=True)
class Prepared(Outline):
    """A checked study, ready to run.

    Attributes:
        evaluator: what workers build.
        inputs: digests of everything the results depend on, by its key in the study file.
        items: objective name to the ids of its search items, in order, where it reads items.
        paths: the layer path each stage starts from, by its name, where it searches paths; for
            the dress rehearsal.
        needs_examples: an optimizer reads the scores of single examples.
        nonnegative: these must not be negative.
        warnings: what readers of the results must know of how they were found, a line each.
    """

    evaluator: EvaluatorSpec
    inputs: Mapping[str, str]
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True)
    paths: Mapping[str, Recipe] = field(default_factory=dict, kw_only=True)
    needs_examples: bool = field(default=False, kw_only=True)
    nonnegative: bool = field(default=False, kw_only=True)
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def proxies(self) -> dict[str, ProxySpec]:
        """Objective name to its proxy, where it has one."""
        return {
            part.objective.name: part.proxy
            for part in self.evaluator.objectives
            if part.proxy is not None
        }

    def optimizer(self, part: Part, position: int = 0) -> Optimizer:
        """Build a fresh optimizer: same study, same part, same proposals.

        Args:
            part: what it is going to search.
            position: of the part among all of the run; each draws numbers of its own.
        """
        seed = self.config.seed
        if position:  # mixed, so that no stage draws what another seed's other stage does
            seed = int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
        stage = part.stage.model_copy(update={"trials": part.trials})
        rungs = self.config.rungs
        return stage_optimizer(
            stage,
            part.space,
            seed,
            self.objectives,
            self.folder,
            expected=self.expected_trials(part.space),
            doubt=1.0 if rungs is None else rungs.estimator.doubt,
        )

    def expected_trials(self, space: Space) -> int | None:
        """Return about how many trials a budget of items pays for, see `expected_trials`."""
        counts = {name: len(ids) for name, ids in self.items.items()}
        return expected_trials(self.config, space, counts)


def prepare(config: StudyConfig, folder: Path, stand_ins: StandIns | None = None) -> Prepared:
    """Check a study against its models, data and plug-ins.

    Args:
        config: the study.
        folder: where its relative paths start.
        stand_ins: configurations for models that are not on this machine. What was prepared with
            them can be read and not be run.

    Raises:
        ConfigError: with one line for each problem found.
    """
    problems = Problems()
    engine = MergeEngine(allow_pickle=config.models.allow_pickle)
    stand_ins = stand_ins or StandIns()
    stand_ins.require_known(("base", *config.models.donors))

    pin = partial(pinned, engine, stand_ins, folder)
    base = problems.attempt("models.base", lambda: pin("base", config.models.base))
    donors = {
        name: problems.attempt(f"models.donors.{name}", partial(pin, name, path, base))
        for name, path in config.models.donors.items()
        if base is not None or not is_adapter(path, folder)
    }
    trusted = _trusted(config, {"base": base, **donors}, problems)
    fitnesses = _fitnesses(config, folder, problems)
    config = with_default_sources(config, fitnesses)
    owners = _owners(fitnesses, problems)
    found_items = read_items(config, folder, problems, owners)
    if base is not None and not stand_ins.used and "base" not in trusted:
        _check_tokenizer(base, owners, problems)
    parts, files = _objectives(config, folder, problems, found_items, fitnesses, owners)
    objectives = tuple(part.objective for part in parts)
    if config.rungs is not None:
        check_rungs(config.rungs, parts, found_items, folder, problems)
    for position, callback in enumerate(config.callbacks):
        check = partial(check_callback, callback.callback, callback.arguments, folder=folder)
        problems.attempt(f"callbacks[{position}]", check)
    cache = config.cache_file(folder)
    if cache is not None and not stand_ins.used:  # else it is to run on another machine
        problems.attempt("cache", partial(OutcomeStore.check, cache))
    if config.workers.backend != "ray":  # whose devices are not here
        problems.attempt("workers.device", partial(_check_devices, config.workers))
    context: SpaceContext | None = None
    stages: list[Rehearsed] = []
    if base is not None and all(donors.values()):
        found = {name: ref for name, ref in donors.items() if ref is not None}
        context = context_of(config, engine, base, found)
        counts = {name: len(own["search"]) for name, own in found_items.items() if "search" in own}

        def optimizer(stage: StageConfig, space: Space) -> Optimizer:
            expected = expected_trials(config, space, counts)
            return stage_optimizer(stage, space, config.seed, objectives, folder, expected=expected)

        stages = Rehearsal(config, folder, context, optimizer, problems).run(engine)
        uniform = known_recipes(context).get("uniform")
        if uniform is not None and not problems.lines:  # of base and donors, as the baselines are
            problems.attempt("models", lambda: engine.check(uniform))
    if problems.lines or context is None:
        raise ConfigError(problems.lines)

    if config.workers.spreads and any(one.recipe.path is not None for one in stages):
        raise ConfigError(
            [
                "workers: a layer path runs on one device; remove gpus_per_worker, device_memory "
                "and offload, or search merges"
            ]
        )
    spec = EvaluatorSpec(
        template=stages[0].recipe,
        base=context.base,
        objectives=tuple(parts),
        folder=folder,
        device=config.workers.device_each,
        gpus=config.workers.gpus_each,
        device_memory=config.workers.device_memory,
        offload=config.workers.offload,
        threads=config.workers.threads_each,
        allow_pickle=config.models.allow_pickle,
        trusted=tuple(trusted.values()),
        path_cache_bytes=config.workers.prefix_cache_mb * 2**20,
    )
    models = {"models.base": context.base} | {
        f"models.donors.{name}": ref for name, ref in donors.items() if ref is not None
    }
    inputs = {name: ref.sha256 or "" for name, ref in models.items()} | files
    inputs |= {f"the code of model '{name}'": digest for name, (_, digest) in trusted.items()}
    for stage in config.plan:
        where = f"stages.{stage.name}.space" if stage.name else "space"
        inputs |= _python_file(where, str(stage.space), folder)
    first, *later = (stage.space for stage in stages)
    paths = {
        stage.name: tried.recipe
        for stage, tried in zip(config.plan, stages, strict=True)
        if tried.recipe.path is not None
    }
    return Prepared(
        config,
        folder,
        context,
        first,
        objectives,
        spec,
        inputs,
        later=tuple(later),
        items={
            name: tuple(item["id"] for item in own["search"])
            for name, own in found_items.items()
            if "search" in own
        },
        paths=paths,
        needs_examples=any(stage.needs.examples for stage in stages),
        nonnegative=any(stage.needs.nonnegative for stage in stages),
        warnings=(*_code_warnings(trusted), *_warnings(config, owners)),
    )


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries a run's results depend on."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _check_devices(workers: WorkersConfig) -> None:
    """Refuse devices that are not on this machine.

    Raises:
        UserError: naming them.
    """
    resolve_device(workers.device)
    devices = devices_of_workers(workers.device, workers.count, workers.gpus_each)[0].split(",")
    require_placeable(
        Placement(
            tuple(resolve_device(one) for one in devices), workers.device_memory, workers.offload
        )
    )


def _trusted(
    config: StudyConfig, models: Mapping[str, ModelRef | None], problems: Problems
) -> dict[str, tuple[ModelRef, str]]:
    """Return the models whose own code may be run, each with the sha256 of that code."""
    found = {}
    for name in config.models.trust_remote_code:
        ref = models.get(name)
        if ref is not None:
            digest = problems.attempt("models.trust_remote_code", partial(trusted_code, ref, name))
            if digest is not None:
                found[name] = (ref, digest)
    return found


def _code_warnings(trusted: Mapping[str, tuple[ModelRef, str]]) -> Iterator[str]:
    for name, (_, digest) in trusted.items():
        yield (
            f"Python code that came with model '{name}' may run with your rights "
            f"(trust_remote_code; sha256 {digest[:16]}…)"
        )


def _fitnesses(
    config: StudyConfig, folder: Path, problems: Problems
) -> dict[str, FitnessSpec | None]:
    return {
        name: problems.attempt(
            f"objectives.{name}",
            partial(check_fitness, part.fitness, part.arguments, metric=part.metric, folder=folder),
        )
        for name, part in config.objectives.items()
    }


def _owners(
    fitnesses: Mapping[str, FitnessSpec | None], problems: Problems
) -> dict[str, BoundFitness]:
    """Build the fitnesses that bring their items; the others are built by workers only."""
    built = {
        name: problems.attempt(f"objectives.{name}", fitness.build)
        for name, fitness in fitnesses.items()
        if fitness is not None and fitness.brings_items
    }
    return {name: fitness for name, fitness in built.items() if fitness is not None}


def _check_tokenizer(
    base: ModelRef, owners: Mapping[str, BoundFitness], problems: Problems
) -> None:
    """Ask the fitnesses whether they can do with the base's tokenizer, as the rehearsal will."""
    asking = {name: one for name, one in owners.items() if one.checks_tokenizers}
    if not asking:
        return
    load = partial(load_tokenizer, resolve_folder(base.path, base.revision))
    tokenizer = problems.attempt("models.base", load)
    if tokenizer is None:
        return
    for name, owner in asking.items():
        problems.attempt(f"objectives.{name}", partial(owner.check_tokenizer, tokenizer))


def _warnings(config: StudyConfig, owners: Mapping[str, BoundFitness]) -> tuple[str, ...]:
    """Say what readers of the results must know of the items that the search scores."""
    found = []
    for name, part in config.objectives.items():
        for source in (part.search, part.validation):
            if source is None or isinstance(source, int):
                continue
            owner = owners.get(name)
            lines = public_test_of(source) if owner is None else owner.warnings(source)
            found += [f"objective '{name}': {line}" for line in lines]
    return tuple(dict.fromkeys(found))


def _objectives(
    config: StudyConfig,
    folder: Path,
    problems: Problems,
    items: Mapping[str, ItemsBySplit],
    fitnesses: Mapping[str, FitnessSpec | None],
    owners: Mapping[str, BoundFitness],
) -> tuple[list[ObjectiveSpec], dict[str, str]]:
    parts: list[ObjectiveSpec] = []
    files: dict[str, str] = {}
    for name, part in config.objectives.items():
        where = f"objectives.{name}"
        fitness = fitnesses[name]
        if fitness is not None and fitness.needs_items and part.search is None:
            problems.lines.append(
                f"{where}: fitness '{part.fitness}' needs data; add 'search: items.jsonl'"
            )
        known = owners.get(name, fitness)
        goal = part.goal or (known.goal if known else None) or "maximize"
        bounds = part.bounds or (known.bounds if known else (None, None))
        digests = {split: items_digest(found) for split, found in items.get(name, {}).items()}
        files |= {f"{where}.{split}": digest for split, digest in digests.items()}
        own = {}
        if fitness is not None and (items.get(name) or not fitness.brings_items):
            own = _fingerprint(where, fitness, owners.get(name), problems)
        files |= {f"{where}: {what}": digest for what, digest in own.items()}
        files |= _python_file(f"{where}.fitness", part.fitness, folder)
        if part.proxy is not None:
            files |= _python_file(f"{where}.proxy", part.proxy.fitness, folder)
        proxy = _proxy(part, where, folder, problems)
        if proxy is not None:
            own_proxy = proxy.fingerprint.items()
            files |= {f"{where}.proxy: {what}": digest for what, digest in own_proxy}
        parts.append(
            ObjectiveSpec(
                Objective(name, goal, bounds, _n_items(config, items.get(name, {}))),
                part.fitness,
                part.arguments,
                part.metric,
                part.search,
                part.holdout,
                part.limit,
                digests,
                part.validation,
                proxy,
                own,
            )
        )
    return parts, files


def _proxy(part: ObjectiveConfig, where: str, folder: Path, problems: Problems) -> ProxySpec | None:
    proxy = part.proxy
    if proxy is None:
        return None
    found = problems.attempt(
        f"{where}.proxy",
        partial(check_fitness, proxy.fitness, proxy.arguments, metric=proxy.metric, folder=folder),
    )
    goal = "maximize" if found is None else found.goal
    own = {} if found is None else _fingerprint(f"{where}.proxy", found, None, problems)
    return ProxySpec(proxy.fitness, proxy.arguments, proxy.metric, goal, proxy.cost, own)


def _fingerprint(
    where: str, spec: FitnessSpec, built: BoundFitness | None, problems: Problems
) -> dict[str, str]:
    """Return what a fitness says that its scores depend on; it is built where it was not."""
    if not spec.has_fingerprint:
        return {}
    fitness = built or problems.attempt(where, spec.build)
    found = None if fitness is None else problems.attempt(where, fitness.fingerprint)
    return found or {}


def _n_items(config: StudyConfig, items: ItemsBySplit) -> int | None:
    """Return how many items every candidate of a study is scored on; None where that differs."""
    if "search" not in items or any(stage.batches is not None for stage in config.plan):
        return None
    return len(items["search"])


def _python_file(where: str, name: str, folder: Path) -> dict[str, str]:
    """Return the digest of the file a plug-in is defined in, when it is named by its file."""
    path = plugin_file(name, folder)
    return {} if path is None else {where: _sha256(path.read_bytes())}


def plugin_file(name: str, folder: Path) -> Path | None:
    """Return the file a plug-in is defined in, when it is named by its file."""
    path = folder / name.rpartition(":")[0]
    return path if path.suffix == ".py" and path.is_file() else None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
