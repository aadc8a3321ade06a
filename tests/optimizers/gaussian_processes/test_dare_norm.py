"""What DARE does to the objectives that MM-MO calls sparsity: nothing to L1, everything to zeros.

DARE keeps an element with probability d and divides it by d, so that E|DARE(v)| = |v| whatever the
density. The L1 norm of the change therefore rewards small weights, not sparse changes; the share of
weights that equal the base's (`delta_sparsity`, 1 minus the share of non-zero changes) is 1 - d.
"""

from __future__ import annotations

import pytest
import torch

from evomerge.merging import sparsify
from evomerge.merging.random import Stream

N = 20_000


def masked(density, seed):
    delta = torch.randn(N, generator=torch.Generator().manual_seed(7), dtype=torch.double)
    stream = Stream(seed, "donor", "tensor")
    return delta, sparsify.random(delta.clone(), density, "inverse_density", stream, compat=False)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_norm_does_not_depend_on_the_density(density):
    ratios = []
    for seed in range(20):
        delta, kept = masked(density, seed)
        ratios.append(float(kept.abs().sum() / delta.abs().sum()))
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_share_of_changed_weights_is_the_density(density):
    shares = [float((masked(density, seed)[1] != 0).double().mean()) for seed in range(20)]
    assert sum(shares) / len(shares) == pytest.approx(density, abs=0.01)


def test_the_norm_is_that_of_the_weights_instead():
    _, kept = masked(0.5, 0)
    assert float((0.25 * kept).abs().sum() / kept.abs().sum()) == pytest.approx(0.25)
