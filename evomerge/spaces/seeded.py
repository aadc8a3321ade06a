"""Searches that start from what another stage found, as far as their space can express it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evomerge.errors import SpaceError
from evomerge.recipe.model import Recipe
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Seed, Space
from evomerge.spaces.model_weights import weights_of
from evomerge.spaces.populations import PopulationSpace
from evomerge.spaces.starting import Restarted


def seeded(space: Space, recipes: Mapping[str, Recipe], context: SpaceContext) -> Space:
    """Return a space whose search also starts from found recipes.

    Weights of a population's individual become their means over the groups of a declared space;
    those of a declared space become an individual of a population, exactly.

    Args:
        space: what is searched.
        recipes: what was found, by name.
        context: of the stage.

    Raises:
        SpaceError: a recipe is no linear combination of models, or the space cannot express one.
    """
    if not isinstance(space, DeclaredSpace | PopulationSpace) or context.shape is None:
        raise SpaceError(
            "only weights of models can be seeded; name a space with a merge_method or a population"
        )
    found = {
        name: weights_of(recipe, context.base, context.shape) for name, recipe in recipes.items()
    }
    if isinstance(space, PopulationSpace):
        return space.with_found(found)
    seeds = (Seed(name, space.nearest(one, context.shape)) for name, one in found.items())
    return Restarted(space, replace(space.domain, seeds=(*space.domain.seeds, *seeds)))
