"""The same space, its search starting elsewhere."""

from __future__ import annotations

from dataclasses import replace

from evomerge.errors import SpaceError
from evomerge.recipe.model import Recipe
from evomerge.spaces.domain import Domain, Seed, Space
from evomerge.types import Genotype


class Restarted:
    """A space with another domain, whose genotypes mean what they meant.

    Args:
        space: what is searched.
        domain: of the same genes, with other seeds or another initial point.
    """

    def __init__(self, space: Space, domain: Domain) -> None:
        self._space = space
        self._domain = domain

    @property
    def domain(self) -> Domain:
        """Where the search starts now."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Decode as the space does."""
        return self._space.decode(genotype)


def starting_at(space: Space, genotype: Genotype, name: str) -> Space:
    """Return a space whose search starts at a genotype.

    Args:
        space: what is searched.
        genotype: its initial point from now on, and its first seed.
        name: of the seed.

    Raises:
        SpaceError: it is the space of a population.
    """
    domain = space.domain
    if not isinstance(domain, Domain):
        raise SpaceError("a population has no genes that could start where a path was found")
    genes = tuple(
        gene.starting_at(value) for gene, value in zip(domain.genes, genotype, strict=True)
    )
    seeds = (Seed(name, genotype), *domain.seeds)
    return Restarted(space, replace(domain, genes=genes, seeds=seeds))
