"""How genes spell a path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene, HopSequence
from evomerge.spaces.paths.pool import Steps
from evomerge.spaces.paths.spec import PathSpec
from evomerge.types import GeneValue, Genotype

FIRST_SCALE = 1.0
FIRST, LAST = "first", "last"
"""Names of the scales of fixed ends."""

Scaled: TypeAlias = tuple[str, Condition | None]
"""What has a scale, by name, and when."""


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


class Scales:
    """The scale genes of a genome; what has none keeps scale 1.

    Args:
        spec: the declaration.
        named: what has a scale.
        first: index of the first of these genes.
    """

    def __init__(self, spec: PathSpec, named: Iterable[Scaled], first: int) -> None:
        self._index: dict[str, int] = {}
        self.genes: list[Gene] = []
        for name, condition in named if spec.scales == "per_hop" else ():
            self._index[name] = first + len(self.genes)
            self.genes.append(scale_gene(spec, f"scale[{name}]", condition))

    def of(self, name: str, genotype: Genotype) -> float:
        """Return the scale of what is called so."""
        return float(genotype[self._index[name]]) if name in self._index else FIRST_SCALE


def with_scaled_ends(spec: PathSpec, inner: Iterable[Scaled]) -> Iterator[Scaled]:
    """Yield what has a scale between the ends, and those of the ends where they are fixed.

    What must be a path's first hop has one only if the embeddings' scale is searched.
    """
    if spec.fixed_ends and spec.scale_embedding:
        yield FIRST, None
    yield from inner
    if spec.fixed_ends:
        yield LAST, None


def between_ends(inner: Iterable[Hop], depth: int, scale: Callable[[str], float]) -> list[Hop]:
    """Put the first donor's end layers around a path.

    Args:
        inner: what stands between them.
        depth: number of layers of the first donor.
        scale: gives the scale of the end called so.
    """
    first = Hop(model=0, layer=0, scale=scale(FIRST))
    return [first, *inner, Hop(model=0, layer=depth - 1, scale=scale(LAST))]


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
