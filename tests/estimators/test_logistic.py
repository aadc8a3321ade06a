"""Newton's method against SciPy's L-BFGS, finite differences, and answers without an optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_expit

from evomerge.errors import UserError
from evomerge.estimators import Gaussian, fit_logistic


def problem(seed, n, d, fractional=False):
    rng = np.random.default_rng(seed)
    X, b = rng.normal(0.5, 0.7, (n, d)), rng.normal(0.3, 1.0, n)
    y = rng.random(n)
    return X, b, y if fractional else np.round(y), rng


def negative_log_posterior(c, X, b, y, prior=None):
    z = X @ c - b
    value = -(y * log_expit(z) + (1 - y) * log_expit(-z)).sum()
    if prior is not None:
        value += 0.5 * (c - prior.mean) @ np.linalg.solve(prior.covariance, c - prior.mean)
    return value


def differences(f, at, step):
    basis = np.eye(len(at)) * step
    return np.array([(f(at + e) - f(at - e)) / (2 * step) for e in basis])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 5), st.booleans())
def test_the_optimum_is_the_one_of_l_bfgs_and_flat(seed, n, d, fractional):
    X, b, y, rng = problem(seed, n, d, fractional)
    spread = rng.normal(size=(d, d))
    prior = Gaussian(rng.normal(size=d), spread @ spread.T + 0.3 * np.eye(d))
    fit = fit_logistic(X, b, y, prior)

    def loss(c):
        return negative_log_posterior(c, X, b, y, prior)

    found = minimize(loss, prior.mean, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
    # L-BFGS works with differences here, so its point is good to about the root of machine epsilon.
    np.testing.assert_allclose(fit.coefficients, found.x, atol=2e-4)
    assert loss(fit.coefficients) <= found.fun + 1e-10
    np.testing.assert_allclose(differences(loss, fit.coefficients, 1e-5), 0.0, atol=1e-6)


def test_the_covariance_is_the_inverse_of_the_curvature():
    X, b, y, _ = problem(3, 30, 3)
    prior = Gaussian(np.zeros(3), 0.7)
    fit = fit_logistic(X, b, y, prior)

    def slope(c):
        return differences(lambda at: negative_log_posterior(at, X, b, y, prior), c, 1e-4)

    curvature = differences(slope, fit.coefficients, 1e-4)
    np.testing.assert_allclose(np.linalg.inv(fit.covariance), curvature, rtol=1e-5, atol=1e-5)


def test_every_start_leads_to_the_same_optimum():
    X, b, y, rng = problem(4, 15, 4)
    prior = Gaussian(np.ones(4), 2.0)
    reference = fit_logistic(X, b, y, prior).coefficients
    for start in rng.normal(0, 8, (5, 4)):
        again = fit_logistic(X, b, y, prior, start=start).coefficients
        np.testing.assert_allclose(again, reference, atol=1e-6)


def test_without_a_prior_it_is_maximum_likelihood():
    X, b, y, _ = problem(5, 80, 3)
    fit = fit_logistic(X, b, y)
    np.testing.assert_allclose(X.T @ (y - 1 / (1 + np.exp(b - X @ fit.coefficients))), 0, atol=1e-7)
    assert fit.covariance is not None


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_answers_that_all_agree_stay_finite(answer):
    X, b, _, _ = problem(6, 12, 2)
    X = np.abs(X)
    y = np.full(12, answer)
    with_prior = fit_logistic(X, b, y, Gaussian(np.zeros(2)))
    assert np.abs(with_prior.coefficients).max() < 5
    assert with_prior.covariance is not None
    without = fit_logistic(X, b, y)
    assert without.covariance is None
    assert np.isfinite(without.coefficients).all()
    p = 1 / (1 + np.exp(b - X @ without.coefficients))
    assert (np.abs(p - y) < 0.2).all()
    assert np.abs(X @ without.coefficients - b).max() > 30


def test_directions_that_no_answer_determines_stay_where_they_began():
    X, b, y, _ = problem(7, 60, 2)
    X = np.column_stack([X, np.zeros(60)])
    fit = fit_logistic(X, b, y, start=np.array([0.0, 0.0, 0.25]))
    assert fit.coefficients[2] == 0.25
    assert fit.covariance is None
    np.testing.assert_allclose(fit.coefficients[:2], fit_logistic(X[:, :2], b, y).coefficients)


def test_no_answers_leave_the_prior():
    prior = Gaussian([0.5, -1.0], [[2.0, 0.3], [0.3, 1.0]])
    fit = fit_logistic(np.empty((0, 2)), np.empty(0), np.empty(0), prior)
    np.testing.assert_array_equal(fit.coefficients, prior.mean)
    np.testing.assert_allclose(fit.covariance, prior.covariance)


def test_a_prior_has_to_be_one():
    with pytest.raises(UserError, match="positive definite"):
        Gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(UserError, match="positive definite"):
        Gaussian([0.0, np.nan])
    with pytest.raises(UserError, match=r"shape \(3, 3\)"):
        Gaussian([0.0, 0.0], np.eye(3))
