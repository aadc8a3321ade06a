"""Targets: one space for model and reference point, invariances, and the published flaw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.optimizers.gaussian_processes.transforms import (
    published_reference,
    published_targets,
    targets_of,
)
from evomerge.optimizers.links import IdentityLink, LogitLink, LogLink
from evomerge.pareto import non_dominated

PLAIN = (IdentityLink(), IdentityLink())


def some_costs(n=20, seed=0):
    return np.random.default_rng(seed).random((n, 2))


def test_targets_are_standardised_and_maximised():
    costs = some_costs()
    targets = targets_of(costs, PLAIN)
    np.testing.assert_allclose(targets.values.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(targets.values.std(axis=0), 1)
    assert (np.argsort(targets.values[:, 0]) == np.argsort(-costs[:, 0])).all()
    np.testing.assert_array_equal(targets.front, non_dominated(costs))


def test_the_reference_lies_a_tenth_of_the_front_beyond_it():
    costs = some_costs()
    front = costs[non_dominated(costs)]
    corner = front.max(axis=0) + 0.1 * np.ptp(front, axis=0)
    targets = targets_of(costs, PLAIN)
    np.testing.assert_allclose(targets.inverse(targets.reference[None])[0], corner)
    np.testing.assert_allclose(targets.forward(corner[None])[0], targets.reference)


@pytest.mark.parametrize("change", [lambda y: 100 * y, lambda y: y + 1000, lambda y: 1e6 * y - 3])
def test_units_do_not_matter(change):
    costs = some_costs()
    before, after = targets_of(costs, PLAIN), targets_of(change(costs), PLAIN)
    np.testing.assert_allclose(after.values, before.values, atol=1e-9)
    np.testing.assert_allclose(after.reference, before.reference, atol=1e-9)


def test_the_published_reference_is_in_other_units_than_its_targets():
    scores = 50 + 30 * some_costs()
    percent, fractions = published_targets(-scores), published_targets(-scores / 100)
    np.testing.assert_allclose(percent.values, fractions.values, atol=1e-12)
    np.testing.assert_allclose(percent.reference, 100 * fractions.reference)
    assert (percent.values < percent.reference).all()  # nothing the model has seen counts


def test_the_published_rule():
    scores = np.array([[50.0, -3e7], [80.0, -1e7]])
    np.testing.assert_allclose(published_reference(scores), [45.0, -3.3e7])


def test_links_come_first():
    accuracy, loss = LogitLink(-1.0, 0.0, 50), LogLink(0.0)
    costs = np.column_stack([-np.linspace(0.2, 0.9, 8), np.linspace(0.1, 3.0, 8)])
    targets = targets_of(costs, (accuracy, loss))
    z = np.column_stack(
        [accuracy.forward(costs[:, 0]), loss.fitted(costs[:, 1]).forward(costs[:, 1])]
    )
    np.testing.assert_allclose(targets.values, -(z - z.mean(axis=0)) / z.std(axis=0))
    variance = accuracy.noise_variance(costs[:, 0]) / z[:, 0].var()
    np.testing.assert_allclose(targets.noise, np.column_stack([variance, np.zeros(8)]))
    np.testing.assert_allclose(targets.inverse(targets.values), costs)


@given(arrays(np.float64, (4, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
@settings(max_examples=200)
def test_any_finite_costs_have_finite_targets(costs):
    for links in (PLAIN, (LogLink(0.0), LogitLink(0.0, 1.0, 10))):
        targets = targets_of(costs, links)
        for part in (targets.values, targets.noise, targets.reference):
            assert np.isfinite(part).all()
        assert (targets.reference < targets.values[targets.front]).all()
        assert np.abs(targets.values).max() <= 2.0  # standardised, four points


def test_ties_are_zeros():
    targets = targets_of(np.full((5, 2), 3.7), PLAIN)
    np.testing.assert_array_equal(targets.values, 0)
    np.testing.assert_allclose(targets.reference, -0.1)


def test_an_estimate_has_the_noise_of_its_standard_error():
    """By the delta method: an accuracy of 100 items whose error is the binomial one."""
    link = LogitLink(-1.0, 0.0, 100)
    costs = np.array([[-0.3], [-0.5], [-0.9]])
    measured = targets_of(costs, (link,)).noise
    p = (-costs[:, 0] * 100 + 0.5) / 101
    errors = (np.sqrt(p * (1 - p) / 100) * 101 / 100)[:, None]
    np.testing.assert_allclose(targets_of(costs, (link,), errors).noise, measured)
    some = np.where([[True], [False], [True]], 2 * errors, 0.0)
    targets = targets_of(costs, (link,), some)
    assert targets.estimated.tolist() == [True]
    # the measured one misses nothing of what estimates are estimates of
    missed = measured * np.array([[4.0], [0.0], [4.0]])
    np.testing.assert_allclose(targets.noise, missed)
    assert targets_of(costs, (link,)).estimated.tolist() == [False]
