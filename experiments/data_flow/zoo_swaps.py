"""What layer swaps can give for each pair of the zoo's experts, all of them tried out.

    python experiments/data_flow/zoo_swaps.py

A pair is scored by the mean exact match on its two tasks. Every swap (at each depth the layer of
one or the other, 2^4 of them) and every task arithmetic of a 4 x 4 grid of weights is scored on the
search items; of each kind, the best on those is scored on the held-out items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product

from evomerge import zoo
from evomerge.recipe import Hop, LayerPath, Recipe, Source
from evomerge.spaces import SpaceContext
from evomerge.study import StudyConfig, prepare
from evomerge.testing.readme import publish
from evomerge.types import Completed, Split
from evomerge.workers import Job
from evomerge.workers.evaluator import Evaluator

GRID = (0.25, 0.5, 0.75, 1.0)
EXPERTS = ("sort-up", "sort-down", "flip", "filter", "quarter")
Swaps = dict[tuple[int, ...], Recipe]


def main() -> None:
    """Score every pair."""
    publish(__file__, "zoo swaps", table())


def table() -> Iterator[str]:
    """Yield a row for each pair, held-out items."""
    yield "| pair, a and b | better expert | best weights | best swap | from depth 0 up |"
    yield "|---|---:|---:|---:|---|"
    for pair in combinations(EXPERTS, 2):
        study = prepare(study_of(pair), zoo.path())
        evaluator = Evaluator(study.evaluator)
        swaps = all_swaps(study.context)
        depth = study.context.layout.n_layers
        chosen = best(evaluator, swaps.values())
        columns = [
            best(evaluator, [swaps[(donor,) * depth] for donor in (0, 1)]),
            best(evaluator, [mixed(study.context, weights) for weights in product(GRID, GRID)]),
            chosen,
        ]
        scores = " | ".join(f"{score(evaluator, recipe, 'holdout'):.3f}" for recipe in columns)
        letters = next("".join("ab"[i] for i in key) for key in swaps if swaps[key] == chosen)
        yield f"| {', '.join(pair)} | {scores} | {letters} |"


def study_of(pair: tuple[str, ...]) -> StudyConfig:
    """Return a study of two experts and their tasks."""
    tasks = [name.replace("-", "_") for name in pair]
    objectives = {
        task: {
            "fitness": "exact_match",
            "search": f"zoo:{task}.search.jsonl",
            "holdout": f"zoo:{task}.holdout.jsonl",
        }
        for task in tasks
    }
    return StudyConfig.model_validate(
        {
            "name": "swaps",
            "models": {"base": "zoo:base", "donors": {name: f"zoo:{name}" for name in pair}},
            "space": "task_arithmetic",
            "objectives": objectives,
            "budget": {"trials": 1},
            "workers": {"backend": "inline", "threads": 1},
            "dtype": "float32",
        }
    )


def best(evaluator: Evaluator, recipes: Iterable[Recipe]) -> Recipe:
    """Return the recipe with the highest mean on the search items."""
    return max(recipes, key=lambda recipe: score(evaluator, recipe, "search"))


def score(evaluator: Evaluator, recipe: Recipe, split: Split) -> float:
    """Return the mean over the two tasks."""
    outcome = evaluator.evaluate(Job("swap", recipe, split)).outcome
    if not isinstance(outcome, Completed):
        raise SystemExit(f"{recipe}: {outcome.message}")
    return sum(outcome.metrics.values()) / len(outcome.metrics)


def all_swaps(context: SpaceContext) -> Swaps:
    """Return, by the donor taken at each depth, every path through one layer a depth."""
    models = tuple(Source(model=donor) for donor in context.donors.values())
    choices = product((0, 1), repeat=context.layout.n_layers)
    return {
        choice: Recipe(
            merge_method="passthrough",
            models=models,
            path=LayerPath(hops=tuple(Hop(model=m, layer=n) for n, m in enumerate(choice))),
            dtype=context.dtype,
        )
        for choice in choices
    }


def mixed(context: SpaceContext, weights: tuple[float, ...]) -> Recipe:
    """Return the task arithmetic of the donors."""
    return Recipe(
        merge_method="task_arithmetic",
        base_model=context.base,
        models=tuple(
            Source(model=donor, parameters={"weight": weight})
            for donor, weight in zip(context.donors.values(), weights, strict=True)
        ),
        parameters={"normalize": False},
        dtype=context.dtype,
    )


if __name__ == "__main__":
    main()
