"""The two baselines: the n-th proposal depends on the seed alone, and points cover the domain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from evomerge.errors import SpaceError
from evomerge.optimizers.random import RandomSearch
from evomerge.optimizers.sobol import SobolSearch
from evomerge.spaces.domain import Domain, Gene
from evomerge.testing.problems import conditional_domain, continuous_domain

CUBE = Domain(tuple(Gene(f"g{i}", initial=0.5) for i in range(3)))


@pytest.mark.parametrize("search", [RandomSearch, SobolSearch])
def test_the_nth_proposal_is_the_same_whatever_the_trials_are_called(search):
    first, later = search(continuous_domain(4), 2, 8), search(continuous_domain(4), 2, 8)
    proposals = [first.ask(number) for number in range(20)]
    assert proposals == [later.ask(number) for number in range(300, 320)]
    assert proposals[0].origin.startswith("seed:")


def test_sobol_is_the_scrambled_sequence_of_scipy():
    optimizer = SobolSearch(CUBE, 1, 12, seeds=False)
    ours = [optimizer.ask(number).genotype for number in range(64)]
    engine = qmc.Sobol(3, scramble=True, seed=np.random.default_rng(12))
    np.testing.assert_array_equal(ours, engine.random(64))


def test_sobol_balances_every_coordinate():
    optimizer = SobolSearch(CUBE, 1, 0, seeds=False)
    points = np.array([optimizer.ask(number).genotype for number in range(64)])
    for column in points.T:
        assert np.histogram(column, bins=64, range=(0, 1))[0].tolist() == [1] * 64


def test_random_is_uniform():
    optimizer = RandomSearch(CUBE, 1, 0, seeds=False)
    points = np.array([optimizer.ask(number).genotype for number in range(2000)])
    counts = [np.histogram(column, bins=10, range=(0, 1))[0] for column in points.T]
    # chi-squared with 9 degrees of freedom: 33.7 is exceeded once in 10,000
    assert all(((count - 200) ** 2 / 200).sum() < 33.7 for count in counts)
    assert abs(np.corrcoef(points.T)[np.triu_indices(3, 1)]).max() < 0.08


@pytest.mark.parametrize("search", [RandomSearch, SobolSearch])
def test_genes_without_effect_stay_initial(search):
    domain = conditional_domain()
    optimizer = search(domain, 1, 0, seeds=False)
    genotypes = [optimizer.ask(number).genotype for number in range(128)]
    off = [genotype for genotype in genotypes if genotype[0] == "off"]
    assert {genotype[1] for genotype in off} == {1.0}
    assert {genotype[-2:] for genotype in off} == {(1, 0.5)}  # and what depends on the switched off
    assert len({genotype[1] for genotype in genotypes}) > 10


def test_sobol_refuses_more_genes_than_it_covers():
    domain = Domain(tuple(Gene(f"g{i}") for i in range(21202)))
    with pytest.raises(SpaceError, match="21201 genes and the space has 21202; use random"):
        SobolSearch(domain, 1, 0)
