"""The items of a study, and the proof that it reports on others than it searched with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from evomerge.fitness import Item, load_items
from evomerge.study.config import StudyConfig
from evomerge.study.problems import Problems
from evomerge.types import Split

ItemsBySplit: TypeAlias = dict[Split, tuple[Item, ...]]


def read_items(config: StudyConfig, folder: Path, problems: Problems) -> dict[str, ItemsBySplit]:
    """Read every objective's items, by objective and split.

    Hold-out items that any objective searches with are a problem, whichever objective it is.
    """
    found: dict[str, ItemsBySplit] = {}
    for name, part in config.objectives.items():
        sources: tuple[tuple[Split, object], ...] = (
            ("search", part.search),
            ("holdout", part.holdout),
        )
        for split, source in sources:
            if source is None:
                continue
            items = problems.attempt(
                f"objectives.{name}.{split}",
                partial(load_items, source, folder=folder, limit=part.limit),  # type: ignore[arg-type]
            )
            if items is not None:
                found.setdefault(name, {})[split] = items
    searched = {_content(item) for splits in found.values() for item in splits.get("search", ())}
    for name, splits in found.items():
        shared = searched & {_content(item) for item in splits.get("holdout", ())}
        if shared:
            problems.lines.append(
                f"objectives.{name}.holdout: {len(shared)} items are search items too; "
                "scores would be optimistic: remove them from one of the two"
            )
    return found


def _content(item: Mapping[str, object]) -> str:
    """Write an item without its name."""
    fields = {key: value for key, value in item.items() if key != "id"}
    return json.dumps(fields, sort_keys=True, default=str)
