"""Posterior: against the textbook in numpy, against BoTorch, and sampled jointly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.models import fitted, unfitted
from evomerge.optimizers.gaussian_processes.posterior import SHARED, JointSamples, Surrogate


def sample(n=15, d=3, m=2, seed=0):
    random = np.random.default_rng(seed)
    x = random.random((n, d))
    y = np.column_stack([np.sin(3 * x[:, 0] + k) + x[:, k % d] ** 2 for k in range(m)])
    return x, (y - y.mean(axis=0)) / y.std(axis=0), random.random((6, d))


def matern(a, b, widths):
    r = np.sqrt(5 * (((a[:, None] - b[None]) / widths) ** 2).sum(axis=2))
    return (1 + r + r**2 / 3) * np.exp(-r)


def test_predictions_by_the_textbook():
    x, y, at = sample()
    noise = np.full_like(y, 0.05)
    model = unfitted(x, y, noise).eval()
    widths = model.covar_module.lengthscale[0, 0].detach().numpy()
    with isolated(0):
        mean, variance = Surrogate(model).predict(at)
    k = matern(x, x, widths) + (0.05 + np.exp(-5)) * np.eye(len(x))
    cross = matern(at, x, widths)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(k, y), rtol=1e-6, atol=1e-9)
    expected = 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(k, cross.T))
    np.testing.assert_allclose(variance, np.column_stack([expected] * 2), rtol=1e-5)


@pytest.mark.parametrize("kind", ["ard", "saas"])
@pytest.mark.parametrize("m", [1, 3])
def test_predictions_are_botorchs(kind, m):
    x, y, at = sample(m=m)
    with isolated(0):
        model = fitted(x, y, np.full_like(y, 1e-3), length_scales=kind)
        with torch.no_grad():
            theirs = model.posterior(torch.as_tensor(at))
        mean, variance = Surrogate(model).predict(at)
        np.testing.assert_allclose(mean, theirs.mean.numpy(), atol=1e-7)
        np.testing.assert_allclose(variance, theirs.variance.numpy(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("n", [1, 4, 100])
def test_errors_that_estimates_share_do_not_average_out(n):
    at = np.full((1, 2), 0.4)
    y = np.column_stack([np.full(n, 0.9)] * 2)
    v, learnt = 0.5, np.exp(-5)
    model = unfitted(np.repeat(at, n, axis=0), y, np.full_like(y, v)).eval()
    with isolated(0):
        mean, variance = Surrogate(model, np.array([True, False])).predict(at)
    shared = v * (SHARED + (1 - SHARED) / n) + learnt / n  # of the mean of n estimates
    alone = (v + learnt) / n
    for k, error in enumerate((shared, alone)):
        assert mean[0, k] == pytest.approx(0.9 / (1 + error), rel=1e-5)
        assert variance[0, k] == pytest.approx(error / (1 + error), rel=1e-4)


def test_an_estimate_shares_with_one_of_more_items_what_that_misses():
    x, y, at = sample(n=5, m=1)
    noise = np.array([[0.4], [0.0], [0.1], [0.4], [0.0]])
    model = unfitted(x, y, noise).eval()
    widths = model.covar_module.lengthscale[0].detach().numpy()
    k = matern(x, x, widths)
    errors = SHARED * k * np.minimum(noise, noise.T)
    np.fill_diagonal(errors, noise[:, 0] + np.exp(-5))
    with isolated(0):
        mean, _ = Surrogate(model, np.array([True])).predict(at)
    expected = matern(at, x, widths) @ np.linalg.solve(k + errors, y)
    np.testing.assert_allclose(mean, expected, atol=1e-5)


@pytest.mark.parametrize("m", [1, 2])
def test_joint_samples_have_the_joint_moments(m):
    x, y, at = sample(n=6, m=m)
    n = 4096
    with isolated(0), torch.no_grad():
        model = unfitted(x, y, np.full_like(y, 0.3)).eval()
        fixed = torch.as_tensor(at[:3])
        samples = JointSamples(Surrogate(model), fixed, n, seed=1)
        new = samples.at(torch.as_tensor(at[3:]))
        joint = model.posterior(torch.as_tensor(at))
        assert samples.values.shape == (n, 3, m)
        assert new.shape == (n, 3, m)
        covariance = joint.distribution.covariance_matrix.numpy()
    for k in range(m):
        exact = covariance[6 * k : 6 * (k + 1), 6 * k : 6 * (k + 1)]  # outputs are blocks
        for place in range(3):
            drawn = np.column_stack([samples.values[:, :, k], new[:, place, k]])
            rows = [0, 1, 2, 3 + place]
            np.testing.assert_allclose(
                drawn.mean(axis=0), joint.mean[rows, k], atol=0.03 * np.sqrt(exact.max())
            )
            np.testing.assert_allclose(
                np.cov(drawn.T), exact[np.ix_(rows, rows)], atol=0.05 * exact.max()
            )


def test_a_fixed_point_keeps_its_value():
    x, y, at = sample()
    with isolated(0), torch.no_grad():
        samples = JointSamples(
            Surrogate(unfitted(x, y, np.zeros_like(y)).eval()), torch.as_tensor(at), 16, 0
        )
        again = samples.at(torch.as_tensor(at))
    np.testing.assert_allclose(again, samples.values, atol=1e-3)


def test_nothing_fixed_is_the_posterior_itself():
    x, y, at = sample()
    with isolated(0), torch.no_grad():
        model = Surrogate(unfitted(x, y, np.zeros_like(y)).eval())
        drawn = JointSamples(model, torch.zeros((0, 3), dtype=torch.double), 2048, 0).at(
            torch.as_tensor(at)
        )
    mean, variance = model.predict(at)
    np.testing.assert_allclose(drawn.mean(dim=0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.var(dim=0), variance, rtol=0.05)


def test_gradients_are_derivatives():
    x, y, at = sample()
    with isolated(0):
        model = Surrogate(unfitted(x, y, np.zeros_like(y)).eval())
        samples = JointSamples(model, torch.as_tensor(at[:2]), 3, 0)
        point = torch.as_tensor(at[2:4]).requires_grad_()
        assert torch.autograd.gradcheck(samples.at, (point,), atol=1e-4)
