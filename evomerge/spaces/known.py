"""Recipes a search has to beat, independent of the space that is searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evomerge.recipe.model import Node, Recipe, Source
from evomerge.spaces.context import SpaceContext


def known_recipes(context: SpaceContext) -> dict[str, Recipe]:
    """Return 'base', each donor under its name, and 'uniform', the average of the donors.

    All are task arithmetic: base + sum of weight x task vector, which is exact for weights that
    are all 0 and, up to the rounding of one fp32 subtraction, for a single 1. A donor named
    'base' or 'uniform' takes precedence over ours.

    Models of different depth have no task vectors: base and donors are then passed through as
    they are, and there is no 'uniform'.
    """
    names = tuple(context.donors)
    if not _alike(context):
        models = {"base": context.base, **context.donors}
        return {name: _alone(context, model) for name, model in models.items()}
    recipes = {"base": _weighted(context, dict.fromkeys(names, 0.0))}
    recipes["uniform"] = _weighted(context, dict.fromkeys(names, 1.0 / len(names)))
    recipes |= {
        one: _weighted(context, {name: float(name == one) for name in names}) for one in names
    }
    return recipes


def single_lambda(context: SpaceContext, lambdas: Iterable[float]) -> dict[str, Recipe]:
    """Return task arithmetic with one weight for all donors, under 'lambda=<weight>'.

    Nothing for models of different depth. Ilharco et al. 2023, arXiv 2212.04089: base + lambda x
    sum of task vectors.
    """
    if not _alike(context):
        return {}
    return {
        f"lambda={weight:g}": _weighted(context, dict.fromkeys(context.donors, float(weight)))
        for weight in lambdas
    }


def _alike(context: SpaceContext) -> bool:
    return all(context.depth(name) == context.layout.n_layers for name in context.donors)


def _alone(context: SpaceContext, model: Node) -> Recipe:
    return Recipe(
        merge_method="passthrough",
        models=(Source(model=model),),
        dtype=context.dtype,
        seed=context.seed,
    )


def _weighted(context: SpaceContext, weights: Mapping[str, float]) -> Recipe:
    return Recipe(
        merge_method="task_arithmetic",
        base_model=context.base,
        models=tuple(
            Source(model=ref, parameters={"weight": weights[name]})
            for name, ref in context.donors.items()
        ),
        parameters={"normalize": False},
        dtype=context.dtype,
        seed=context.seed,
    )
