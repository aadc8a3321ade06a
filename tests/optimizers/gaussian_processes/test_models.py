"""Models: priors that count, data left alone, noise, and data that could break a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpytorch.mlls import ExactMarginalLogLikelihood

from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.models import fitted, unfitted
from evomerge.optimizers.gaussian_processes.posterior import Surrogate
from evomerge.optimizers.gaussian_processes.settings import importance_scales
from evomerge.optimizers.links import LogitLink

KINDS = ("ard", "importance", "saas")


def standard(y):
    return (y - y.mean(axis=0)) / y.std(axis=0)


def sample(n=30, d=3, m=2, seed=0):
    random = np.random.default_rng(seed)
    centres = random.random((m, d))
    x = random.random((n, d))
    return x, standard(-((x[:, None] - centres) ** 2).sum(axis=2))


def surrogate(x, y, noise=None, fit=True, **options):
    with isolated(0):
        make = fitted if fit else unfitted
        return Surrogate(make(x, y, np.zeros_like(y) if noise is None else noise, **options).eval())


def options_of(kind, d):
    return {
        "length_scales": kind,
        "scales": np.geomspace(0.5, 2, d) if kind == "importance" else None,
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [1, 2])
def test_every_hyperparameter_has_a_prior_that_counts(kind, m):
    x, y = sample(m=m)
    with isolated(0):
        model = unfitted(x, y, np.zeros_like(y), **options_of(kind, 3))
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        likelihood.train()
        priors = list(model.named_priors())
        data_only = model.likelihood(model(*model.train_inputs)).log_prob(model.train_targets)
        every = likelihood(model(*model.train_inputs), model.train_targets, *model.train_inputs)
        of_priors = sum(
            prior.log_prob(closure(part)).sum() for _, part, prior, closure, _ in priors
        )
        total = (every * len(x)).sum().item()
    assert total == pytest.approx((data_only.sum() + of_priors).item(), rel=1e-9)
    names = " ".join(name for name, *_ in priors)
    assert "noise_prior" in names
    assert ("inv_lengthscale_prior" if kind == "saas" else "lengthscale_prior") in names


def test_importance_moves_the_prior():
    x, y = sample(d=4, m=2)
    scales = np.array([0.5, 1.0, 2.0, 5.0])
    plain = unfitted(x, y, np.zeros_like(y)).covar_module
    moved = unfitted(x, y, np.zeros_like(y), length_scales="importance", scales=scales).covar_module
    np.testing.assert_allclose(
        (moved.lengthscale / plain.lengthscale).detach().numpy(),
        np.tile(scales, (2, 1, 1)),
        rtol=1e-6,
    )
    # the log density of the moved prior at scaled length scales is the plain one's, but for log|J|
    at = torch.tensor([0.7, 1.1, 0.9, 2.0], dtype=torch.double)
    density = moved.lengthscale_prior.log_prob((at * torch.as_tensor(scales)).expand(2, 1, 4))
    expected = plain.lengthscale_prior.log_prob(at) - torch.log(torch.as_tensor(scales))
    np.testing.assert_allclose(density[0, 0].numpy(), expected.numpy(), rtol=1e-9)


def test_importance_helps_where_it_is_true():
    random = np.random.default_rng(0)
    x = random.random((300, 30))
    y = standard(np.column_stack([np.sin(4 * x[:, 0]) + x[:, 1], np.cos(4 * x[:, 1]) * x[:, 0]]))
    right = importance_scales(np.r_[1.0, 1.0, np.linspace(0, 0.1, 28)])
    wrong = importance_scales(np.r_[0.0, 0.0, np.linspace(0.5, 1.0, 28)])

    def error(**options):
        mean, _ = surrogate(x[:20], y[:20], **options).predict(x[20:])
        return np.sqrt(((mean - y[20:]) ** 2).mean())

    errors = [error(length_scales="importance", scales=scales) for scales in (right, wrong)]
    assert errors[0] < 0.8 * error()
    assert errors[0] < 0.5 * errors[1]


def test_shrinkage_finds_the_few_that_matter():
    random = np.random.default_rng(1)
    x = random.random((260, 30))
    y = standard(np.column_stack([np.sin(5 * x[:, 3]) + x[:, 7] ** 2]))
    model = surrogate(x[:60], y[:60], length_scales="saas")
    mean, _ = model.predict(x[60:])
    assert np.corrcoef(mean[:, 0], y[60:, 0])[0, 1] > 0.97
    # how much each gene moves the sum of the kernels
    relevance = sum(
        part.outputscale.item() / part.base_kernel.lengthscale.detach().numpy()[0] ** 2
        for part in model.model.covar_module.kernels
    )
    assert set(np.argsort(-relevance)[:2]) == {3, 7}


@pytest.mark.parametrize("kind", KINDS)
def test_measurements_are_left_alone(kind):
    x, y = sample()
    noise = np.full_like(y, 0.01)
    model = surrogate(x, y, noise, **options_of(kind, 3)).model
    np.testing.assert_array_equal(model.train_targets.numpy(), y.T)
    np.testing.assert_allclose(model.likelihood.noise_covar.noise.numpy(), 0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_fits_are_deterministic(kind):
    x, y = sample()
    first, second = (surrogate(x, y, **options_of(kind, 3)).predict(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "case", ["one point", "two equal points", "duplicates", "ties", "one far off", "on a line"]
)
def test_awkward_data_leave_fits_finite(kind, case):
    x, y = sample(n=12)
    if case == "one point":
        x, y = x[:1], np.zeros((1, 2))
    elif case == "two equal points":
        x, y = np.vstack([x[:1]] * 2), np.array([[1.0, -1.0], [-1.0, 1.0]])
    elif case == "duplicates":
        x, y = np.vstack([x, x, x]), np.vstack([y, y, y])
    elif case == "ties":
        y = np.zeros_like(y)
    elif case == "one far off":
        y = standard(np.where(np.arange(12)[:, None] == 3, 1e75, y))
    else:
        x = np.tile(np.linspace(0, 1, 12)[:, None], (1, 3))
    model = surrogate(x, y, **options_of(kind, 3))
    mean, variance = model.predict(np.vstack([x, np.full((1, 3), 0.5)]))
    assert np.isfinite(mean).all()
    assert (variance > 0).all()
    assert np.isfinite(variance).all()


def test_more_items_tighten_a_point():
    # acceptance 9: the same point again, scored on as many items and on four times as many
    x, _ = sample(n=8, d=2)
    costs = np.linspace(-0.9, -0.4, 8)
    x_again = np.vstack([x, x[3:4]])
    costs_again = np.append(costs, costs[3])
    z = LogitLink(-1.0, 0.0, 50).forward(costs)
    scale = z.std()

    def variance_at_it(points, noise):
        y = np.zeros((len(points), 1))
        model = surrogate(points, y, noise[:, None] / scale**2, fit=False)
        return model.predict(x[3:4])[1][0, 0]

    of_50 = LogitLink(-1.0, 0.0, 50).noise_variance(costs_again)
    of_200 = of_50.copy()
    of_200[-1] = LogitLink(-1.0, 0.0, 200).noise_variance(costs[3:4])[0]
    once = variance_at_it(x, of_50[:-1])
    twice = variance_at_it(x_again, of_50)
    tightened = variance_at_it(x_again, of_200)
    assert tightened < twice < once
    # precisions add up, but for the variance that the model learns on top of known noise
    learnt = float(np.exp(-5))
    noises = [v / scale**2 + learnt for v in (of_50[3], of_200[-1])]
    expected = 1 / (1 / once + 1 / noises[1])
    assert tightened == pytest.approx(expected, rel=1e-6)
