"""One Gaussian process an objective, fitted by BoTorch to targets of unit variance.

Matern-5/2 kernels on the features of `encoding`, hyperparameters by maximum a posteriori. What is
assumed of length scales:

    ard          log-normal, its location growing with sqrt(n_features), as BoTorch's default
                 (Hvarfner et al., 2024, arXiv 2402.02229)
    importance   the same, shifted gene by gene by how important a gene is said to be
    saas         most of them very long: a half-Cauchy prior on inverse squared length scales
                 (Eriksson & Jankowiak, 2021, arXiv 2103.00349), summed over four degrees of
                 shrinkage as in BoTorch's AdditiveMapSaasSingleTaskGP, whose random degrees are
                 the quartiles' middles here. Sampling the posterior, as the paper does, takes
                 minutes

The line of AP-BMM (arXiv 2512.09972) orders layers by importance and gives ranks length scales of
0.5, 1, 2 and 5. Its released code used these as the optimiser's starting values only, left a prior
it had assigned unregistered, and added noise to the measurements before fitting. Here they move the
registered prior, and the data are left alone.

Noise: where a link knows the variance of a score it is a fixed part of the model, point by point;
beyond it a constant variance of at least 1e-4 is learnt, which also keeps repeated points solvable.
Where some costs are estimates of the score on all items, others are that score itself, which jumps
as single answers do when weights change, and by less: there less is expected to be learnt.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.models.map_saas import add_saas_prior, get_mean_module_with_normal_prior
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.fit import fit_gpytorch_mll_scipy
from botorch.utils.constraints import LogTransformedInterval
from gpytorch.kernels import AdditiveKernel, Kernel, MaternKernel, ScaleKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood
from gpytorch.means import ConstantMean
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from numpy.typing import NDArray

from evomerge.optimizers.gaussian_processes.settings import LengthScales

Floats = NDArray[np.float64]

LEAST_NOISE, LEAST_OF_EXACT = 1e-4, 1e-6
"""Variance that the model assumes at least, of targets of unit variance; with estimates."""

ITERATIONS = 75
"""Of L-BFGS-B at most; free length scales take 20 to 50, sparse ones would take hundreds."""

_TOLERANCE = 2e-6  # relative, of the likelihood a point
_LEAST_KNOWN = 1e-6  # a known variance below this counts as this, as GPyTorch has it
_NOISE, _NOISE_OF_EXACT = (-4.0, 1.0), (-7.0, 1.5)
"""Location and scale of the log-normal priors of what is learnt: BoTorch's; with estimates."""

_SHRINKAGE = tuple(0.1 * math.tan(0.5 * math.pi * q) for q in (0.125, 0.375, 0.625, 0.875))
"""Quantiles of the half-Cauchy(0.1) prior of SAAS's global shrinkage."""


def fitted(
    features: Floats,
    targets: Floats,
    noise: Floats,
    *,
    estimated: bool = False,
    length_scales: LengthScales = "ard",
    scales: Floats | None = None,
) -> SingleTaskGP:
    """Return a fitted model whose outputs are independent Gaussian processes.

    Args:
        features: (n_points, n_features); points may repeat.
        targets: of mean 0 and variance 1, or all 0, (n_points, n_objectives).
        noise: known noise variance of each target, 0 where it is unknown, (n_points, n_objectives).
        estimated: it is the error of estimates, and 0 where nothing is estimated.
        length_scales: what is assumed of them.
        scales: 'importance' only: by what the prior of each column's length scale is multiplied,
            (n_features,).
    """
    model = unfitted(
        features,
        targets,
        noise,
        estimated=estimated,
        length_scales=length_scales,
        scales=scales,
    )
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    likelihood.train()
    # BoTorch's batched L-BFGS-B has its tolerance in units of the floating-point precision.
    tolerance = (
        {"factr": _TOLERANCE / np.finfo(np.float64).eps}
        if targets.shape[1] > 1
        else {"ftol": _TOLERANCE}
    )
    fit_gpytorch_mll_scipy(likelihood, options={"maxiter": ITERATIONS, **tolerance})
    likelihood.eval()
    return model


