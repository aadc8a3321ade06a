"""A configuration and a command line of mergekit-evolve, as a study.

What mergekit-evolve maximises is the sum of weight x metric over its tasks. A task becomes an
objective, a weighted sum combines them for pycma, and a task of negative weight is an objective to
minimise: up to a positive factor, which CMA-ES does not see, the sum is the same. Beside it the
study has a front over the tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evomerge.errors import ConfigError
from evomerge.located_yaml import Locator, explain, load_located
from evomerge.migrate.configuration import (
    EvolveConfiguration,
    GenomeSection,
    ignored_keys,
    is_configuration,
    read_configuration,
)
from evomerge.migrate.notes import Note, notes
from evomerge.migrate.options import PROGRAM, EvolveOptions
from evomerge.migrate.places import Places
from evomerge.migrate.writing import written
from evomerge.recipe.model import ModelRef
from evomerge.spaces.mergekit_evolve import EvolveSpec
from evomerge.spaces.mergekit_evolve.spec import BASE, NEEDS_BASE

_TAKEN = (BASE, "uniform")
UNBOUNDED = (-1024.0, 1024.0)

__all__ = ["Note", "Translation", "translate"]


@dataclass(frozen=True, slots=True)
class Translation:
    """A study, and how it came about.

    Attributes:
        name: of the study.
        study: its file.
        notes: what became of each key and option.
    """

    name: str
    study: str
    notes: tuple[Note, ...]

    @property
    def refused(self) -> tuple[Note, ...]:
        """What was asked for and is not done."""
        return tuple(note for note in self.notes if note.state == "refused")


def translate(
    text: str, path: Path, options: EvolveOptions | None = None, *, folder: Path | None = None
) -> Translation:
    """Translate a configuration of mergekit-evolve.

    Args:
        text: of the configuration.
        path: of its file, for messages; relative paths in it start in the current directory, as
            mergekit-evolve has it, or else beside the file.
        options: of the command line.
        folder: where the study is going to stand: models are named from there. Without it they
            have absolute paths.

    Raises:
        ConfigError: one line for each problem, with file and line.
    """
    options = options or EvolveOptions()
    data, locate = load_located(text, str(path), lambda line: ConfigError([line]))
    if not is_configuration(data):
        raise ConfigError([f"{path}: no configuration of mergekit-evolve: no 'genome' and 'tasks'"])
    configuration = read_configuration(data, locate, str(path))
    place = _Problems(locate, str(path))
    places = Places(path.parent, folder)
    genome = configuration.genome
    names = _names(genome, place)
    objectives, weights = _objectives(configuration, options, places, place)
    if place.lines:
        raise ConfigError(place.lines)
    content: dict[str, Any] = {
        "name": _plain(path.stem) or "evolve",
        "seed": options.random_seed,
        "models": {
            "base": places.spelled(next(ref for ref, name in names.items() if name == BASE)),
            "donors": {name: places.spelled(ref) for ref, name in names.items() if name != BASE},
        },
        "dtype": "bfloat16",
        "space": _space(configuration, names, places),
        "objectives": objectives,
        "search": _search(options, weights),
        "budget": {"trials": options.max_fevals},
        "workers": {"count": options.num_gpus or 1},
    }
    if options.timeout is not None:
        content["budget"]["hours"] = options.timeout / 3600
    if options.wandb:
        wandb = {"project": options.wandb_project or PROGRAM, "entity": options.wandb_entity}
        told = {key: value for key, value in wandb.items() if value is not None}
        content["callbacks"] = [{"callback": "wandb", **told}]
    try:
        EvolveSpec.model_validate(content["space"])
    except ValidationError as error:
        raise ConfigError(explain(error, locate, str(path), EvolveSpec, ("genome",))) from None
    said = notes(data, configuration, options, content, tuple(ignored_keys(data)))
    return Translation(content["name"], written(content, path, options, said), said)


class _Problems:
    """Collects lines that point into the configuration."""

    def __init__(self, locate: Locator, source: str) -> None:
        self.lines: list[str] = []
        self._locate = locate
        self._source = source

    def add(self, path: tuple[str | int, ...], where: str, message: str) -> None:
        self.lines.append(f"{self._locate.place(path, self._source)}: {where}: {message}")


def _names(genome: GenomeSection, problems: _Problems) -> dict[ModelRef, str]:
    """Name every model, in the order of its genes; the base stands where it is merged, or first."""
    if genome.base_model is None and genome.merge_method in NEEDS_BASE:
        problems.add(
            ("genome",), "genome.base_model", f"{genome.merge_method} needs one; name the base"
        )
    base = genome.base_model or genome.models[0]
    names: dict[ModelRef, str] = {} if base in genome.models else {base: BASE}
    for index, ref in enumerate(genome.models):
        if ref in names:
            problems.add(
                ("genome", "models", index),
                f"genome.models[{index}]",
                f"'{ref}' is listed twice; list it once",
            )
        taken = (*_TAKEN, *names.values())
        names[ref] = BASE if ref == base else _unique(_last_part(ref) or "model", taken)
    if set(names.values()) == {BASE}:
        problems.add(
            ("genome", "models"), "genome.models", "there is nothing to merge; add a second model"
        )
    return names


def _space(
    configuration: EvolveConfiguration,
    names: Mapping[ModelRef, str],
    places: Places,
) -> dict[str, Any]:
    genome = configuration.genome
    space: dict[str, Any] = {
        "genome": "mergekit-evolve",
        "merge_method": genome.merge_method,
        "models": [names[ref] for ref in genome.models],
    }
    if genome.base_model is not None and genome.merge_method in ("linear", "slerp"):
        space["base_model"] = True
    if genome.tokenizer_source is not None:
        space["tokenizer_source"] = _tokenizer(genome, names, places)
    if genome.layer_granularity > 0:
        space["layer_granularity"] = genome.layer_granularity
    if genome.normalize is not None:
        space["normalize"] = genome.normalize
    if genome.filters:
        space["filters"] = list(genome.filters)
    for key in ("allow_negative_weights", "smooth"):
        if getattr(genome, key):
            space[key] = True
    if configuration.random_init:
        space["random_init"] = True
    return space | {"range": list(UNBOUNDED)}


def _tokenizer(genome: GenomeSection, names: Mapping[ModelRef, str], places: Places) -> str:
    """Name a tokenizer by its donor, by 'base', or by its place."""
    source = genome.tokenizer_source or ""
    if source in ("base", "union"):
        return source
    ref = ModelRef.parse(source)
    name = names.get(ref)
    if name is None or (name == BASE and genome.base_model is None):
        return places.absolute(ref)
    return name


def _objectives(
    configuration: EvolveConfiguration,
    options: EvolveOptions,
    places: Places,
    problems: _Problems,
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Return an objective for each task and metric, and the weight of each."""
    weights: dict[tuple[str, str], float] = {}
    for one in configuration.tasks:  # a sum counts a task that is listed twice twice
        key = (one.name, one.metric)
        weights[key] = weights.get(key, 0.0) + one.weight
    if not any(weights.values()):
        problems.add(("tasks",), "tasks", "all weights are 0; give one task another weight")
    tasks = [task for task, _ in weights]
    objectives: dict[str, dict[str, Any]] = {}
    by_name: dict[str, float] = {}
    for (task, metric), weight in weights.items():
        text = task if tasks.count(task) == 1 else f"{task}-{metric.removesuffix(',none')}"
        name = _unique(_plain(text) or "task", tuple(objectives))
        objective: dict[str, Any] = {
            "fitness": "lm_eval",
            "tasks": [task],
            "metric": metric,
            "goal": "minimize" if weight < 0 else "maximize",
        }
        objective |= _shared_arguments(configuration, options, places)
        objectives[name] = objective
        by_name[name] = abs(weight)
    return objectives, by_name


