"""Genes and domains: what an optimizer sees of a search space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from evomerge.recipe.model import Recipe
from evomerge.types import GeneValue, Genotype

GeneKind = Literal["continuous", "integer", "categorical"]


@dataclass(frozen=True, slots=True)
class Gene:
    """One variable of the search.

    Attributes:
        name: unique in its domain, e.g. 'weight[math].layers[0:4].attention'.
        kind: continuous, integer (both with bounds) or categorical (with choices).
        low: smallest value, in the gene's own units.
        high: largest value.
        initial: where a search starts.
        log: continuous only: optimizers vary its logarithm (`low` must be positive).
        choices: categorical only.
    """

    name: str
    kind: GeneKind = "continuous"
    low: float = 0.0
    high: float = 1.0
    initial: GeneValue = 0.5
    log: bool = False
    choices: tuple[str, ...] = ()

    def to_unit(self, value: GeneValue) -> float:
        """Map a value to [0, 1]; a categorical one to the middle of its share."""
        if self.kind == "categorical":
            return (self.choices.index(str(value)) + 0.5) / len(self.choices)
        number = float(value)
        if self.kind == "integer":
            return (number - self.low + 0.5) / (self.high - self.low + 1)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)

    def from_unit(self, unit: float) -> GeneValue:
        """Map [0, 1] to a value; out-of-range input is clipped."""
        unit = min(max(unit, 0.0), 1.0)
        if self.kind == "categorical":
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        if self.kind == "integer":
            width = self.high - self.low + 1
            return int(self.low + min(int(unit * width), int(width) - 1))
        if self.log:
            value: float = self.low * (self.high / self.low) ** unit
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Seed:
    """A known point of the space, worth evaluating first: a donor, the uniform merge, the base."""

    name: str
    genotype: Genotype


@dataclass(frozen=True, slots=True)
class Domain:
    """The genes of a space, in order, and its known points."""

    genes: tuple[Gene, ...]
    seeds: tuple[Seed, ...] = ()

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def initial(self) -> Genotype:
        """The point a search starts from."""
        return tuple(gene.initial for gene in self.genes)

    def to_unit(self, genotype: Genotype) -> list[float]:
        """Map a genotype to the unit cube."""
        return [gene.to_unit(value) for gene, value in zip(self.genes, genotype, strict=True)]

    def from_unit(self, unit: Sequence[float]) -> Genotype:
        """Map a point of the unit cube to a genotype of plain Python numbers."""
        return tuple(
            gene.from_unit(float(value)) for gene, value in zip(self.genes, unit, strict=True)
        )


class Space(Protocol):
    """What a search varies: a domain, and what each of its points means."""

    @property
    def domain(self) -> Domain:
        """Genes, bounds, initial point and seeds."""
        ...

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a recipe; a pure function.

        Raises:
            InvalidGenotype: the genotype means no recipe.
        """
        ...
