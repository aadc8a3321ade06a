"""Counter-based random numbers against published vectors, and masks that never depend on order."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging import random as module
from evomerge.merging.random import Stream, philox

WORD = 1 << 64
words = st.integers(0, WORD - 1)


def unsigned(tensor: torch.Tensor) -> list[list[int]]:
    return [[word % WORD for word in row] for row in tensor.tolist()]


def test_published_vector():
    """Random123's kat_vectors, philox4x64 with ten rounds, all zeros."""
    assert unsigned(philox(torch.zeros(1, dtype=torch.int64), (0, 0, 0), (0, 0))) == [
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ]


@given(st.integers(1, 2**40), words, words, words, words, words)
def test_many_counters_equal_numpys_generator(first, c1, c2, c3, k0, k1):
    counters = torch.arange(first, first + 5, dtype=torch.int64)
    # NumPy steps the counter before it draws.
    generator = np.random.Philox(
        counter=np.array([first - 1, c1, c2, c3], dtype=np.uint64),
        key=np.array([k0, k1], dtype=np.uint64),
    )
    expected = generator.random_raw(20).reshape(5, 4).tolist()
    assert unsigned(philox(counters, (c1, c2, c3), (k0, k1))) == expected


@given(st.integers(0, 2**35), st.integers(1, 30), st.integers(0, 9))
def test_every_device_draws_the_same(first, length, seed):
    stream = Stream(seed, "donor-1", "w")
    by_philox = stream._by_philox(first, first + length, "cpu")
    assert torch.equal(by_philox, stream._by_numpy(first, first + length))


@given(st.integers(0, 5000), st.integers(0, 300))
def test_any_piece_equals_the_same_part_of_the_whole(start, length):
    stream = Stream(3, "donor-1", "model.layers.0.mlp.up_proj.weight")
    whole = stream.words(0, 5300)
    assert torch.equal(stream.words(start, start + length), whole[start : start + length])


def test_the_piece_size_changes_nothing(monkeypatch):
    stream = Stream(3, "donor-1", "w")
    before = stream.mask(10_000, 0.3)
    monkeypatch.setattr(module, "_CHUNK", 37)
    assert torch.equal(stream.mask(10_000, 0.3), before)


@given(st.floats(0, 1), st.floats(0, 1))
def test_masks_nest(a, b):
    low, high = sorted((a, b))
    stream = Stream(0, "d", "w")
    assert not bool((stream.mask(500, low) & ~stream.mask(500, high)).any())


def test_mask_is_u_below_density():
    stream = Stream(0, "d", "w")
    assert torch.equal(stream.mask(1000, 0.37), stream.uniform(1000) < 0.37)
    assert not bool(stream.mask(1000, 0.0).any())
    assert bool(stream.mask(1000, 1.0).all())


def test_numbers_are_uniform_and_streams_independent():
    n = 200_000
    streams = [Stream(0, "d", "w"), Stream(1, "d", "w"), Stream(0, "e", "w"), Stream(0, "d", "v")]
    drawn = [stream.uniform(n) for stream in streams]
    for u in drawn:
        # Five standard errors of the mean and of the share in each tenth.
        assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / n) ** 0.5
        shares = torch.histc(u, bins=10, min=0, max=1) / n
        assert float((shares - 0.1).abs().max()) < 5 * (0.09 / n) ** 0.5
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(4, dtype=torch.float64)
    assert float(correlation.abs().max()) < 5 / n**0.5
