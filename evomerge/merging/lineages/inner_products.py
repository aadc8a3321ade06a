"""Inner products of a population's donors, from which every angle between individuals follows.

With v_j the values of all donors at position j, the Gram matrix of a range of positions is the
sum of v_j v_j^T; <x, y> of two tables is the sum over segments of X^T G Y. What is kept is G of
every chunk of about a million positions, worked out once, and for each position inside a chunk
that was asked for G of what stands before and behind it in the chunk. The result is a pure
function of the range: what was asked for before makes no difference.

A small range is never the difference of two large sums: chunks are summed by themselves, and sums
inside a chunk are kept to twice the digits of a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.merging.lineages.exact_sums import dot, precise_dot
from evomerge.merging.lineages.parts import require_order
from evomerge.merging.lineages.unit_views import in_order
from evomerge.merging.memory import Memory
from evomerge.merging.method import Group
from evomerge.merging.methods.lineage import TensorLineage, lineage_value
from evomerge.merging.plan import Plan, TensorMerge
from evomerge.recipe.model import Node, Recipe, Source
from evomerge.recipe.order import Block, Cut, Member, Order, Positions

_CHUNK = 1 << 20
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Inside:
    """Gram matrices of the parts of a chunk on both sides of a position.

    Attributes:
        before: shape (n_donors, n_donors).
        rounding: what `before` is rounded by.
        behind: shape (n_donors, n_donors).
    """

    before: Floats
    rounding: Floats
    behind: Floats


class ModelProducts:
    """Inner products of models in a flat order, see `spaces.populations.protocol.InnerProducts`.

    Args:
        compile_recipe: see `Compiler.compile`.
        memory: reads the models.
        order: the flat order.
        base: origin of task vectors.
        donors: in order.
        task_vectors: products of donor - base instead of the donors' whole weights.
    """

    def __init__(
        self,
        compile_recipe: Callable[[Recipe], Plan],
        memory: Memory,
        order: Order,
        base: Node,
        donors: Sequence[Node],
        *,
        task_vectors: bool,
    ) -> None:
        self._compile = compile_recipe
        self._memory = memory
        self._order = order
        self._base = base
        self._donors = tuple(donors)
        self._task_vectors = task_vectors
        self._per_chunk = [max(1, _CHUNK // block.width) for block in order.blocks]
        counts = [
            -(-block.units // n) for block, n in zip(order.blocks, self._per_chunk, strict=True)
        ]
        # chunks of block b are first[b] .. first[b + 1] - 1
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._starts = np.concatenate([*self._chunk_starts(), [order.size]])
        self._totals = np.zeros((len(self._starts) - 1, len(self._donors), len(self._donors)))
        self._done = np.zeros(len(order.blocks), dtype=bool)
        self._positions: dict[int, _Inside] = {}

    def grams(self, bounds: Positions) -> Floats:
        """Return the donors' Gram matrices over consecutive ranges.

        Args:
            bounds: positions, increasing, shape (n + 1,); range i is [bounds[i], bounds[i + 1]).

        Returns:
            Float64, shape (n, n_donors, n_donors).

        Raises:
            CheckpointError: the models do not match, or hold inf or NaN.
        """
        chunks = np.searchsorted(self._starts, bounds, "right") - 1
        inside = [
            None if self._starts[chunk] == bound else self._inside(int(bound))
            for bound, chunk in zip(bounds.tolist(), chunks.tolist(), strict=True)
        ]
        found = np.zeros((len(bounds) - 1, len(self._donors), len(self._donors)))
        for i in range(len(found)):
            left, right = inside[i], inside[i + 1]
            first, last = int(chunks[i]), int(chunks[i + 1])
            if left is not None and right is not None and first == last:
                found[i] = (right.before - left.before) + (right.rounding - left.rounding)
                continue
            if left is not None:
                found[i] = left.behind
                first += 1
            if first < last:
                self._complete(first, last)
                # rows are added one after the other, each element by itself
                found[i] += np.add.reduce(self._totals[first:last], axis=0)
            if right is not None:
                found[i] += right.before
        return found

    def streamed(self, a: Recipe, b: Recipe, bounds: Positions) -> Floats:
        """Return <a, a>, <a, b> and <b, b> over consecutive ranges, tensor by tensor.

        Args:
            a: a recipe with a lineage over these models.
            b: another.
            bounds: see `grams`.

        Returns:
            Float64, shape (n, 3).
        """
        plans = [self._compile(recipe).tensors for recipe in (a, b)]
        cuts: dict[str, list[Cut]] = {}
        for cut in self._order.cuts(bounds):
            cuts.setdefault(cut.member.tensor, []).append(cut)
        sums: list[list[tuple[float, ...]]] = [[] for _ in bounds[1:]]
        for tensor, members in cuts.items():
            x, y = (self._value(plan[tensor]) for plan in plans)
            for cut in members:
                for i in np.flatnonzero(np.diff(cut.bounds)):
                    run = (int(cut.bounds[i]), int(cut.bounds[i + 1]))
                    left, right = (
                        in_order(one, cut.member, cut.units, *run).double() for one in (x, y)
                    )
                    products = (dot(left, left), dot(left, right), dot(right, right))
                    _require_finite(tensor, products, "an individual")
                    sums[i].append(products)
        return np.array(
            [[math.fsum(column) for column in zip(*rows, strict=True)] for rows in sums]
        )

    @cached_property
    def _merges(self) -> dict[str, TensorMerge]:
        """The inputs of every tensor; a donor's is at its own position."""
        recipe = Recipe(
            merge_method="task_arithmetic",
            base_model=self._base,
            models=tuple(Source(model=node) for node in self._donors),
            parameters={"weight": 1.0},
        )
        plan = self._compile(recipe)
        merges = {
            name: one for name, one in plan.tensors.items() if not one.copied and 0 not in one.shape
        }
        require_order(self._order, merges, plan.reference)
        return merges

    def _chunk_starts(self) -> Iterator[Positions]:
        for block, start, n in zip(
            self._order.blocks, self._order.starts.tolist(), self._per_chunk, strict=False
        ):
            yield start + np.arange(0, block.units, n, dtype=np.int64) * block.width

    def _complete(self, first: int, last: int) -> None:
        """See to the totals of chunks [first, last)."""
        start = int(np.searchsorted(self._first, first, "right")) - 1
        stop = int(np.searchsorted(self._first, last, "left"))
        for index in range(start, stop):
            if not self._done[index]:
                self._sum_up(index)
                self._done[index] = True

    def _sum_up(self, index: int) -> None:
        block, n = self._order.blocks[index], self._per_chunk[index]
        for member, width in zip(block.members, block.widths, strict=True):
            read = self._reader(member, block)
            for chunk, unit in enumerate(range(0, block.units, n), start=int(self._first[index])):
                end = min(unit + n, block.units)
                values = read(unit * width, end * width)
                for i, j in _pairs(len(values)):
                    product = dot(values[i], values[j])
                    _require_finite(member.tensor, (product,), "a donor")
                    self._totals[chunk, i, j] += product
                    self._totals[chunk, j, i] = self._totals[chunk, i, j]

    def _inside(self, position: int) -> _Inside:
        if position not in self._positions:
            self._positions[position] = self._split(position)
        return self._positions[position]

    def _split(self, position: int) -> _Inside:
        """Read the chunk around a position, and multiply on both sides of it."""
        index = self._order.block_at(position)
        block, n = self._order.blocks[index], self._per_chunk[index]
        unit, rest = divmod(position - int(self._order.starts[index]), block.width)
        first = unit // n * n
        end = min(first + n, block.units)
        size = len(self._donors)
        before, rounding, behind = (np.zeros((size, size)) for _ in range(3))
        offset = 0
        parts: list[list[tuple[float, float]]] = [[] for _ in _pairs(size)]
        for member, width in zip(block.members, block.widths, strict=True):
            split = unit * width + min(max(rest - offset, 0), width)
            offset += width
            values = self._reader(member, block)(first * width, end * width)
            cut = split - first * width
            for pair, (i, j) in enumerate(_pairs(size)):
                x, y = values[i], values[j]
                precise = precise_dot(x[:cut], y[:cut])
                product = dot(x[cut:], y[cut:])
                _require_finite(member.tensor, (precise[0], product), "a donor")
                parts[pair].append(precise)
                behind[i, j] += product
        for pair, (i, j) in enumerate(_pairs(size)):
            terms = [term for precise in parts[pair] for term in precise]
            before[i, j] = math.fsum(terms)
            rounding[i, j] = math.fsum([*terms, -before[i, j]])
            before[j, i], rounding[j, i], behind[j, i] = before[i, j], rounding[i, j], behind[i, j]
        return _Inside(before, rounding, behind)

    def _reader(self, member: Member, block: Block) -> Callable[[int, int], list[Tensor]]:
        """Return what reads elements [first, end) of a member: float64, of every donor."""
        merge = self._merges[member.tensor]
        load = self._memory.load
        tensors = [
            load(one.checkpoint, one.tensor).contiguous()
            for one in merge.inputs[: len(self._donors)]
        ]
        origin = None
        if self._task_vectors and merge.base_index is not None:
            one = merge.inputs[merge.base_index]
            origin = load(one.checkpoint, one.tensor).contiguous()

        def read(first: int, end: int) -> list[Tensor]:
            found = [in_order(t, member, block.units, first, end).to(merge.work) for t in tensors]
            if origin is not None:
                start = in_order(origin, member, block.units, first, end).to(merge.work)
                found = [values - start for values in found]
            return [values.double() for values in found]

        return read

    def _value(self, merge: TensorMerge) -> Tensor:
        """Return a tensor of an individual in the work dtype, without the base."""
        part = merge.arguments["part"]
        if not isinstance(part, TensorLineage):
            raise CheckpointError(f"tensor '{merge.name}' is not merged by a lineage")
        tensors = [self._memory.load(one.checkpoint, one.tensor) for one in merge.inputs]
        inputs = tuple(tensor.to(merge.work).contiguous() for tensor in tensors)
        return lineage_value(Group(merge.name, inputs, merge.base_index), part)


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(i, n)]


def _require_finite(tensor: str, products: Sequence[float], whose: str) -> None:
    if not all(map(math.isfinite, products)):
        raise CheckpointError(
            f"tensor '{tensor}' of {whose} holds inf or NaN, or values too large to multiply; "
            "it has no angle: mend the model or remove it"
        )
