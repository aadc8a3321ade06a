"""Weak-to-strong: where genes come from, elites, and what there is with too few of them."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.optimizers.gaussian_processes.encoding import Encoding
from evomerge.optimizers.gaussian_processes.weak_to_strong import (
    elites_by_contribution,
    elites_by_sum,
    weak_to_strong,
)
from evomerge.testing.problems import conditional_domain, continuous_domain, mixed_domain


def varied(candidates, elites, domain, seed=0, **options):
    return weak_to_strong(
        candidates, elites, Encoding(domain), np.random.default_rng(seed), **options
    )


def test_at_least_one_gene_comes_from_the_mutant():
    # elites that all coincide make the mutant known: their point itself
    domain = continuous_domain(6)
    candidates, elites = np.zeros((200, 6)), np.full((3, 6), 0.75)
    for rate in (0.0, 0.5, 1.0):
        taken = varied(candidates, elites, domain, rate=rate) == 0.75
        assert taken.any(axis=1).all()
        if rate == 0.0:
            assert (taken.sum(axis=1) == 1).all()
        elif rate == 0.5:  # 1 - 0.5 * 5 / 6
            assert taken.mean() == pytest.approx(7 / 12, abs=0.05)
        else:
            assert taken.all()


def test_the_mutant_is_that_of_differential_evolution():
    domain = continuous_domain(1)
    elites = np.array([[0.2], [0.5], [0.9]])
    found = set(np.round(varied(np.zeros((300, 1)), elites, domain)[:, 0], 9))
    expected = {
        round(min(max(a + 0.5 * (b - c), 0.0), 1.0), 9)
        for a in elites[:, 0]
        for b in elites[:, 0]
        for c in elites[:, 0]
        if len({a, b, c}) == 3
    }
    assert found == expected


def test_the_factor_is_drawn_from_its_range():
    elites = np.array([[0.0], [0.5], [1.0]])
    found = varied(np.zeros((500, 1)), elites, continuous_domain(1), factor=(0.5, 0.8))[:, 0]
    # inside: 0 + F / 2 or 1 - F / 2; everything else is clipped to a bound
    factors = 2 * np.minimum(found, 1 - found)[(found > 0) & (found < 1)]
    assert factors.min() == pytest.approx(0.5, abs=0.01)
    assert factors.max() == pytest.approx(0.8, abs=0.01)
    assert ((factors >= 0.5) & (factors <= 0.8)).all()


@pytest.mark.parametrize("domain", [mixed_domain(), conditional_domain()], ids=["mixed", "cond."])
def test_results_stay_in_the_box_and_canonical(domain):
    encoding = Encoding(domain)
    random = np.random.default_rng(3)
    points = encoding.canonical(random.random((60, len(domain))))
    result = varied(points[:50], points[50:], domain)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_array_equal(encoding.canonical(result), result)
    for point in result:
        assert domain.checked(encoding.genotype(point)) == encoding.genotype(point)


@pytest.mark.parametrize("n_elites", [0, 1, 2])
def test_too_few_elites_are_no_error(n_elites):
    domain = continuous_domain(2)
    candidates = np.full((5, 2), 0.3)
    result = varied(candidates, np.full((n_elites, 2), 0.6), domain)
    assert result.shape == (5, 2)
    if n_elites == 0:
        np.testing.assert_array_equal(result, candidates)


def test_elites_by_sum():
    values = np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 0.5], [2.0, 0.0]])
    assert elites_by_sum(values, 3).tolist() == [1, 0, 3]
    assert elites_by_sum(values[:, 1:], 2).tolist() == [0, 2]


def test_elites_by_contribution():
    # of the volume above (-1, -1) the first three add 1, 2 and 2, the last nothing
    values = np.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    assert elites_by_contribution(values, np.array([-1.0, -1.0]), 3).tolist() == [1, 2, 0]
    assert elites_by_contribution(values, np.array([-1.0, -1.0]), 1)[0] == 1


def test_elites_behind_a_small_front():
    values = np.array([[3.0, 3.0], [0.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
    assert elites_by_contribution(values, np.array([-1.0, -1.0]), 6).tolist() == [0, 2, 3]
    assert elites_by_contribution(values[:2], np.array([-1.0, -1.0]), 6).tolist() == [0, 1]


def test_elites_of_many_objectives_spread():
    values = np.random.default_rng(0).dirichlet(np.ones(5), size=80)
    chosen = elites_by_contribution(values, np.full(5, -0.1), 6)
    assert len(set(chosen.tolist())) == 6
