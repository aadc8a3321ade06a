"""What a worker must be told to build itself: plain values that travel to any process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from evomerge.recipe.model import ModelRef, Recipe
from evomerge.types import Goal, Objective, Split

SPLITS: tuple[Split, ...] = ("search", "validation", "holdout")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """A cheap fitness as a worker computes it.

    Attributes:
        fitness: name of the fitness plug-in.
        args: its arguments, by name.
        metric: which of several returned metrics counts; None when there is only one.
        goal: the direction in which it improves.
        cost: of an item, as a share of what the real fitness takes for one.
        fingerprint: as of `ObjectiveSpec`.
    """

    fitness: str
    args: dict[str, Any]
    metric: str | None
    goal: Goal
    cost: float = 1.0
    fingerprint: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectiveSpec:
    """One objective as a worker computes it.

    Attributes:
        objective: name and goal.
        fitness: name of the fitness plug-in.
        args: its arguments, by name.
        metric: which of several returned metrics counts; None when there is only one.
        search: where the items of the search come from; None for a fitness without items.
        validation: how many of the last search items are for validation, or where the validation
            items come from; None when there are none.
        proxy: what foretells its order of candidates; None when nothing does.
        holdout: where the hold-out items come from; None when there are none.
        limit: use at most this many items of each.
        digests: `items_digest` of each split's items, which every worker must see too.
        fingerprint: what else its scores depend on, which every worker must find too; see
            `evomerge.fitness.Fingerprinted`.
    """

    objective: Objective
    fitness: str
    args: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    search: Any = None
    holdout: Any = None
    limit: int | None = None
    digests: dict[Split, str] = field(default_factory=dict)
    validation: Any = None
    proxy: ProxySpec | None = None
    fingerprint: dict[str, str] = field(default_factory=dict)

    def source(self, split: Split) -> Any:
        """Return where the items of a split come from; `part_of` says which of them are its own."""
        return source_of(split, self.search, self.validation, self.holdout)


def source_of(split: Split, search: Any, validation: Any, holdout: Any) -> Any:
    """Return where the items of a split come from; None when it has none."""
    if split == "validation":
        return search if isinstance(validation, int) else validation
    return search if split == "search" else holdout


def part_of(items: Sequence[T], split: Split, validation: Any) -> tuple[T, ...]:
    """Return a split's own items.

    Args:
        items: all of its source, in order.
        split: which.
        validation: as the objective says; the last n search items are for validation where it is
            a number n, and no search items any more.
    """
    if isinstance(validation, int) and split != "holdout":
        first = max(0, len(items) - validation)
        return tuple(items[:first] if split == "search" else items[first:])
    return tuple(items)


def items_digest(items: Iterable[Mapping[str, Any]]) -> str:
    """Identify items by their content and order."""
    text = json.dumps([dict(item) for item in items], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EvaluatorSpec:
    """Everything an evaluator is built from.

    Attributes:
        template: any recipe of the study; its shape decides the resident model.
        base: what distances are measured from.
        objectives: what is scored, in order.
        folder: where relative paths of the study start.
        device: 'cpu', 'cuda', 'cuda:1', ...; 'auto' takes a GPU when there is one. Of a worker with
            several 'cuda:0,cuda:1'.
        gpus: of one worker.
        device_memory: bytes of weights that each device may hold; see `Placement`.
        offload: where weights stay that fit on none of them.
        threads: CPU threads of one worker.
        allow_pickle: accept pickle checkpoints (read with weights only).
        trusted: models whose own code may be run, each with the sha256 of that code.
        path_cache_bytes: what hidden states of common path prefixes may take on the device.
    """

    template: Recipe
    base: ModelRef
    objectives: tuple[ObjectiveSpec, ...]
    folder: Path
    device: str = "auto"
    gpus: int = 1
    device_memory: int | None = None
    offload: Literal["none", "cpu", "disk"] = "none"
    threads: int = 1
    allow_pickle: bool = False
    trusted: tuple[tuple[ModelRef, str], ...] = ()
    path_cache_bytes: int = 1 << 30
