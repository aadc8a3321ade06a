"""A merge space searched through a fixed layer path."""

from __future__ import annotations

from dataclasses import replace

from evomerge.errors import SpaceError
from evomerge.recipe.model import Node, Recipe, Source
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Domain, Seed
from evomerge.spaces.spec import SpaceSpec
from evomerge.types import Genotype


class ThroughPath:
    """A `Space` whose merges take the place of the first model of a path.

    A search of coefficients after a search of layers: hops on the first model then pass through
    the merge, the others stay as they are.

    Args:
        space: what is searched; its merges have as many layers as the path's first model.
        path: a path recipe.

    Raises:
        SpaceError: the recipe has no path.
    """

    def __init__(self, space: DeclaredSpace, path: Recipe) -> None:
        if path.path is None:
            raise SpaceError("a merge can only be searched through a recipe that has a path")
        self._space = space
        self._path = path
        # through the path a donor is no longer that donor, and must not be reported as it
        seeds = tuple(Seed(f"path:{one.name}", one.genotype) for one in space.domain.seeds)
        self._domain = replace(space.domain, seeds=seeds)

    @property
    def spec(self) -> SpaceSpec:
        """The declaration of the merge space."""
        return self._space.spec

    @property
    def domain(self) -> Domain:
        """Genes, bounds, initial point and seeds of the merge space."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into the path through its merge.

        Raises:
            InvalidGenotype: it has the wrong length, or a value outside its gene's bounds.
        """
        return through(self._path, self._space.decode(genotype))


def through(path: Recipe, model: Node) -> Recipe:
    """Return a path recipe with another first model.

    Raises:
        ValueError: the recipe has no path.
    """
    if path.path is None or path.models is None:
        raise ValueError("the recipe has no path")
    return path.model_copy(update={"models": (Source(model=model), *path.models[1:])})
