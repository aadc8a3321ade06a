"""The published code's random vectors, without JAX.

Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
and the counters and the conversion to normal numbers that `jax.random` used when the code was
published (`jax_threefry_partitionable` off).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

Words: TypeAlias = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def key_of(seed: int) -> Words:
    """Return the key of a seed, shape (2,)."""
    return np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32)


def split(key: Words, n: int = 2) -> Words:
    """Return keys made of a key, shape (n, 2)."""
    return _bits(key, 2 * n).reshape(n, 2)


def normals(key: Words, n: int) -> NDArray[np.float32]:
    """Return standard normal numbers, shape (n,)."""
    mantissas = (_bits(key, n) >> np.uint32(9)) | np.uint32(0x3F800000)
    unit = mantissas.view(np.float32) - np.float32(1)
    low = np.nextafter(np.float32(-1), np.float32(0))
    uniform = np.maximum(low, unit * (np.float32(1) - low) + low)
    return (np.sqrt(np.float32(2)) * erfinv(uniform)).astype(np.float32)


def _bits(key: Words, n: int) -> Words:
    """Encrypt the counters 0 to n - 1, the first half of them as left words."""
    counters = np.arange(n + n % 2, dtype=np.uint32)
    if n % 2:
        counters[-1] = 0
    return np.concatenate(_encrypt(key, *np.split(counters, 2)))[:n]


def _encrypt(key: Words, left: Words, right: Words) -> tuple[Words, Words]:
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    left, right = left + schedule[0], right + schedule[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            left = left + right
            right = (right << np.uint32(rotation)) | (right >> np.uint32(32 - rotation))
            right = right ^ left
        left = left + schedule[(block + 1) % 3]
        right = right + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return left, right
