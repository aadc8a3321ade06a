"""Exact counts, deterministic ties, and what rescaling restores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging.random import Stream
from evomerge.merging.sparsify import kept_count, magnitude, magnitude_mask, magnitudes_of, random

coarse = st.lists(st.integers(-3, 3), min_size=1, max_size=60)


def brute_force(values: list[int], k: int) -> list[bool]:
    """Sort by magnitude, then by position, and keep the first k."""
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    kept = set(order[:k])
    return [i in kept for i in range(len(values))]


@given(coarse, st.floats(0.001, 0.999), st.sampled_from([torch.float32, torch.bfloat16]))
def test_exactly_k_are_kept_lowest_index_first(values, density, dtype):
    delta = torch.tensor(values, dtype=dtype)
    k = max(1, int(density * len(values)))
    assert magnitude_mask(magnitudes_of(delta), k).tolist() == brute_force(values, k)


def test_counts_truncate_and_never_reach_zero():
    assert kept_count(0.29, 100) == 28
    assert kept_count(0.5, 1) == 1
    assert kept_count(1e-9, 10) == 1


def test_the_two_ways_to_a_threshold_agree():
    magnitudes = torch.rand(1001)
    for k in (1, 2, 500, 1001):
        by_sorting = float(magnitudes.sort(descending=True).values[k - 1])
        assert float(torch.kthvalue(magnitudes, 1001 - k + 1).values) == by_sorting
        assert int(magnitude_mask(magnitudes, k).sum()) == k


def test_ends_of_the_density_range():
    delta = torch.randn(5, 4)
    assert magnitude(delta, 1.0, "l1", compat=False) is delta
    assert not bool(magnitude(delta, 0.0, "l1", compat=False).any())
    stream = Stream(0, "d", "w")
    assert random(delta, 1.0, "l1", stream, compat=False) is delta
    assert not bool(random(delta, 0.0, "inverse_density", stream, compat=False).any())


def test_l1_rescaling_restores_the_sum_of_magnitudes():
    delta = torch.randn(50, 40)
    for kept in (
        magnitude(delta, 0.3, "l1", compat=False),
        random(delta, 0.3, "l1", Stream(0, "d", "w"), compat=False),
    ):
        assert float(kept.abs().sum()) == pytest.approx(float(delta.abs().sum()), rel=1e-5)


def test_inverse_density_is_unbiased():
    """Over many seeds the mean of each element is the element."""
    delta, density, n = torch.tensor([1.0, -2.0, 0.5]), 0.2, 600
    mean = sum(
        random(delta, density, "inverse_density", Stream(seed, "d", "w"), compat=False)
        for seed in range(n)
    )
    error = (mean / n - delta).abs() / delta.abs()
    assert float(error.max()) < 5 * ((1 - density) / density / n) ** 0.5


def test_nan_is_kept_so_that_it_is_seen():
    delta = torch.tensor([1.0, float("nan"), 3.0, 0.1])
    assert bool(magnitude(delta, 0.25, "none", compat=False).isnan().any())
    assert bool(magnitude(delta, 0.5, "none", compat=False).isnan().any())
