"""Populations of real weight arrays: for small models, and for evolution from scratch.

The same genotypes and operators as virtual populations have, but every individual that may still
be a parent is held in full. Nothing of it depends on an engine, so it serves models that are no
checkpoints too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import SpaceError
from evomerge.recipe.order import Granularity, Order, Positions
from evomerge.spaces.domain import Gene, Seed
from evomerge.spaces.populations.genotypes import (
    DONOR,
    GaussianMutation,
    Mutation,
    Offspring,
)
from evomerge.spaces.populations.operators import (
    AngleScope,
    Operator,
    Regions,
    draw_splits,
    linear_weights,
    regions,
    slerp_weights,
)
from evomerge.types import Genotype

Floats32 = NDArray[np.float32]
Noise = Callable[[int], Floats32]
"""A key to standard normal numbers, float32 of shape (size,)."""


@dataclass(frozen=True, slots=True)
class Double:
    """An individual in float64.

    Attributes:
        values: its weights.
        squared: its inner product with itself.
    """

    values: NDArray[np.float64]
    squared: float


class DenseBreeding:
    """Individuals as arrays in one flat order.

    Args:
        donors: name to weights, float32 of shape (order.size,); two at least.
        order: the flat order.
        operator: of crossover.
        angle: of SLERP.
        granularity: where splits may fall.
        noise: of Gaussian mutation; by default NumPy's normal numbers from Philox keyed by
            (seed, key).
        seed: of that default.

    Attributes:
        donors: their names.
        seeds: the donors as individuals.
        individuals: the arrays of the individuals that a family holds, by trial number; all
            families of one object share them, so use it for one search.

    Raises:
        SpaceError: fewer than two donors, or one of another size.
    """

    genes: tuple[Gene, ...] = ()

    def __init__(
        self,
        donors: Mapping[str, Floats32],
        order: Order,
        *,
        operator: Operator = "slerp",
        angle: AngleScope = "global",
        granularity: Granularity = "element",
        noise: Noise | None = None,
        seed: int = 0,
    ) -> None:
        if len(donors) < 2:
            raise SpaceError(f"a population needs at least two donors, got {len(donors)}")
        for name, values in donors.items():
            if values.shape != (order.size,):
                raise SpaceError(
                    f"donor '{name}' has shape {values.shape}, expected ({order.size},)"
                )
        self._weights = {
            name: np.asarray(values, dtype=np.float32) for name, values in donors.items()
        }
        self.donors = tuple(donors)
        self.seeds = tuple(Seed(name, (DONOR, name)) for name in donors)
        self.order = order
        self._operator = operator
        self._angle: AngleScope = angle
        self._granularity: Granularity = granularity
        self._noise = noise or philox_normals(seed, order.size)
        self.individuals: dict[int, Floats32] = {}
        self._doubles: dict[int, Double] = {}

    @property
    def initial(self) -> Genotype:
        """The first donor."""
        return self.seeds[0].genotype

    @property
    def n_chromosomes(self) -> int:
        """How many parts have a split point of their own."""
        return len(self.order.chromosomes)

    @property
    def task_vectors(self) -> bool:
        """Whether singular values can be mutated; a flat array has none."""
        return False

    def draw_splits(self, random: np.random.Generator) -> tuple[int, ...]:
        """Draw a split point in each chromosome."""
        return draw_splits(self.order, self._granularity, random)

    def family(self) -> DenseFamily:
        """Return the family of a search."""
        return DenseFamily(self)

    def resolve(
        self,
        parents: tuple[int, int],
        ratios: Sequence[float],
        splits: Sequence[int] | None,
    ) -> tuple[Positions, NDArray[np.float64]]:
        """Return the regions' ends and the parents' weights of a crossover."""
        cut = regions(self.order, ratios, splits, self._angle)
        if self._operator == "linear":
            return cut.ends, linear_weights(cut.t)
        a, b = (self._double(parent) for parent in parents)
        return cut.ends, slerp_weights(cut, _products(cut, self._angle, a, b))

    def develop(self, genotype: Genotype) -> Floats32:
        """Return the weights a genotype means; its parents are held.

        Raises:
            SpaceError: its mutation needs singular values, which a flat array has not.
        """
        if genotype[0] == DONOR:
            return self._weights[str(genotype[1])]
        return self.grow(Offspring.read(genotype))

    def grow(self, one: Offspring) -> Floats32:
        """Return the weights of an individual whose parents are held.

        Raises:
            SpaceError: see `develop`.
        """
        if one.mutation is not None and not isinstance(one.mutation, GaussianMutation):
            raise SpaceError("a dense population has no singular values; use Gaussian mutation")
        child = np.empty(self.order.size, dtype=np.float32)
        first = 0
        for end, row in zip(one.ends, np.asarray(one.weights, dtype=np.float32), strict=True):
            part = slice(first, end)
            np.multiply(self.individuals[one.parents[0]][part], row[0], out=child[part])
            for parent, weight in zip(one.parents[1:], row[1:], strict=True):
                child[part] += weight * self.individuals[parent][part]
            first = end
        if one.mutation is not None:
            child += np.float32(one.mutation.std) * self._noise(one.mutation.key)
        return child

    def drop(self, number: int) -> None:
        """Forget an individual's weights."""
        self.individuals.pop(number, None)
        self._doubles.pop(number, None)

    def _double(self, number: int) -> Double:
        """Return a parent in float64, which angles are computed in; kept, for parents come back."""
        if number not in self._doubles:
            values = self.individuals[number].astype(np.float64)
            self._doubles[number] = Double(values, float(values @ values))
        return self._doubles[number]


