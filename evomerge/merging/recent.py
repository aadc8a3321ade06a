"""Results of costly steps, kept while they fit: factors of matrices, values of ancestors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

from evomerge.merging.memory import Memory


class Recent:
    """The most recently used results, in what `Memory` leaves of its limit.

    Nothing may depend on what is kept: a result that is asked for and not here is computed again,
    to the same bits.

    Args:
        memory: holds inputs on the same device; together they keep within its limit, and inputs
            go first.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._used = 0
        memory.lend_to(self._give_back)

    def get(self, key: Hashable) -> tuple[Tensor, ...] | None:
        """Return what was put under a key, if it is still here; read-only."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, tensors: tuple[Tensor, ...]) -> None:
        """Keep a result, and drop the longest unused ones that it leaves no room for."""
        if key in self._kept:
            return
        size = _size(tensors)
        if size > self._memory.spare + self._used:
            return
        self._give_back(size - self._memory.spare)
        self._kept[key] = tensors
        self._count(size)

    def _give_back(self, size: int) -> None:
        """Drop the longest unused results until so many bytes are free, or nothing is left."""
        before = self._used
        while self._kept and before - self._used < size:
            _, dropped = self._kept.popitem(last=False)
            self._count(-_size(dropped))

    def _count(self, size: int) -> None:
        self._used += size
        self._memory.lend(size)


def _size(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
