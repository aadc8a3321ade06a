"""Random numbers that depend on what is drawn, never on when, where or in which order.

Every element of every tensor of every donor has its own 32 bits, a pure function of (recipe seed,
donor identity, tensor name, element index), computed with the counter-based generator
Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Integer
arithmetic only, so the bits are the same on every device: NumPy's generator draws them on a CPU,
`philox` elsewhere. A mask is `u < density`, so the mask of a lower density is a subset of that of
a higher one.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_M0, _M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_W0, _W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_LOW = 0xFFFFFFFF
_FULL = (1 << 64) - 1
_PER_BLOCK = 8  # four words of 64 bits are eight elements
_CHUNK = 1 << 20


def philox(counter: Tensor, words: tuple[int, int, int], key: tuple[int, int]) -> Tensor:
    """Run the ten rounds of Philox4x64 on many counters at once, on the counters' device.

    Args:
        counter: first word of each counter, int64 of shape (n,), read as unsigned.
        words: the other three words of all counters.
        key: two words.

    Returns:
        Int64 of shape (n, 4), to be read as unsigned.
    """
    c0 = counter
    c1, c2, c3 = (torch.full_like(counter, _signed(word)) for word in words)
    k0, k1 = key
    for _ in range(10):
        c0, c1, c2, c3 = (
            _high(c2, _M1) ^ c1 ^ _signed(k0),
            c2 * _signed(_M1),
            _high(c0, _M0) ^ c3 ^ _signed(k1),
            c0 * _signed(_M0),
        )
        k0, k1 = (k0 + _W0) & _FULL, (k1 + _W1) & _FULL
    return torch.stack((c0, c1, c2, c3), dim=1)


@dataclass(frozen=True, slots=True)
class Stream:
    """The random numbers of one tensor of one donor.

    Attributes:
        seed: of the recipe.
        donor: identity of the donor, see `evomerge.merging.plan`.
        tensor: the donor's name of the tensor.
    """

    seed: int
    donor: str
    tensor: str

    def words(self, start: int, end: int, device: torch.device | str = "cpu") -> Tensor:
        """Return the random words of elements [start, end), int64 below 2^32."""
        first, stop = start // _PER_BLOCK, -(-end // _PER_BLOCK)
        on_cpu = torch.device(device).type == "cpu"
        drawn = self._by_numpy(first, stop) if on_cpu else self._by_philox(first, stop, device)
        offset = start - first * _PER_BLOCK
        return drawn[offset : offset + end - start]

    def uniform(self, n: int, device: torch.device | str = "cpu") -> Tensor:
        """Return u in [0, 1) for the first `n` elements, float64."""
        return self.words(0, n, device).double() * 2.0**-32

    def mask(self, n: int, density: float, device: torch.device | str = "cpu") -> Tensor:
        """Return `u < density` for the first `n` elements, bool of shape (n,)."""
        threshold = math.ceil(density * 2.0**32)
        out = torch.empty(n, dtype=torch.bool, device=device)
        for chunk in range(0, n, _CHUNK):
            stop = min(chunk + _CHUNK, n)
            torch.lt(self.words(chunk, stop, device), threshold, out=out[chunk:stop])
        return out

    def _by_numpy(self, first: int, stop: int) -> Tensor:
        """Draw the words of blocks [first, stop) with NumPy, which steps before it draws."""
        k0, k1, *rest = self._identity()
        counter = first + sum(word << 64 * i for i, word in enumerate(rest, start=1)) - 1
        generator = np.random.Philox(
            counter=np.array([(counter >> 64 * i) & _FULL for i in range(4)], dtype=np.uint64),
            key=np.array([k0, k1], dtype=np.uint64),
        )
        raw = generator.random_raw((stop - first) * 4).astype("<u8", copy=False)
        return torch.from_numpy(raw.view("<u4").astype(np.int64))

    def _by_philox(self, first: int, stop: int, device: torch.device | str) -> Tensor:
        """Draw the words of blocks [first, stop) on any device."""
        k0, k1, c1, c2, c3 = self._identity()
        blocks = torch.arange(first, stop, dtype=torch.int64, device=device)
        drawn = philox(blocks, (c1, c2, c3), (k0, k1)).view(-1)
        return torch.stack((drawn & _LOW, (drawn >> 32) & _LOW), dim=1).view(-1)

    def _identity(self) -> tuple[int, ...]:
        """Return five words: the key and all of the counter but the block's number."""
        digest = hashlib.sha512(repr((self.seed, self.donor, self.tensor)).encode()).digest()
        return tuple(int.from_bytes(digest[i : i + 8], "little") for i in range(0, 40, 8))


def _signed(word: int) -> int:
    """Return the int64 with the bits of an unsigned word."""
    return word - (1 << 64) if word >> 63 else word


def _high(a: Tensor, b: int) -> Tensor:
    """Return the upper 64 bits of the unsigned product; every signed step wraps modulo 2^64."""
    a0, a1, b0, b1 = a & _LOW, (a >> 32) & _LOW, b & _LOW, b >> 32
    middle = a1 * b0 + ((a0 * b0 >> 32) & _LOW)
    other = a0 * b1 + (middle & _LOW)
    return a1 * b1 + ((middle >> 32) & _LOW) + ((other >> 32) & _LOW)