def _shared_arguments(
    configuration: EvolveConfiguration, options: EvolveOptions, places: Places
) -> dict[str, Any]:
    paths = [places.absolute(ModelRef(path=one)) for one in options.task_search_path]
    optional = {
        "num_fewshot": configuration.num_fewshot,
        "limit": configuration.limit,
        "batch_size": options.batch_size,
        "include_path": paths[0] if paths else None,
        "engine": "vllm" if options.vllm else None,
    }
    return {
        "apply_chat_template": configuration.apply_chat_template,
        "fewshot_as_multiturn": configuration.fewshot_as_multiturn,
    } | {key: value for key, value in optional.items() if value is not None}


def _search(options: EvolveOptions, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return what makes pycma propose what it proposes in mergekit-evolve."""
    search: dict[str, Any] = {"optimizer": "pycma", "seeds": False, "sigma0": options.sigma0}
    if options.force_population_size is not None:
        search["population"] = options.force_population_size
    if len(weights) > 1:
        search["scalarize"] = {"method": "weighted", "weights": dict(weights)}
    return search


def _last_part(ref: ModelRef) -> str:
    """Name a model after its folder, or after its adapter's."""
    return _plain(re.split(r"[/\\:]", (ref.adapter or ref.path).rstrip("/\\"))[-1])


def _plain(text: str) -> str:
    """Make a text a name of a study."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:70]


def _unique(name: str, taken: Sequence[str]) -> str:
    """Return the name, numbered where it is taken."""
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
