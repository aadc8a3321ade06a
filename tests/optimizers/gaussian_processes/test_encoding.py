"""Encoding: points, their canonical form, features, neighbours and draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.optimizers.gaussian_processes.encoding import Encoding, apart
from evomerge.spaces.domain import Domain, Gene
from evomerge.testing.problems import (
    conditional_domain,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sequence_domain,
)

DOMAINS = {
    "continuous": continuous_domain(3),
    "mixed": mixed_domain(),
    "conditional": conditional_domain(),
    "sequence": sequence_domain(3),
    "integers": integer_domain(-3, 4, 2),
    "single choice": Domain((Gene("a", "categorical", initial="x", choices=("x",)),)),
}


@pytest.fixture(params=DOMAINS.values(), ids=DOMAINS.keys())
def encoding(request):
    return Encoding(request.param)


def points_of(encoding, n=40, seed=0):
    return encoding.canonical(np.random.default_rng(seed).random((n, encoding.n_genes)))


def test_canonical_points_are_those_of_their_genotypes(encoding):
    points = points_of(encoding)
    np.testing.assert_array_equal(encoding.canonical(points), points)
    for point in points:
        genotype = encoding.genotype(point)
        np.testing.assert_allclose(encoding.point(genotype), point, atol=1e-12)


def test_equal_genotypes_and_only_those_have_equal_features(encoding):
    points = points_of(encoding)
    features = encoding.features(points)
    assert features.shape == (len(points), encoding.n_features)
    assert len(encoding.owners) == encoding.n_features
    genotypes = [encoding.genotype(point) for point in points]
    for i in range(len(points)):
        for j in range(i):
            same = bool(np.allclose(features[i], features[j], atol=1e-12))
            assert same == (genotypes[i] == genotypes[j])


def test_features_of_each_kind():
    encoding = Encoding(mixed_domain())
    point = encoding.point((0.5, 1e-2, 3, "on", "c"))[None]
    half = np.sqrt(0.5)
    expected = [0.5, 0.5, 5.5 / 10, 1.0, 0.0, 0.0, half, 0.0]
    np.testing.assert_allclose(encoding.features(point)[0], expected)
    assert encoding.owners.tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    other = encoding.features(encoding.point((0.5, 1e-2, 3, "on", "a"))[None])[0]
    assert np.linalg.norm(other - encoding.features(point)[0]) == pytest.approx(1.0)


def test_neighbours_differ_in_one_discrete_gene_that_has_an_effect(encoding):
    for point in points_of(encoding, n=10):
        genotype = encoding.genotype(point)
        found = [encoding.genotype(other) for other in encoding.neighbours(point)]
        assert len(set(found)) == len(found)
        assert genotype not in found
        expected = set()
        domain = encoding._domain
        active = domain.active(genotype)
        for i, gene in enumerate(domain.genes):
            if not active[i] or gene.kind == "continuous":
                continue
            if gene.kind == "categorical":
                values = [choice for choice in gene.choices if choice != genotype[i]]
            else:
                values = [
                    v for v in (genotype[i] - 1, genotype[i] + 1) if gene.low <= v <= gene.high
                ]
            for value in values:
                expected.add(domain.canonical((*genotype[:i], value, *genotype[i + 1 :])))
        assert set(found) == expected


def test_gradients_move_continuous_genes_that_have_an_effect():
    domain = conditional_domain()
    encoding = Encoding(domain)
    genotype = domain.seeds[1].genotype  # every switch off
    assert not len(encoding.smooth(encoding.point(genotype)))
    every = domain.seeds[0].genotype
    names = [domain.genes[i].name for i in encoding.smooth(encoding.point(every))]
    assert names == ["scale0", "scale1", "scale2", "scale3", "last"]


def test_draws_are_canonical_and_inside(encoding):
    random = np.random.default_rng(1)
    centres = points_of(encoding, n=5)
    for drawn in (encoding.draw(30, random), encoding.around(centres, 30, random)):
        assert drawn.shape == (30, encoding.n_genes)
        assert ((drawn >= 0) & (drawn <= 1)).all()
        np.testing.assert_array_equal(encoding.canonical(drawn), drawn)


def test_draws_follow_where_a_search_starts():
    domain = conditional_domain()  # switches 0 and 1 start on with probability 0.9
    drawn = Encoding(domain).draw(300, np.random.default_rng(0))
    assert 0.8 < (drawn[:, 0] > 0.5).mean() < 0.97
    assert 0.03 < (drawn[:, 4] > 0.5).mean() < 0.2


@given(st.lists(st.floats(0, 1), min_size=0, max_size=6), st.floats(0, 1), st.floats(0, 0.5))
@settings(max_examples=50)
def test_apart_is_the_largest_difference(others, x, distance):
    known = np.array([[other, 0.25] for other in others]).reshape(-1, 2)
    expected = all(max(abs(other - x), 0.0) > distance for other in others)
    assert apart(np.array([[x, 0.25]]), known, distance)[0] == expected
