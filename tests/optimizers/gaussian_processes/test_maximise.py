"""Maximising: the optimum of known functions over domains of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evomerge.optimizers.gaussian_processes.encoding import Encoding
from evomerge.optimizers.gaussian_processes.maximise import (
    Effort,
    climbed,
    score,
    starting_points,
)
from evomerge.testing.problems import (
    conditional_domain,
    continuous_domain,
    integer_domain,
    mixed_domain,
)


class Near:
    """Minus the squared distance to the features of a genotype; counts what it is asked."""

    def __init__(self, encoding, genotype):
        self._target = torch.as_tensor(encoding.features(encoding.point(genotype)[None])[0])
        self.sizes = []

    def __call__(self, x):
        self.sizes.append(len(x))
        return -(x - self._target).square().sum(dim=-1)


CASES = {
    "continuous": (continuous_domain(4), (-0.7, 1.9, 0.25, 0.0)),
    "at a corner": (continuous_domain(2), (-1.0, 2.0)),
    "integers": (integer_domain(-3, 4, 3), (-3, 4, 1)),
    "mixed": (mixed_domain(), (1.3, 3e-4, 6, "on", "b")),
    "conditional": (
        conditional_domain(),
        ("on", 1.5, "on", 0.5, "on", 0.7, "off", 1.0, 2, -0.5),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_found(case):
    domain, optimum = CASES[case]
    encoding = Encoding(domain)
    function = Near(encoding, optimum)
    random = np.random.default_rng(0)
    raw = starting_points(encoding, 32, np.zeros((0, len(domain))), random)
    effort = Effort(raw_samples=32, restarts=3, iterations=40, chunk=16)
    worths = score(function, encoding, raw, 16)
    points, climbed_worths = climbed(function, encoding, raw, worths, effort, random)
    assert (np.diff(climbed_worths) <= 0).all()
    assert climbed_worths[0] > -1e-8
    found = encoding.genotype(points[0])
    for value, wanted, gene in zip(found, optimum, domain.genes, strict=True):
        if gene.kind == "continuous":
            assert gene.to_unit(value) == pytest.approx(gene.to_unit(wanted), abs=1e-3)
        else:
            assert value == wanted
    np.testing.assert_array_equal(encoding.canonical(points), points)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_chunks_do_not_matter(chunk):
    encoding = Encoding(continuous_domain(3))
    function = Near(encoding, (0.0, 0.5, 1.0))
    random = np.random.default_rng(0)
    raw = starting_points(encoding, 11, np.zeros((0, 3)), random)
    expected = -((encoding.features(raw) - encoding.point((0.0, 0.5, 1.0))) ** 2).sum(axis=1)
    worths = score(function, encoding, raw, chunk)
    np.testing.assert_allclose(worths, expected)
    assert max(function.sizes) <= chunk
    effort = Effort(11, 6, 40, chunk)
    points, _ = climbed(function, encoding, raw, worths, effort, np.random.default_rng(1))
    np.testing.assert_allclose(points, np.tile([1 / 3, 0.5, 2 / 3], (6, 1)), atol=1e-4)


def test_a_flat_function_leaves_starts_where_they_are():
    encoding = Encoding(continuous_domain(3))
    raw = starting_points(encoding, 16, np.zeros((0, 3)), np.random.default_rng(0))
    effort = Effort(16, 4, 40, 16)
    points, _ = climbed(
        lambda x: 0.0 * x.sum(dim=-1), encoding, raw, np.zeros(16), effort, np.random.default_rng(0)
    )
    assert all((raw == point).all(axis=1).any() for point in points)


def test_half_of_the_starts_lie_near_the_front():
    encoding = Encoding(continuous_domain(20))
    near = np.full((1, 20), 0.25)
    starts = starting_points(encoding, 40, near, np.random.default_rng(0))
    distance = np.linalg.norm(starts - 0.25, axis=1)
    assert (distance[20:] < 0.7).all()
    assert (distance[20:] > 0).all()
    assert (distance[:20] > 0.7).all()
