"""Searches that start from what another stage found, as far as their space can express it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evomerge.errors import SpaceError
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.model import Recipe
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Seed, Space
from evomerge.spaces.model_weights import weights_of
from evomerge.spaces.operators import OperatorsSpace, recalled
from evomerge.spaces.populations import PopulationSpace
from evomerge.spaces.starting import Restarted
from evomerge.types import Genotype


def seeded(space: Space, recipes: Mapping[str, Recipe], context: SpaceContext) -> Space:
    """Return a space whose search also starts from found recipes.

    Weights of a population's individual become their means over the groups of a declared space;
    those of a declared space become an individual of a population, exactly. A merge that is no
    linear combination of models starts spaces of its own method only, its parameters being means
    over the groups there.

    Args:
        space: what is searched.
        recipes: what was found, by name.
        context: of the stage.

    Raises:
        SpaceError: the space cannot express a recipe.
    """
    if (
        not isinstance(space, DeclaredSpace | OperatorsSpace | PopulationSpace)
        or context.shape is None
    ):
        raise SpaceError(
            "only weights of models can be seeded; name a space with a merge_method or with "
            "operators, or a population"
        )
    if isinstance(space, PopulationSpace):
        shape = context.shape
        return space.with_found(
            {name: weights_of(recipe, context.base, shape) for name, recipe in recipes.items()}
        )
    seeds = (
        Seed(name, _nearest(space, recipe, context, context.shape))
        for name, recipe in recipes.items()
    )
    return Restarted(space, replace(space.domain, seeds=(*space.domain.seeds, *seeds)))


def _nearest(
    space: DeclaredSpace | OperatorsSpace,
    recipe: Recipe,
    context: SpaceContext,
    shape: TensorShapes,
) -> Genotype:
    if isinstance(space, OperatorsSpace):
        return space.nearest(recipe)
    try:
        weights = weights_of(recipe, context.base, shape)
    except SpaceError:
        found = recalled(space, recipe, context)
        if found is None:
            raise
        return found
    return space.nearest(weights, shape)
