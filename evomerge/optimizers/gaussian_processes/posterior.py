"""What fitted Gaussian processes predict, alone and together with points whose value is sampled.

With training features T, observations y, K = k(T, T) + noise = L L', alpha = K^-1 (y - c), each
output predicts at X

    mean       c + k(X, T) alpha
    covariance k(X, X') - V(X)' V(X'),    V(X) = L^-1 k(T, X)

Estimates from some of a study's items have noise in common: candidates that answer alike are
misjudged alike by these, however many there are of them. With error variances v, and r the kernel
as a correlation,

    cov(error_i, error_j) = SHARED r(t_i, t_j) min(v_i, v_j)

the smaller variance because the items of one rung are among those of the next. Hyperparameters are
learnt as if errors were independent.

`JointSamples` draws functions at fixed points B once and continues each of them to any X, one point
at a time: with C C' = cov(B, B) and l = C^-1 cov(B, x),

    f(B) = mean(B) + C e_B,    f(x) = mean(x) + l' e_B + sqrt(var(x) - l'l) e_x.

That is what BoTorch's noisy acquisition functions compute with B as `X_baseline`, which rebuild the
joint covariance of B for every x; here it costs O(n + |B|) kernel values a point.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.sampling.qmc import NormalQMCEngine
from gpytorch.kernels import AdditiveKernel, ScaleKernel
from linear_operator.utils.cholesky import psd_safe_cholesky
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

SHARED = 0.7
"""Correlation of the errors of two estimates of the same candidate. Of candidates up to a tenth of
the box apart it is 0.03 to 0.98, median 0.26 (n = 20 searches, experiments/evaluation_economy)."""

_LEAST_VARIANCE = 1e-10  # keeps the square root differentiable at points of B
_LEAST_SQUARE = 1e-30


class Surrogate:
    """The posterior of a fitted model.

    Kernels are computed here and triangular factors inverted once: a climb evaluates a handful of
    points at a time, where GPyTorch's layers cost more than the arithmetic.

    Args:
        model: from `models.fitted`.
        estimated: outputs whose known noise is the error of estimates, (n_objectives,); none by
            default.

    Attributes:
        model: the same, for BoTorch's own acquisition functions.
        n_objectives: outputs.
    """

    def __init__(self, model: SingleTaskGP, estimated: NDArray[np.bool_] | None = None) -> None:
        self.model = model
        self.n_objectives: int = model.num_outputs
        points = model.train_inputs[0].detach()
        self._points: Tensor = points[0] if points.dim() == 3 else points
        with torch.no_grad():
            self._terms = self._matern_terms()
            self._prior: Tensor = reduce(torch.add, [scale.squeeze(-1) for scale, _ in self._terms])
            targets = model.train_targets.reshape(self.n_objectives, -1)
            noise = model.likelihood.noise.reshape(self.n_objectives, -1)
            kernel = self.kernel(self._points, self._points)
            covariance = kernel + torch.diag_embed(noise)
            if estimated is not None and estimated.any():
                known = model.likelihood.noise_covar.noise.reshape(self.n_objectives, -1)
                alike = kernel / self._prior.unsqueeze(-1)
                counts = torch.as_tensor(estimated).reshape(-1, 1, 1)
                covariance = covariance + counts * _in_common(known, alike)
            self._constant: Tensor = model.mean_module.constant.detach().reshape(-1, 1)
            self._inverse_root = inverse_root(psd_safe_cholesky(covariance))
            residual = (targets - self._constant).unsqueeze(-1)
            self._alpha: Tensor = self._inverse_root.mT @ (self._inverse_root @ residual)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of the noise-free targets, both (n_points, n_objectives)."""
        with torch.no_grad():
            mean, _, variance = self.at(torch.as_tensor(features))
        return mean.T.numpy().copy(), variance.T.numpy().copy()

    def at(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, V and variance at points.

        Args:
            x: (n_points, n_features).

        Returns:
            (n_objectives, n_points), (n_objectives, n_training, n_points) and
            (n_objectives, n_points).
        """
        cross = self.kernel(self._points, x)
        mean = self._constant + (self._alpha.mT @ cross).squeeze(-2)
        v = self._inverse_root @ cross
        return mean, v, (self._prior - v.square().sum(dim=-2)).clamp_min(_LEAST_VARIANCE)

    def kernel(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the prior covariance, (n_objectives, n_points, n_others).

        Args:
            x: (n_points, n_features).
            other: (n_others, n_features).
        """
        terms = [scale * _matern(x / widths, other / widths) for scale, widths in self._terms]
        return reduce(torch.add, terms)

    def _matern_terms(self) -> list[tuple[Tensor, Tensor]]:
        """Return variance and length scales of the Matern-5/2 kernels that the model's adds up.

        They are (n_objectives, 1, 1) and (n_objectives, 1, n_features).
        """
        terms = []
        kernel = self.model.covar_module
        for part in kernel.kernels if isinstance(kernel, AdditiveKernel) else [kernel]:
            scaled = isinstance(part, ScaleKernel)
            variance = part.outputscale if scaled else torch.ones(self.n_objectives)
            widths = (part.base_kernel if scaled else part).lengthscale
            terms.append(
                (
                    variance.detach().double().reshape(-1, 1, 1),
                    widths.detach().reshape(self.n_objectives, 1, -1),
                )
            )
        return terms


def _in_common(variances: Tensor, alike: Tensor) -> Tensor:
    """Return the covariances of errors with one another, 0 with themselves.

    Args:
        variances: of the errors, (n_objectives, n_points).
        alike: correlations of the candidates, (n_objectives, n_points, n_points).
    """
    smaller = torch.minimum(variances.unsqueeze(-1), variances.unsqueeze(-2))
    shared = SHARED * alike * smaller
    return shared - torch.diag_embed(torch.diagonal(shared, dim1=-2, dim2=-1))


def inverse_root(root: Tensor) -> Tensor:
    """Return the inverses of lower triangular matrices."""
    unit = torch.eye(root.shape[-1], dtype=root.dtype).expand_as(root)
    inverse: Tensor = torch.linalg.solve_triangular(root, unit, upper=False)
    return inverse


def _matern(x: Tensor, other: Tensor) -> Tensor:
    """Return Matern-5/2 covariances of points in units of their length scales."""
    squares = x.square().sum(-1, keepdim=True) + other.square().sum(-1).unsqueeze(-2)
    # Above 0, so that the root has a derivative.
    distance = (5 * (squares - 2 * (x @ other.mT))).clamp_min(_LEAST_SQUARE).sqrt()
    return (1 + distance + distance.square() / 3) * torch.exp(-distance)


class JointSamples:
    """Functions drawn at fixed points, continued to any other point.

    Args:
        surrogate: whose posterior they are drawn from.
        fixed: B, (n_fixed, n_features), maybe none.
        n_samples: how many functions.
        seed: of the scrambled Sobol points that their normal variables come from.
        normals: these variables, (n_samples, n_fixed + 1, n_objectives), the last one for x; drawn
            by default.

    Attributes:
        values: f(B), (n_samples, n_fixed, n_objectives).
    """

    def __init__(
        self,
        surrogate: Surrogate,
        fixed: Tensor,
        n_samples: int,
        seed: int,
        normals: Tensor | None = None,
    ) -> None:
        self._surrogate = surrogate
        self._fixed = fixed
        n_fixed, n_objectives = len(fixed), surrogate.n_objectives
        if normals is None:
            engine = NormalQMCEngine(d=(n_fixed + 1) * n_objectives, seed=seed, inv_transform=True)
            drawn = engine.draw(n_samples, dtype=torch.double)
            normals = drawn.reshape(n_samples, n_fixed + 1, n_objectives)
        by_output = normals.permute(2, 1, 0)  # n_objectives, n_fixed + 1, n_samples
        self._at_fixed, self._at_x = by_output[:, :-1], by_output[:, -1]
        with torch.no_grad():
            mean, v, _ = surrogate.at(fixed)
            covariance = surrogate.kernel(fixed, fixed) - v.mT @ v
            root = psd_safe_cholesky(covariance, max_tries=6) if n_fixed else covariance
            self._inverse_root = inverse_root(root)
            self._projected = self._inverse_root @ v.mT
            values = mean.unsqueeze(-1) + root @ self._at_fixed
            self.values: Tensor = values.permute(2, 1, 0).contiguous()

    def at(self, x: Tensor) -> Tensor:
        """Return f(x), one point at a time, (n_samples, n_points, n_objectives).

        Args:
            x: (n_points, n_features).
        """
        mean, v, variance = self._surrogate.at(x)
        cross = self._surrogate.kernel(self._fixed, x)
        weights = self._inverse_root @ cross - self._projected @ v
        rest = (variance - weights.square().sum(dim=-2)).clamp_min(_LEAST_VARIANCE)
        values = (
            mean.unsqueeze(-1)
            + weights.mT @ self._at_fixed
            + rest.sqrt().unsqueeze(-1) * self._at_x.unsqueeze(-2)
        )
        result: Tensor = values.permute(2, 1, 0)
        return result
