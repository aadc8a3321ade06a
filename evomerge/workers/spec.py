"""What a worker must be told to build itself: plain values that travel to any process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evomerge.recipe.model import ModelRef, Recipe
from evomerge.types import Objective


@dataclass(frozen=True, slots=True)
class ObjectiveSpec:
    """One objective as a worker computes it.

    Attributes:
        objective: name and goal.
        fitness: name of the fitness plug-in.
        args: its arguments, by name.
        metric: which of several returned metrics counts; None when there is only one.
        search: where the items of the search come from; None for a fitness without items.
        holdout: where the hold-out items come from; None when there are none.
        limit: use at most this many items of each.
    """

    objective: Objective
    fitness: str
    args: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    search: Any = None
    holdout: Any = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class EvaluatorSpec:
    """Everything an evaluator is built from.

    Attributes:
        template: any recipe of the study; its shape decides the resident model.
        base: what distances are measured from.
        objectives: what is scored, in order.
        folder: where relative paths of the study start.
        device: 'cpu', 'cuda', 'cuda:1', ...; 'auto' takes a GPU when there is one.
        threads: CPU threads of one worker.
        allow_pickle: accept pickle checkpoints (read with weights only).
    """

    template: Recipe
    base: ModelRef
    objectives: tuple[ObjectiveSpec, ...]
    folder: Path
    device: str = "auto"
    threads: int = 1
    allow_pickle: bool = False