def conditioned(
    like: SingleTaskGP,
    features: Floats,
    targets: Floats,
    noise: Floats,
    *,
    estimated: bool = False,
    length_scales: LengthScales = "ard",
) -> SingleTaskGP:
    """Return the model of `fitted` with the hyperparameters of another one of as many features."""
    model = unfitted(features, targets, noise, estimated=estimated, length_scales=length_scales)
    with torch.no_grad():
        for own, other in zip(model.parameters(), like.parameters(), strict=True):
            own.copy_(other)
    model.eval()
    return model


def unfitted(
    features: Floats,
    targets: Floats,
    noise: Floats,
    *,
    estimated: bool = False,
    length_scales: LengthScales = "ard",
    scales: Floats | None = None,
) -> SingleTaskGP:
    """Return the model of `fitted` with its hyperparameters at their priors' modes."""
    n_objectives = targets.shape[1]
    batch = torch.Size([n_objectives] if n_objectives > 1 else [])
    variance = torch.as_tensor(np.ascontiguousarray(noise.T)).reshape(*batch, len(features))
    return SingleTaskGP(
        torch.as_tensor(features),
        torch.as_tensor(targets),
        likelihood=_likelihood(variance, batch, estimated),
        covar_module=_kernel(features.shape[1], batch, length_scales, scales),
        mean_module=_mean(batch, length_scales),
        outcome_transform=None,
    ).double()


def _kernel(
    n_features: int, batch: torch.Size, length_scales: LengthScales, scales: Floats | None
) -> Kernel:
    if length_scales == "saas":
        return AdditiveKernel(*(_shrunk(n_features, batch, tau) for tau in _SHRINKAGE))
    kernel = get_covar_module_with_dim_scaled_prior(
        ard_num_dims=n_features, batch_shape=batch, use_rbf_kernel=False
    ).double()
    prior = kernel.lengthscale_prior
    if length_scales == "importance" and scales is not None:
        location = prior.loc + torch.log(torch.as_tensor(scales))
        prior = LogNormalPrior(location.expand(*batch, 1, n_features), prior.scale)
        kernel.register_prior("lengthscale_prior", prior, "lengthscale")
    # BoTorch optimises length scales themselves; their logarithms converge in half the steps.
    kernel.register_constraint("raw_lengthscale", LogTransformedInterval(0.025, 1e4))
    kernel.lengthscale = prior.mode.clamp_min(0.03)
    return kernel


def _shrunk(n_features: int, batch: torch.Size, tau: float) -> Kernel:
    base = MaternKernel(nu=2.5, ard_num_dims=n_features, batch_shape=batch).double()
    level: Any = torch.full(batch, tau, dtype=torch.double)
    add_saas_prior(base, tau=level)
    constraint = LogTransformedInterval(1e-2, 1e4, initial_value=10)
    return ScaleKernel(base, batch_shape=batch, outputscale_constraint=constraint).double()


def _mean(batch: torch.Size, length_scales: LengthScales) -> ConstantMean:
    if length_scales == "saas":
        return get_mean_module_with_normal_prior(batch_shape=batch).double()
    return ConstantMean(batch_shape=batch).double()


def _likelihood(
    variance: torch.Tensor, batch: torch.Size, estimated: bool
) -> FixedNoiseGaussianLikelihood:
    """Return known variances plus a learnt one, under a log-normal prior."""
    location, scale = _NOISE_OF_EXACT if estimated else _NOISE
    least = LEAST_OF_EXACT if estimated else LEAST_NOISE
    mode = math.exp(location - scale**2)
    return FixedNoiseGaussianLikelihood(
        variance.clamp_min(_LEAST_KNOWN),
        learn_additional_noise=True,
        batch_shape=batch,
        noise_prior=LogNormalPrior(location, scale),
        noise_constraint=LogTransformedInterval(least, 1e2, initial_value=mode),
    ).double()
