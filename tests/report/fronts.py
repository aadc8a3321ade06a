"""Fronts of invented models whose item scores are drawn once, from a named seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evomerge.recipe.model import ModelRef, Recipe, Source
from evomerge.report.front import Front, FrontRow
from evomerge.types import Objective

NAMES = ("math", "code", "chat", "facts")
ABILITIES: dict[str, tuple[float, float, float, float]] = {
    "base": (0.20, 0.25, 0.30, 0.30),
    "donor:math": (0.70, 0.22, 0.31, 0.33),
    "donor:code": (0.18, 0.66, 0.28, 0.36),
    "donor:chat": (0.25, 0.30, 0.60, 0.50),
    "uniform": (0.50, 0.45, 0.44, 0.42),
    "single-lambda 0.4": (0.55, 0.48, 0.47, 0.44),
    "trial 12": (0.72, 0.40, 0.40, 0.40),
    "trial 37": (0.64, 0.60, 0.50, 0.44),
    "trial 41": (0.45, 0.68, 0.42, 0.41),
    "trial 58": (0.60, 0.55, 0.62, 0.47),
    "trial 63": (0.69, 0.50, 0.46, 0.43),
}

Scores = Mapping[str, float]
Examples = Mapping[str, Mapping[str, float]]


def recipe_of(weight: float, method: str = "task_arithmetic") -> Recipe:
    sources = (
        Source(model=ModelRef(path="./math"), parameters={"weight": weight}),
        Source(model=ModelRef(path="./code"), parameters={"weight": 1 - weight}),
    )
    base = ModelRef(path="./base")
    return Recipe(merge_method=method, base_model=base, models=sources, out_dtype="bfloat16")


def make_row(
    name: str,
    search: Scores,
    holdout: Scores | None = None,
    search_examples: Examples | None = None,
    holdout_examples: Examples | None = None,
    recipe: Recipe | None = None,
) -> FrontRow:
    """Return a row; 'trial N' is a member, everything else a baseline."""
    trial = int(name.removeprefix("trial ")) if name.startswith("trial ") else None
    return FrontRow(
        name=name,
        kind="baseline" if trial is None else "front",
        trial=trial,
        recipe=recipe or recipe_of(len(name) / 32),
        fingerprint=f"{len(name):064x}",
        search=search,
        holdout=holdout,
        search_examples=search_examples or {},
        holdout_examples=holdout_examples or {},
    )


def make_front(*rows: FrontRow, objectives: tuple[Objective, ...] | None = None) -> Front:
    chosen = objectives or tuple(Objective(name) for name in rows[0].search)
    return Front("small", chosen, rows, seed=3, n_trials=10, n_failed=0)


def limited(front: Front, size: int) -> Front:
    """Return a front of whose members only `size` that stand for all have hold-out scores."""
    front = replace(front, holdout_size=size)
    held = {row.name for row in (*front.to_hold_out, *front.baselines)}
    rows = tuple(
        row if row.name in held else replace(row, holdout=None, holdout_examples={})
        for row in front.rows
    )
    return replace(front, rows=rows)


def build_front(n_objectives: int = 2, n_items: int = 200, *, holdout: bool = True) -> Front:
    """Return a front with 0/1 item scores; search items flatter the members by 0.05."""
    rng = np.random.default_rng(20)
    names = NAMES[:n_objectives]

    def scored(split: str, ability: float, name: str) -> dict[str, float]:
        hits = rng.random(n_items) < ability
        return {f"{split}-{name}-{index:03d}": float(hit) for index, hit in enumerate(hits)}

    rows = []
    for name, abilities in ABILITIES.items():
        flattery = 0.05 if name.startswith("trial") else 0.0
        pairs = list(zip(names, abilities, strict=False))
        search = {key: scored("s", ability + flattery, key) for key, ability in pairs}
        held = {key: scored("h", ability, key) for key, ability in pairs}
        rows.append(
            make_row(
                name,
                {key: float(np.mean(list(items.values()))) for key, items in search.items()},
                {key: float(np.mean(list(items.values()))) for key, items in held.items()}
                if holdout
                else None,
                search,
                held if holdout else None,
            )
        )
    volumes = np.maximum.accumulate(rng.random(64))
    history = tuple((trial, float(volume)) for trial, volume in enumerate(volumes))
    objectives = tuple(Objective(name) for name in names)
    return Front("math-and-code", objectives, tuple(rows), 7, 64, 3, history)
