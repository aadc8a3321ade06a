"""From a study file to the objects a run is made of, with every problem found before it starts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from evomerge import zoo
from evomerge.errors import ConfigError, UserError
from evomerge.fitness import FitnessSpec, check_fitness, load_items
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.optimizers import Optimizer, Scalarised, build_optimizer
from evomerge.recipe.model import ModelRef, Recipe, Source
from evomerge.spaces import DeclaredSpace, Space, SpaceContext, load_space
from evomerge.study.config import ObjectiveConfig, StudyConfig
from evomerge.study.outline import Outline
from evomerge.types import Objective
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec

VERSIONED = ("evomerge", "torch", "transformers", "numpy", "cma", "pymoo", "optuna", "scipy")
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared(Outline):
    """A checked study, ready to run.

    Attributes:
        evaluator: what workers build.
        inputs: digests of everything the results depend on, by its key in the study file.
    """

    evaluator: EvaluatorSpec
    inputs: Mapping[str, str]

    def optimizer(self) -> Optimizer:
        """Build a fresh optimizer: same study, same proposals."""
        return _optimizer(self.config, self.folder, self.space, self.objectives)


def prepare(config: StudyConfig, folder: Path) -> Prepared:
    """Check a study against its models, data and plug-ins.

    Raises:
        ConfigError: with one line for each problem found.
    """
    problems: list[str] = []
    engine = MergeEngine(allow_pickle=config.models.allow_pickle)

    base = _attempt(problems, "models.base", lambda: _pin(engine, config.models.base, folder))
    donors = {
        name: _attempt(problems, f"models.donors.{name}", partial(_pin, engine, path, folder, base))
        for name, path in config.models.donors.items()
    }
    parts, files = _objectives(config, folder, problems)
    space: Space | None = None
    context: SpaceContext | None = None
    if base is not None and all(donors.values()):
        found = {name: ref for name, ref in donors.items() if ref is not None}
        layout = open_checkpoint(base, allow_pickle=config.models.allow_pickle).layout
        dtype = config.dtype or engine.config(_unmerged(base))["dtype"]
        context = SpaceContext(base, found, layout, dtype, config.seed)
        source = _space_source(config.space, folder)
        space = _attempt(problems, "space", lambda: load_space(source, context, folder=folder))
    objectives = tuple(part.objective for part in parts)
    if space is not None and context is not None:
        known = space
        _attempt(problems, "space", lambda: engine.check(known.decode(known.domain.initial)))
        _attempt(problems, "search", lambda: _optimizer(config, folder, known, objectives))
    if problems or space is None or context is None:
        raise ConfigError(problems)

    spec = EvaluatorSpec(
        template=space.decode(space.domain.initial),
        base=context.base,
        objectives=tuple(parts),
        folder=folder,
        device=config.workers.device,
        threads=config.workers.threads or max(1, (os.cpu_count() or 1) // config.workers.count),
        allow_pickle=config.models.allow_pickle,
    )
    models = {"models.base": context.base} | {
        f"models.donors.{name}": ref for name, ref in context.donors.items()
    }
    inputs = {name: ref.sha256 or "" for name, ref in models.items()} | files
    if not isinstance(space, DeclaredSpace):
        inputs |= _python_file("space", str(config.space), folder)
    return Prepared(config, folder, context, space, objectives, spec, inputs)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries a run's results depend on."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _attempt(problems: list[str], where: str, step: Callable[[], T]) -> T | None:
    """Run one step; a user's error becomes one more problem instead of ending the check."""
    try:
        return step()
    except ConfigError as error:
        problems += [f"{where}: {problem}" for problem in error.problems]
    except UserError as error:
        problems.append(f"{where}: {error}")
    return None


def _pin(engine: MergeEngine, text: str, folder: Path, base: ModelRef | None = None) -> ModelRef:
    """Resolve a model of the study file and identify it by its content.

    A donor that is a bare adapter folder stands for the base with that adapter.
    """
    if text.startswith("zoo:"):
        ref = ModelRef(path=str(zoo.path() / "models" / text.removeprefix("zoo:")))
    else:
        ref = ModelRef.parse(text)
        ref = ref.model_copy(
            update={"path": _local(ref.path, folder), "adapter": _local(ref.adapter, folder)}
        )
    if base is not None and (Path(ref.path) / "adapter_config.json").is_file():
        ref = base.model_copy(update={"adapter": ref.path, "sha256": None})
    return ref.model_copy(update={"sha256": engine.digest(ref)})


