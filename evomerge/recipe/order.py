"""The flat order of a model's numbers: what a split point cuts, and what is inherited together.

One-point crossover hands down together what stands together, so the order is a parameter of the
search. It is made of blocks: tensors that are cut into equally many units along one axis each and
laid out unit by unit. A tensor row by row is a block of one member; an MLP ordered by hidden unit
is a block whose unit holds a row of each input projection and a column of the output projection.

A position is an index into that order; chromosomes are consecutive ranges of it, each of which a
merge splits at a point of its own.

Source: Abrantes et al. 2025, "Competition and Attraction Improve Model Fusion", arXiv 2508.16204,
for split points and chromosomes; the grouping by unit is ours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Granularity: TypeAlias = Literal["element", "unit", "tensor", "layer"]
Positions: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Member:
    """A tensor of a block, or a range of one along the axis of the units.

    Attributes:
        tensor: its name.
        shape: of the whole tensor.
        axis: along which its units lie.
        first: index along the axis where it begins.
        end: one past the last index.
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int
    first: int
    end: int

    @property
    def size(self) -> int:
        """Number of elements."""
        if not self.shape:
            return 1
        return math.prod(self.shape) // self.shape[self.axis] * (self.end - self.first)

    @classmethod
    def whole(cls, tensor: str, shape: tuple[int, ...], axis: int = 0) -> Member:
        """Return a whole tensor as a member."""
        return cls(tensor, shape, axis, 0, shape[axis] if shape else 1)


@dataclass(frozen=True)
class Block:
    """Tensors laid out unit by unit.

    In a unit its members' parts stand one after the other, each row by row: a part of columns goes
    down the rows of its tensor, and holds in each the unit's columns.

    Attributes:
        members: in the order in which their parts stand in a unit.
        units: into how many equal parts each member is cut along its axis.
        layer: of the model; None outside the layers.

    Raises:
        ValueError: the units do not divide a member.
    """

    members: tuple[Member, ...]
    units: int
    layer: int | None = None

    def __post_init__(self) -> None:
        for member in self.members:
            if (member.end - member.first) % self.units:
                raise ValueError(
                    f"tensor '{member.tensor}': {self.units} units do not divide its "
                    f"{member.end - member.first} indices along axis {member.axis}"
                )

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Elements of each member in one unit."""
        return tuple(member.size // self.units for member in self.members)

    @cached_property
    def width(self) -> int:
        """Elements of one unit."""
        return sum(self.widths)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.units * self.width


@dataclass(frozen=True, slots=True)
class Chromosome:
    """A range of positions that each merge splits at a point of its own."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """How boundaries of segments fall into one member.

    Attributes:
        member: which.
        units: of its block.
        bounds: for each boundary how many of the member's elements, unit by unit, stand before
            it; non-decreasing.
    """

    member: Member
    units: int
    bounds: Positions


class Order:
    """A flat order of a model's numbers.

    Args:
        chromosomes: name and blocks of each, in order; at least one block each.

    Attributes:
        blocks: all of them, in order.
        starts: position where each block begins, and the size at the end; shape (n_blocks + 1,).
        size: number of positions.
        chromosomes: ranges of positions.
    """

    def __init__(self, chromosomes: Sequence[tuple[str, Sequence[Block]]]) -> None:
        self.blocks = tuple(block for _, blocks in chromosomes for block in blocks)
        sizes = [block.size for block in self.blocks]
        self.starts: Positions = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.size = int(self.starts[-1])
        found, first = [], 0
        for name, blocks in chromosomes:
            last = first + len(blocks)
            found.append(Chromosome(name, int(self.starts[first]), int(self.starts[last])))
            first = last
        self.chromosomes = tuple(found)
        self._splits: dict[tuple[Granularity, Chromosome], Positions] = {}

    def splits(self, granularity: Granularity, chromosome: Chromosome) -> Positions | None:
        """Return where a chromosome may be split; None when anywhere.

        Its own beginning is among them, so that a split may leave one side empty.

        Returns:
            Increasing; read-only, since it is worked out once.
        """
        if granularity == "element":
            return None
        key = (granularity, chromosome)
        if key not in self._splits:
            self._splits[key] = self._work_out_splits(granularity, chromosome)
            self._splits[key].flags.writeable = False
        return self._splits[key]

    def _work_out_splits(self, granularity: Granularity, chromosome: Chromosome) -> Positions:
        inside = [
            (block, int(start))
            for block, start in zip(self.blocks, self.starts, strict=False)
            if chromosome.start <= start < chromosome.end
        ]
        if granularity == "unit":
            runs = [start + np.arange(block.units) * block.width for block, start in inside]
            return np.concatenate(runs).astype(np.int64)
        if granularity == "tensor":
            return np.array([start for _, start in inside], dtype=np.int64)
        layers = [block.layer for block, _ in inside]
        changes = [i for i in range(len(inside)) if i == 0 or layers[i] != layers[i - 1]]
        return np.array([inside[i][1] for i in changes], dtype=np.int64)

    def block_at(self, position: int) -> int:
        """Return the index of the block that holds a position."""
        return min(bisect_right(self.starts, position) - 1, len(self.blocks) - 1)

    def cuts(self, boundaries: Positions) -> Iterator[Cut]:
        """Yield for every member where boundaries fall in it, see `Cut`.

        Args:
            boundaries: positions, non-decreasing, shape (n,).
        """
        for block, start in zip(self.blocks, self.starts, strict=False):
            inside = np.clip(boundaries - start, 0, block.size)
            units, rest = np.divmod(inside, block.width)
            offset = 0
            for member, width in zip(block.members, block.widths, strict=True):
                bounds = units * width + np.clip(rest - offset, 0, width)
                yield Cut(member, block.units, bounds)
                offset += width

    @cached_property
    def tensors(self) -> frozenset[str]:
        """The names of all tensors."""
        return frozenset(member.tensor for block in self.blocks for member in block.members)
