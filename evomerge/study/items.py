"""The items of a study, and the proof that it reports on others than it searched with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from evomerge.errors import DataError
from evomerge.fitness import BoundFitness, FitnessSpec, Item, load_items
from evomerge.study.config import ObjectiveConfig, StudyConfig
from evomerge.study.problems import Problems
from evomerge.types import Split
from evomerge.workers.spec import SPLITS, part_of, source_of

ItemsBySplit: TypeAlias = dict[Split, tuple[Item, ...]]


def with_default_sources(
    config: StudyConfig, fitnesses: Mapping[str, FitnessSpec | None]
) -> StudyConfig:
    """Name the items of objectives that name none and whose fitness brings its own."""
    completed = {}
    for name, part in config.objectives.items():
        fitness = fitnesses[name]
        if fitness is None or part.search is not None or part.holdout is not None:
            continue
        if fitness.brings_items and fitness.default_sources:
            completed[name] = part.model_copy(update=dict(fitness.default_sources))
    if not completed:
        return config
    return config.model_copy(update={"objectives": {**config.objectives, **completed}})


def read_items(
    config: StudyConfig,
    folder: Path,
    problems: Problems,
    owners: Mapping[str, BoundFitness],
) -> dict[str, ItemsBySplit]:
    """Read every objective's items, by objective and split.

    Args:
        config: the study, see `with_default_sources`.
        folder: where its relative paths start.
        problems: collects what is wrong.
        owners: the fitnesses that bring their items, by objective.

    Items that any objective searches with are none to validate or report on, whichever objective
    it is, and those it validates on are none to report on: each is a problem.
    """
    found: dict[str, ItemsBySplit] = {}
    for name, part in config.objectives.items():
        for split in SPLITS:
            items = problems.attempt(
                f"objectives.{name}.{split}",
                partial(_own_items, part, split, folder, owners.get(name)),
            )
            if items is not None:
                found.setdefault(name, {})[split] = items
    pairs: tuple[tuple[Split, Split], ...] = (
        ("search", "validation"),
        ("search", "holdout"),
        ("validation", "holdout"),
    )
    for used, split in pairs:
        known = {content for splits in found.values() for content in _contents(splits, used)}
        for name, splits in found.items():
            shared = known & _contents(splits, split)
            if shared:
                problems.lines.append(
                    f"objectives.{name}.{split}: {len(shared)} items are {used} items too; "
                    "scores would be optimistic: remove them from one of the two"
                )
    _check_batches(config, found, problems)
    return found


def _own_items(
    part: ObjectiveConfig, split: Split, folder: Path, owner: BoundFitness | None
) -> tuple[Item, ...] | None:
    source = source_of(split, part.search, part.validation, part.holdout)
    if source is None:
        return None
    read = load_items if owner is None else owner.load_items
    items = read(source, folder=folder, limit=part.limit)
    if isinstance(part.validation, int) and part.validation >= len(items) and split != "holdout":
        if split == "search":
            return None  # told once, for the validation items
        raise DataError(
            f"{part.validation} of {len(items)} search items leave none to search with; set apart "
            "fewer"
        )
    return part_of(items, split, part.validation)


def _check_batches(
    config: StudyConfig, found: Mapping[str, ItemsBySplit], problems: Problems
) -> None:
    for position, stage in enumerate(config.plan):
        if stage.batches is None:
            continue
        where = f"stages[{position}].batches.items" if stage.name else "batches.items"
        for name, splits in found.items():
            if "search" in splits and len(splits["search"]) < stage.batches.items:
                problems.lines.append(
                    f"{where}: {stage.batches.items} is more than the {len(splits['search'])} "
                    f"search items of objective '{name}'; use smaller batches"
                )


def _contents(splits: ItemsBySplit, split: Split) -> set[str]:
    return {_content(item) for item in splits.get(split, ())}


def _content(item: Mapping[str, object]) -> str:
    """Write an item without its name."""
    fields = {key: value for key, value in item.items() if key != "id"}
    return json.dumps(fields, sort_keys=True, default=str)
