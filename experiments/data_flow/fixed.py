"""Recipes that need no search: the models, grids, layer swaps, and depth up-scaling."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

from arms import ARMS, DONORS, OBJECTIVE
from train_pair import LAYERS

from evomerge.recipe import Hop, LayerPath, Recipe, Source
from evomerge.spaces import SpaceContext
from evomerge.study import prepare
from evomerge.types import Completed, Split
from evomerge.workers import Job
from evomerge.workers.evaluator import Evaluator

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
#: Layers that each half of an up-scaled model gives up, a third; SOLAR's halves give up a quarter.
OVERLAP = 2
Steps = tuple[tuple[int, int], ...]


def score_fixed(pair: Path) -> dict[str, dict[str, float]]:
    """Score the recipes on both splits; of each family that is tried out, the best on search."""
    study = prepare(ARMS["dfs"].study(pair, 0, 1, 1), Path(__file__).resolve().parent)
    evaluator = Evaluator(study.evaluator)
    rows = {}
    for title, family in families(study.context).items():
        scores = {name: score(evaluator, recipe, "search") for name, recipe in family.items()}
        best = min(scores, key=lambda name: scores[name][OBJECTIVE])
        held_out = score(evaluator, family[best], "holdout")
        rows[title.replace("{}", best)] = {
            "search": scores[best][OBJECTIVE],
            "surprise": held_out[OBJECTIVE],
            "exact": held_out["exact"],
        }
    return rows


def score(evaluator: Evaluator, recipe: Recipe, split: Split) -> dict[str, float]:
    """Evaluate one recipe."""
    outcome = evaluator.evaluate(Job("fixed", recipe, split)).outcome
    if not isinstance(outcome, Completed):
        raise SystemExit(f"{recipe}: {outcome.message}")
    return {**outcome.metrics, "exact": outcome.notes[f"{OBJECTIVE}/exact"]}


def families(context: SpaceContext) -> dict[str, dict[str, Recipe]]:
    """Return the recipes by title; `{}` in a title stands for the best of its family."""
    a, b = (tuple((donor, layer) for layer in range(LAYERS)) for donor in (0, 1))
    ends = (0, LAYERS - 1)
    swap = tuple(a[depth] if depth in ends else b[depth] for depth in range(LAYERS))
    inverse = tuple(b[depth] if depth in ends else a[depth] for depth in range(LAYERS))
    single: dict[str, Recipe] = {"base": mixed(context, (0.0, 0.0))}
    single |= {
        f"donor {name}": walked(context, own) for name, own in zip(DONORS, (a, b), strict=True)
    }
    single |= {
        "uniform average": mixed(context, (0.5, 0.5)),
        "layer swap: reasoning between the end layers of language": walked(context, swap),
        "layer swap: language between the end layers of reasoning": walked(context, inverse),
        "depth up-scaling of language, 8 hops": walked(context, upscaled(a, a)),
        "depth up-scaling of reasoning, 8 hops": walked(context, upscaled(b, b)),
        "language below reasoning, 8 hops": walked(context, upscaled(a, b)),
        "reasoning below language, 8 hops": walked(context, upscaled(b, a)),
    }
    grid = {f"{x:g}, {y:g}": mixed(context, (x, y)) for x, y in product(GRID, GRID)}
    swaps = {
        "".join(DONORS[donor][0] for donor in choice): walked(
            context, tuple((donor, depth) for depth, donor in enumerate(choice))
        )
        for choice in product((0, 1), repeat=LAYERS)
    }
    families = {name: {name: recipe} for name, recipe in single.items()}
    families[f"best of {len(grid)} task-arithmetic weights: {{}}"] = grid
    families[f"best of all {len(swaps)} layer swaps: {{}}"] = swaps
    return families


def upscaled(lower: Steps, upper: Steps) -> Steps:
    """Stack two models, each without its last or first layers (Kim et al. 2023, SOLAR)."""
    return lower[:-OVERLAP] + upper[OVERLAP:]


def walked(context: SpaceContext, steps: Steps) -> Recipe:
    """Return the path through these layers of the donors."""
    return Recipe(
        merge_method="passthrough",
        models=tuple(Source(model=context.donors[name]) for name in DONORS),
        path=LayerPath(hops=tuple(Hop(model=donor, layer=layer) for donor, layer in steps)),
        dtype=context.dtype,
    )


def mixed(context: SpaceContext, weights: tuple[float, float]) -> Recipe:
    """Return the task arithmetic of the donors."""
    named: Mapping[str, float] = dict(zip(DONORS, weights, strict=True))
    return Recipe(
        merge_method="task_arithmetic",
        base_model=context.base,
        models=tuple(
            Source(model=context.donors[name], parameters={"weight": weight})
            for name, weight in named.items()
        ),
        parameters={"normalize": False},
        dtype=context.dtype,
    )
