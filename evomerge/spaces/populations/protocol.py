"""What optimizers of populations see of a space: who can be bred, and how.

A genotype of a population says how an individual came about: a donor, or parents by their trial
numbers and what was done with them (`evomerge.spaces.populations.genotypes`). Which of them mate
is the optimizer's business, what mating means is the space's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evomerge.recipe.model import Node, Recipe
from evomerge.recipe.order import Order, Positions
from evomerge.spaces.domain import Gene, Seed
from evomerge.spaces.populations.genotypes import Mutation
from evomerge.types import Genotype


class Family(Protocol):
    """The individuals of one search, by trial number."""

    def add(self, number: int, genotype: Genotype) -> None:
        """Enter an individual; its parents were entered before."""
        ...

    def cross(
        self,
        parents: tuple[int, int],
        ratios: Sequence[float],
        splits: Sequence[int] | None,
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the child of two individuals by the space's operator.

        Args:
            parents: A and B.
            ratios: w of each chromosome, in [0, 1]: how far towards B the child is.
            splits: position in each chromosome from which on w is 1 - w; None splits nowhere.
            mutation: what follows the crossover.
        """
        ...

    def blend(
        self,
        parents: Sequence[int],
        weights: Sequence[float],
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the linear combination of individuals, one weight for the whole of each."""
        ...

    def discard(self, number: int) -> None:
        """Say that an individual is not going to be a parent any more."""
        ...


class Breeding(Protocol):
    """The domain of a space of populations."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        """No genes: individuals are bred, not varied gene by gene."""
        ...

    @property
    def donors(self) -> tuple[str, ...]:
        """Names of the donors, in order."""
        ...

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """The individuals a search starts from: the donors, then what earlier stages found."""
        ...

    @property
    def initial(self) -> Genotype:
        """The first of them."""
        ...

    @property
    def n_chromosomes(self) -> int:
        """How many parts have a split point of their own."""
        ...

    @property
    def task_vectors(self) -> bool:
        """Whether individuals are task vectors, with singular values that can be mutated."""
        ...

    def draw_splits(self, random: np.random.Generator) -> tuple[int, ...]:
        """Draw a split point in each chromosome, uniformly among those the space allows."""
        ...

    def family(self) -> Family:
        """Return a family without members."""
        ...


class Descends(Protocol):
    """The book of a search's individuals: what a genotype means that names its parents."""

    def add(self, number: int, genotype: Genotype) -> None:
        """Enter an individual; its parents were entered before.

        Raises:
            InvalidGenotype: they were not.
        """
        ...

    def recipe(self, number: int) -> Recipe:
        """Return an individual's recipe.

        Raises:
            InvalidGenotype: it means no recipe.
        """
        ...

    def full_recipe(self, number: int) -> Recipe:
        """Return an individual's recipe with its whole lineage; it rebuilds the same weights."""
        ...


@runtime_checkable
class Bred(Protocol):
    """A `Space` of a population: beside `decode`, which founders need, it keeps a book."""

    def descent(self) -> Descends:
        """Return an empty book for one search."""
        ...


class InnerProducts(Protocol):
    """Inner products of what a population merges, in float64."""

    def grams(self, bounds: Positions) -> NDArray[np.float64]:
        """Return the donors' Gram matrices over consecutive ranges.

        Args:
            bounds: positions, increasing, shape (n + 1,); range i is [bounds[i], bounds[i + 1]).

        Returns:
            Shape (n, n_donors, n_donors).
        """
        ...

    def streamed(self, a: Recipe, b: Recipe, bounds: Positions) -> NDArray[np.float64]:
        """Return <a, a>, <a, b> and <b, b> over consecutive ranges, shape (n, 3).

        Both are computed tensor by tensor, for individuals that are not combinations of donors.
        """
        ...


class InnerProductsOf(Protocol):
    """Makes inner products of the models of a population."""

    def __call__(
        self, order: Order, base: Node, donors: Sequence[Node], *, task_vectors: bool
    ) -> InnerProducts:
        """Return them; nothing is read until they are asked for."""
        ...