class DenseFamily:
    """The individuals of one search, held in full.

    Args:
        breeding: says what individuals are made of.
    """

    def __init__(self, breeding: DenseBreeding) -> None:
        self._breeding = breeding
        self._latest: tuple[Genotype, Offspring] | None = None

    def add(self, number: int, genotype: Genotype) -> None:
        """Enter an individual; its parents were entered before."""
        if self._latest is not None and genotype is self._latest[0]:
            weights = self._breeding.grow(self._latest[1])  # as a rule; spares reading it
        else:
            weights = self._breeding.develop(genotype)
        self._breeding.drop(number)
        self._breeding.individuals[number] = weights

    def cross(
        self,
        parents: tuple[int, int],
        ratios: Sequence[float],
        splits: Sequence[int] | None,
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the child of two individuals by the operator."""
        ends, weights = self._breeding.resolve(parents, ratios, splits)
        return self._written(Offspring(parents, _ints(ends), _rows(weights), mutation))

    def blend(
        self,
        parents: Sequence[int],
        weights: Sequence[float],
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the linear combination of individuals."""
        size = self._breeding.order.size
        return self._written(Offspring(tuple(parents), (size,), (tuple(weights),), mutation))

    def discard(self, number: int) -> None:
        """Drop an individual."""
        self._breeding.drop(number)

    def _written(self, one: Offspring) -> Genotype:
        genotype = one.genotype()
        self._latest = (genotype, one)
        return genotype


def philox_normals(seed: int, size: int) -> Noise:
    """Return standard normal numbers by key, drawn by NumPy from Philox."""

    def draw(key: int) -> Floats32:
        bits = np.random.Philox(key=np.array([seed, key], dtype=np.uint64))
        return np.random.Generator(bits).standard_normal(size, dtype=np.float32)

    return draw


def unit_normals(order: Order, share: float, seed: int) -> Noise:
    """Return normal numbers in a random share of an order's units, and zeros elsewhere.

    Numbers change the more, the fewer change at once; in layout 'unit' it is hidden units that
    mutate.

    Args:
        order: the flat order; a unit is one of a block.
        share: chance of each unit to mutate, in (0, 1].
        seed: names the numbers together with their key.

    Raises:
        SpaceError: the share is out of range.
    """
    if not 0 < share <= 1:
        raise SpaceError(f"share of units that mutate: expected one in (0, 1], got {share}")

    def draw(key: int) -> Floats32:
        bits = np.random.Philox(key=np.array([seed, key], dtype=np.uint64))
        random = np.random.Generator(bits)
        noise = np.zeros(order.size, dtype=np.float32)
        for block, first in zip(order.blocks, order.starts.tolist(), strict=False):
            chosen = np.flatnonzero(random.random(block.units) < share)
            units = noise[first : first + block.size].reshape(block.units, block.width)
            units[chosen] = random.standard_normal((len(chosen), block.width), dtype=np.float32)
        return noise

    return draw


def _products(cut: Regions, angle: AngleScope, a: Double, b: Double) -> NDArray[np.float64]:
    """Return <a, a>, <a, b> and <b, b> over each region."""
    found = np.zeros((len(cut.ends), 3))
    if angle == "global":  # one sum will do, whatever the regions
        found[0] = a.squared, a.values @ b.values, b.squared
        return found
    first = 0
    for row, end in zip(found, cut.ends.tolist(), strict=True):
        x, y = a.values[first:end], b.values[first:end]
        row[:] = x @ x, x @ y, y @ y
        first = end
    return found


def _ints(values: Positions) -> tuple[int, ...]:
    return tuple(values.tolist())


def _rows(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))