def _unmerged(ref: ModelRef) -> Recipe:
    """Describe a model as the recipe that leaves it as it is."""
    return Recipe(merge_method="passthrough", models=(Source(model=ref),))


def _local(path: str | None, folder: Path) -> Any:
    """Make a path absolute when it names something on disk; else it is a hub id."""
    if path is None:
        return None
    candidate = folder / Path(path).expanduser()
    looks_local = path.startswith((".", "/", "~"))
    return str(candidate.resolve()) if looks_local or candidate.exists() else path


def _space_source(space: str | dict[str, Any], folder: Path) -> Any:
    """Prefer a file beside the study file over a shipped space of that name."""
    if isinstance(space, str) and (folder / space).is_file():
        return folder / space
    return space


def _objectives(
    config: StudyConfig, folder: Path, problems: list[str]
) -> tuple[list[ObjectiveSpec], dict[str, str]]:
    parts: list[ObjectiveSpec] = []
    files: dict[str, str] = {}
    for name, part in config.objectives.items():
        where = f"objectives.{name}"
        fitness = _attempt(
            problems,
            where,
            partial(check_fitness, part.fitness, part.arguments, metric=part.metric, folder=folder),
        )
        goal = part.goal or (fitness.goal if fitness else None) or "maximize"
        parts.append(
            ObjectiveSpec(
                Objective(name, goal),
                part.fitness,
                part.arguments,
                part.metric,
                part.search,
                part.holdout,
                part.limit,
            )
        )
        _items(part, fitness, where, folder, problems, files)
        files |= _python_file(f"{where}.fitness", part.fitness, folder)
    return parts, files


def _python_file(where: str, name: str, folder: Path) -> dict[str, str]:
    """Return the digest of the file a plug-in is defined in, when it is named by its file."""
    location = name.rpartition(":")[0]
    if not location.endswith(".py") or not (folder / location).is_file():
        return {}
    return {where: _sha256((folder / location).read_bytes())}


def _items(
    part: ObjectiveConfig,
    fitness: FitnessSpec | None,
    where: str,
    folder: Path,
    problems: list[str],
    files: dict[str, str],
) -> None:
    """Read the items of one objective and make sure that reporting data is other data."""
    if fitness is not None and fitness.needs_items and part.search is None:
        problems.append(f"{where}: fitness '{part.fitness}' needs data; add 'search: items.jsonl'")
    contents: dict[str, set[str]] = {}
    for split, source in (("search", part.search), ("holdout", part.holdout)):
        if source is None:
            continue
        items = _attempt(
            problems,
            f"{where}.{split}",
            partial(load_items, source, folder=folder, limit=part.limit),
        )
        if items is None:
            continue
        rows = [_content(item) for item in items]
        contents[split] = set(rows)
        files[f"{where}.{split}"] = _sha256("\n".join(rows).encode())
    shared = contents.get("search", set()) & contents.get("holdout", set())
    if shared:
        problems.append(
            f"{where}.holdout: {len(shared)} items are search items too; "
            "scores would be optimistic: remove them from one of the two"
        )


def _content(item: Mapping[str, Any]) -> str:
    return json.dumps(
        {key: value for key, value in item.items() if key != "id"}, sort_keys=True, default=str
    )


def _optimizer(
    config: StudyConfig, folder: Path, space: Space, objectives: tuple[Objective, ...]
) -> Optimizer:
    search = config.search
    count = len(objectives)
    scalarize = search.scalarize
    optimizer = build_optimizer(
        search.optimizer,
        space.domain,
        1 if scalarize else count,
        config.seed,
        search.arguments,
        folder,
    )
    if scalarize is None:
        return optimizer
    if count == 1:
        raise ConfigError(["scalarize: there is only one objective; remove the key"])
    names = [objective.name for objective in objectives]
    weights, anchors = scalarize.weights, scalarize.anchors
    return Scalarised(
        optimizer,
        count,
        method=scalarize.method,
        weights=[weights[name] for name in names] if weights else None,
        anchors=[anchors[name] for name in names] if anchors else None,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
