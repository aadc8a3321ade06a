"""Crossover and mutation on arrays against pymoo's, to the last bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pymoo.operators.crossover.sbx import cross_sbx
from pymoo.operators.mutation.pm import mut_pm

from evomerge.optimizers.map.variation import crossed, mutated

N_GENES = 4


def box_of(random):
    low = random.random(N_GENES)
    high = low + random.random(N_GENES)
    high[0] = low[0]  # a gene that cannot vary
    return low, high


def points_of(random, count, low, high):
    """Return points of the box, some of them at its faces."""
    return np.clip(low + random.uniform(-0.2, 1.2, (count, N_GENES)) * (high - low), low, high)


@given(st.integers(0, 2**32), st.integers(0, 30), st.sampled_from([2.0, 15.0]))
def test_it_crosses_as_pymoo_does(seed, n_pairs, eta):
    random = np.random.default_rng(seed)
    low, high = box_of(random)
    pairs = points_of(random, 2 * n_pairs, low, high).reshape(2, n_pairs, N_GENES)
    pairs[1, ::3] = pairs[0, ::3]  # nothing to cross
    column = np.ones((n_pairs, 1))
    draws = np.random.default_rng(seed)
    theirs = cross_sbx(
        pairs, low, high, eta * column, 0.5 * column, 0.5 * column, random_state=draws
    )
    random = np.random.default_rng(seed)
    ours = crossed(pairs, low, high, random, eta=eta, probability=0.5)
    np.testing.assert_array_equal(ours, theirs)
    assert random.random() == draws.random()


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([2.0, 20.0]))
def test_it_mutates_as_pymoo_does(seed, count, eta):
    random = np.random.default_rng(seed)
    low, high = box_of(random)
    points = points_of(random, count, low, high)
    draws = np.random.default_rng(seed)
    each = np.ones(count)
    theirs = mut_pm(
        points, low, high, eta * each, 0.3 * each, at_least_once=False, random_state=draws
    )
    random = np.random.default_rng(seed)
    ours = mutated(points, low, high, random, eta=eta, probability=0.3)
    np.testing.assert_array_equal(ours, theirs)
    assert random.random() == draws.random()
