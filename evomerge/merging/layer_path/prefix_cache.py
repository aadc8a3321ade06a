"""What common prefixes of paths compute: hidden states and keys and values, within a budget.

Candidates of a search start with the same hops and answer the same items. What a hop computes
depends on the batch and on the hops up to it, so it is kept under a key of both and taken instead
of being computed again. Nothing is rounded or compared by likeness: a hit is the tensor itself.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

_RECENT = 16  # candidates: about a generation
KeysValues: TypeAlias = tuple[Tensor, Tensor]


@dataclass(slots=True)
class State:
    """What one hop of a path made of one batch.

    Attributes:
        hidden: (n_rows, n_columns, hidden_size), after the hop.
        keys_values: what the hop handed to its key/value cache, (n_rows, n_heads, n_columns,
            head_dim) each; None where no cache was built.
    """

    hidden: Tensor
    keys_values: KeysValues | None

    @property
    def n_bytes(self) -> int:
        """Memory it holds."""
        tensors = (self.hidden, *(self.keys_values or ()))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(slots=True)
class _Kept:
    state: State
    depth: int
    candidate: int
    stamp: int = -1


def prefix_keys(root: bytes, steps: Sequence[str]) -> list[bytes]:
    """Return a key for every prefix of a path: the batch and everything passed so far.

    Args:
        root: identifies the batch and what stands before the first hop.
        steps: identify the hops.
    """
    running = hashlib.sha256(root)
    keys = []
    for step in steps:
        running.update(step.encode() + b"\n")
        keys.append(running.digest())
    return keys


class PrefixCache:
    """States by prefix; what no late candidate has used goes first, then the deepest.

    The batches of one pass over the items are equally worth keeping, and so is what the latest
    candidates share, so among states used of late the order of use says nothing: a cache that went
    by it would always give up what the next batch needs. Depth does: fewer paths share a longer
    prefix. Using a state uses those before it, so what is kept is closed under prefixes.

    Args:
        limit_bytes: what the kept tensors may take together; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._candidate = 0
        self._kept: dict[bytes, _Kept] = {}
        self._stamps = itertools.count()
        # Heaps with the first to go on top; entries with an outdated stamp mean nothing.
        self._by_use: list[tuple[int, int, int, bytes]] = []
        self._by_depth: list[tuple[int, int, int, bytes]] = []

    def __len__(self) -> int:
        """Count the kept states."""
        return len(self._kept)

    def next_candidate(self) -> None:
        """Start counting for another candidate."""
        self._candidate += 1

    def longest(self, keys: Sequence[bytes]) -> list[State]:
        """Return the states of the longest kept prefix, one a hop; all count as used now."""
        found = []
        for key in keys:
            kept = self._kept.get(key)
            if kept is None:
                break
            found.append(kept.state)
            if kept.candidate != self._candidate:
                kept.candidate = self._candidate
                self._enqueue(key, kept)
        return found

    def keep(self, key: bytes, depth: int, state: State) -> bool:
        """Keep a state whose prefixes are kept, if that is worth the room; say whether it is."""
        size = state.n_bytes
        if size > self.limit_bytes:
            return False
        while self.used_bytes + size > self.limit_bytes:
            victim = self._first_to_go()
            kept = self._kept[victim]
            if self._is_recent(kept) and kept.depth <= depth:
                return False
            self.used_bytes -= self._kept.pop(victim).state.n_bytes
        self._kept[key] = _Kept(state, depth, self._candidate)
        self._enqueue(key, self._kept[key])
        self.used_bytes += size
        return True

    def _is_recent(self, kept: _Kept) -> bool:
        return self._candidate - kept.candidate <= _RECENT

    def _first_to_go(self) -> bytes:
        oldest = self._top(self._by_use)
        return self._top(self._by_depth) if self._is_recent(self._kept[oldest]) else oldest

    def _top(self, heap: list[tuple[int, int, int, bytes]]) -> bytes:
        while True:
            *_, stamp, key = heap[0]
            if key in self._kept and self._kept[key].stamp == stamp:
                return key
            heapq.heappop(heap)

    def _enqueue(self, key: bytes, kept: _Kept) -> None:
        kept.stamp = next(self._stamps)
        if len(self._by_use) > 4 * len(self._kept) + 64:  # mostly outdated
            self._by_use.clear()
            self._by_depth.clear()
            renewed = list(self._kept.items())
        else:
            renewed = [(key, kept)]
        for name, one in renewed:
            heapq.heappush(self._by_use, (one.candidate, -one.depth, one.stamp, name))
            heapq.heappush(self._by_depth, (-one.depth, one.candidate, one.stamp, name))
