"""How genes spell a path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene, HopSequence
from evomerge.spaces.paths.pool import Steps
from evomerge.spaces.paths.spec import PathSpec
from evomerge.types import GeneValue, Genotype

FIRST_SCALE = 1.0


class Genome(Protocol):
    """The genes of one kind of path space, and what they mean before repair."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        """In order; at their initial values they spell the first donor alone."""
        ...

    @property
    def sequence(self) -> HopSequence | None:
        """Which genes spell a sequence, if they do."""
        ...

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return what a checked genotype spells, `model` counting through the pool."""
        ...

    def rescaled(self, path: Sequence[Hop], genotype: Genotype) -> Sequence[Hop]:
        """Return the repaired path with the scales that belong to it rather than to its hops."""
        ...

    def spell(self, steps: Steps) -> Genotype | None:
        """Return a genotype whose hops are these layers, all scales 1; None where we find none."""
        ...


def scale_gene(spec: PathSpec, name: str, condition: Condition | None = None) -> Gene:
    """Return the gene of one scale."""
    low, high = spec.scale_range
    return Gene(
        name,
        low=low,
        high=high,
        initial=FIRST_SCALE,
        spread=spec.scale_spread,
        condition=condition,
    )


def weights(choices: Sequence[str], favourite: str, probability: float) -> tuple[float, ...]:
    """Give one choice a probability; the others share the rest equally."""
    rest = (1 - probability) / (len(choices) - 1)
    return tuple(probability if choice == favourite else rest for choice in choices)


def written(genes: Iterable[Gene], values: dict[int, GeneValue]) -> Genotype:
    """Return the initial genotype with some values changed."""
    return tuple(values.get(index, gene.initial) for index, gene in enumerate(genes))
