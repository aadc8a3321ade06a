"""What fitted Gaussian processes predict, alone and together with points whose value is sampled.

With training features T, observations y, K = k(T, T) + noise = L L', alpha = K^-1 (y - c), each
output predicts at X

    mean       c + k(X, T) alpha
    covariance k(X, X') - V(X)' V(X'),    V(X) = L^-1 k(T, X)

`JointSamples` draws functions at fixed points B once and continues each of them to any X, one point
at a time: with C C' = cov(B, B) and l = C^-1 cov(B, x),

    f(B) = mean(B) + C e_B,    f(x) = mean(x) + l' e_B + sqrt(var(x) - l'l) e_x.

That is what BoTorch's noisy acquisition functions compute with B as `X_baseline`, which rebuild the
joint covariance of B for every x; here it costs O(n + |B|) kernel values a point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.sampling.qmc import NormalQMCEngine
from linear_operator.utils.cholesky import psd_safe_cholesky
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

_LEAST_VARIANCE = 1e-10  # keeps the square root differentiable at points of B


class Surrogate:
    """The posterior of a fitted model.

    Args:
        model: from `models.fitted`.

    Attributes:
        model: the same, for BoTorch's own acquisition functions.
        n_objectives: outputs.
    """

    def __init__(self, model: SingleTaskGP) -> None:
        self.model = model
        self.n_objectives: int = model.num_outputs
        points = model.train_inputs[0].detach()
        self._points: Tensor = points[0] if points.dim() == 3 else points
        with torch.no_grad():
            targets = model.train_targets.reshape(self.n_objectives, -1)
            noise = model.likelihood.noise.reshape(self.n_objectives, -1)
            covariance = self._kernel(self._points, self._points) + torch.diag_embed(noise)
            self._constant: Tensor = model.mean_module.constant.detach().reshape(-1, 1)
            self._root: Tensor = psd_safe_cholesky(covariance)
            residual = (targets - self._constant).unsqueeze(-1)
            self._alpha: Tensor = torch.cholesky_solve(residual, self._root)

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
        cross = self._kernel(x, self._points)
        mean = self._constant + (cross @ self._alpha).squeeze(-1)
        v = torch.linalg.solve_triangular(self._root, cross.transpose(-1, -2), upper=False)
        prior = self._batched(self.model.covar_module(x, diag=True), 1)
        return mean, v, (prior - v.square().sum(dim=-2)).clamp_min(_LEAST_VARIANCE)

    def covariance(self, x: Tensor, v: Tensor, other: Tensor, v_other: Tensor) -> Tensor:
        """Return the posterior covariance, (n_objectives, n_points, n_others).

        Args:
            x: (n_points, n_features).
            v: V at `x`.
            other: (n_others, n_features).
            v_other: V at `other`.
        """
        return self._kernel(x, other) - v.transpose(-1, -2) @ v_other

    def _kernel(self, x: Tensor, other: Tensor) -> Tensor:
        return self._batched(self.model.covar_module(x, other).to_dense(), 2)

    def _batched(self, value: Any, n_dims: int) -> Tensor:
        """Give what an unbatched kernel of one output returns its leading dimension."""
        tensor: Tensor = value
        return tensor.unsqueeze(0) if tensor.dim() == n_dims else tensor


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
            mean, self._v, _ = surrogate.at(fixed)
            covariance = surrogate.covariance(fixed, self._v, fixed, self._v)
            self._root: Tensor = (
                psd_safe_cholesky(covariance, max_tries=6) if n_fixed else covariance
            )
            values = mean.unsqueeze(-1) + self._root @ self._at_fixed
            self.values: Tensor = values.permute(2, 1, 0).contiguous()

    def at(self, x: Tensor) -> Tensor:
        """Return f(x), one point at a time, (n_samples, n_points, n_objectives).

        Args:
            x: (n_points, n_features).
        """
        mean, v, variance = self._surrogate.at(x)
        cross = self._surrogate.covariance(self._fixed, self._v, x, v)
        weights = torch.linalg.solve_triangular(self._root, cross, upper=False)
        rest = (variance - weights.square().sum(dim=-2)).clamp_min(_LEAST_VARIANCE)
        values = (
            mean.unsqueeze(-1)
            + weights.transpose(-1, -2) @ self._at_fixed
            + rest.sqrt().unsqueeze(-1) * self._at_x.unsqueeze(-2)
        )
        result: Tensor = values.permute(2, 1, 0)
        return result
