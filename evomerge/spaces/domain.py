"""Genes and domains: what an optimizer sees of a search space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from evomerge.errors import InvalidGenotype
from evomerge.recipe.model import Recipe
from evomerge.types import GeneValue, Genotype

GeneKind = Literal["continuous", "integer", "categorical"]


@dataclass(frozen=True, slots=True)
class Condition:
    """When a gene has an effect: an earlier gene of the domain has one of these values."""

    gene: int
    values: tuple[GeneValue, ...]


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
        weights: categorical only: how likely each choice is where a search starts; equally
            likely when empty.
        empty: categorical only: the choice that means nothing is there, if one does.
        spread: continuous only: standard deviation a search starts with, around `initial`; None
            leaves it to the optimizer.
        condition: when the gene has an effect; None means always.
    """

    name: str
    kind: GeneKind = "continuous"
    low: float = 0.0
    high: float = 1.0
    initial: GeneValue = 0.5
    log: bool = False
    choices: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    empty: str | None = None
    spread: float | None = None
    condition: Condition | None = None

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

    def checked(self, value: GeneValue) -> GeneValue:
        """Return a value of this gene as the plain Python type of its kind.

        Raises:
            InvalidGenotype: it is no choice, out of bounds, or not a whole number.
        """
        if self.kind == "categorical":
            if value not in self.choices:
                raise InvalidGenotype(f"gene '{self.name}': {value!r} is none of {self.choices}")
            return str(value)
        if isinstance(value, str) or not self.low <= value <= self.high:
            raise InvalidGenotype(
                f"gene '{self.name}': {value!r} is outside [{self.low:g}, {self.high:g}]"
            )
        if self.kind == "integer" and value % 1:
            raise InvalidGenotype(f"gene '{self.name}': {value!r} is not a whole number")
        return int(value) if self.kind == "integer" else float(value)

    def starting_at(self, value: GeneValue) -> Gene:
        """Return the gene with another start; that choice and the likeliest exchange weights."""
        weights = list(self.weights)
        if weights:
            chosen, likeliest = self.choices.index(str(value)), weights.index(max(weights))
            weights[chosen], weights[likeliest] = weights[likeliest], weights[chosen]
        return replace(self, initial=value, weights=tuple(weights))

    def draw(self, random: np.random.Generator) -> GeneValue:
        """Draw a value by `weights` or `spread`, uniformly where there is neither."""
        unit = float(random.random())
        if self.weights:
            bounds = np.cumsum(self.weights) / sum(self.weights)
            return self.choices[min(int(np.searchsorted(bounds, unit, "right")), len(bounds) - 1)]
        if self.spread is None:
            return self.from_unit(unit)
        value = float(self.initial) + self.spread * float(random.standard_normal())
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Seed:
    """A known point of the space, worth evaluating first: a donor, the uniform merge, the base."""

    name: str
    genotype: Genotype


@dataclass(frozen=True, slots=True)
class HopSequence:
    """Genes that spell a sequence of at most as many elements as there are positions.

    Operators on sequences (insert, delete, repeat, swap, splice) move an element with its
    attributes; a position whose element is the gene's `empty` choice does not count, wherever it
    stands.

    Attributes:
        elements: index of the categorical gene of each position; all have the same choices and
            the same `empty` one.
        attributes: for each position the indices of the genes that belong to its element.
    """

    elements: tuple[int, ...]
    attributes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """The genes of a space, in order, and its known points.

    Attributes:
        genes: a gene stands after the gene its condition names.
        seeds: known points.
        sequence: which genes spell a sequence, where some do.
        linear: the merged weights are an affine function of the genes.
    """

    genes: tuple[Gene, ...]
    seeds: tuple[Seed, ...] = ()
    sequence: HopSequence | None = None
    linear: bool = False

    def __post_init__(self) -> None:
        for position, gene in enumerate(self.genes):
            if gene.condition is not None and gene.condition.gene >= position:
                raise ValueError(f"gene '{gene.name}' must stand after the gene it depends on")

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def initial(self) -> Genotype:
        """The point a search starts from."""
        return tuple(gene.initial for gene in self.genes)

    def checked(self, genotype: Genotype) -> Genotype:
        """Return a genotype of plain Python values.

        Raises:
            InvalidGenotype: it has the wrong length, or a value its gene cannot have.
        """
        if len(genotype) != len(self.genes):
            raise InvalidGenotype(
                f"the space has {len(self.genes)} genes, the genotype {len(genotype)} values"
            )
        return tuple(gene.checked(value) for gene, value in zip(self.genes, genotype, strict=True))

    def to_unit(self, genotype: Genotype) -> list[float]:
        """Map a genotype to the unit cube."""
        return [gene.to_unit(value) for gene, value in zip(self.genes, genotype, strict=True)]

    def from_unit(self, unit: Sequence[float]) -> Genotype:
        """Map a point of the unit cube to a canonical genotype of plain Python numbers."""
        return self.canonical(
            tuple(
                gene.from_unit(float(value)) for gene, value in zip(self.genes, unit, strict=True)
            )
        )

    def active(self, genotype: Genotype) -> tuple[bool, ...]:
        """Say of each gene whether it has an effect; a condition on an inactive gene fails."""
        result: list[bool] = []
        for gene in self.genes:
            condition = gene.condition
            result.append(
                condition is None
                or (result[condition.gene] and genotype[condition.gene] in condition.values)
            )
        return tuple(result)

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the genotype with every gene that has no effect at its initial value."""
        if all(gene.condition is None for gene in self.genes):
            return genotype
        return tuple(
            value if active else gene.initial
            for gene, value, active in zip(self.genes, genotype, self.active(genotype), strict=True)
        )

    def n_used(self, genotype: Genotype) -> int:
        """Count the genes that have an effect and are not at their `empty` choice."""
        return sum(
            active and (gene.empty is None or value != gene.empty)
            for gene, value, active in zip(self.genes, genotype, self.active(genotype), strict=True)
        )

    def draw(self, random: np.random.Generator) -> Genotype:
        """Draw a canonical genotype from where a search starts: weights, spreads, else uniform."""
        return self.canonical(tuple(gene.draw(random) for gene in self.genes))


class Founders(Protocol):
    """What every domain has: genes, if it has some, and points that are known beforehand.

    A `Domain` is varied gene by gene; a population has no genes, its points are bred (see
    `evomerge.spaces.populations.Breeding`).
    """

    @property
    def genes(self) -> tuple[Gene, ...]:
        """In order; none where points are bred."""
        ...

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Known points."""
        ...

    @property
    def initial(self) -> Genotype:
        """The point a search starts from."""
        ...


class Space(Protocol):
    """What a search varies: a domain, and what each of its points means."""

    @property
    def domain(self) -> Founders:
        """Genes, bounds, initial point and seeds."""
        ...

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a recipe; a pure function.

        Raises:
            InvalidGenotype: the genotype means no recipe.
        """
        ...
