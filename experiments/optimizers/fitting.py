"""Kernels of the surrogates: fitted by marginal likelihood, judged on merges that were left out.

A kernel is fitted on the accuracies of one task, two columns: its search items and its hold-out
items. Its derivatives are Rasmussen and Williams (2006), eq. 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

LENGTHS = (0.05, 20.0)
RATES = (1e-3, 10.0)
NOISE = (1e-4, 1.0)
MOST = 700
"""Points that a kernel is fitted on; more are drawn from."""


@dataclass(frozen=True)
class Fitted:
    """The kernel of one task.

    Attributes:
        rates: as `Surrogate` takes them, (n_genes,).
        noise: relative to the kernel's variance.
        variance: of the kernel.
        log_likelihood: of the accuracies it was fitted on.
    """

    rates: Floats
    noise: float
    variance: float
    log_likelihood: float


class _Likelihood:
    """Minus the log marginal likelihood of accuracies and its gradient.

    Parameters are logarithms: of a length scale or a rate for each gene, of the variance and of the
    noise relative to it.
    """

    def __init__(self, points: Floats, categorical: Mask, values: Floats) -> None:
        self._points, self._categorical, self._values = points, categorical, values

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        n_points, n_genes = self._points.shape
        n_columns = self._values.shape[1]
        scale = np.exp(parameters[:n_genes])
        variance, noise = np.exp(parameters[-2:])
        kernel, slope = kernels(self._points, self._categorical, scale)
        matrix = kernel + noise * np.eye(n_points)
        lower = cholesky(matrix, lower=True)
        inverse = cho_solve((lower, True), np.eye(n_points))
        solved = inverse @ self._values
        fit = float((self._values * solved).sum()) / variance
        log_det = 2 * float(np.log(np.diag(lower)).sum()) + n_points * np.log(variance)
        value = 0.5 * (fit + n_columns * (log_det + n_points * np.log(2 * np.pi)))
        # d value / d matrix, of the matrix without its variance
        outer = 0.5 * (n_columns * inverse - solved @ solved.T / variance)
        gradient = np.empty(n_genes + 2)
        pulled = outer * slope
        mass = pulled.sum(axis=1)
        for gene in range(n_genes):
            column = self._points[:, gene]
            if self._categorical[gene]:
                differ = column[:, None] != column[None, :]
                gradient[gene] = -scale[gene] * float((outer * kernel)[differ].sum())
            else:
                spread = 2 * (mass @ column**2 - column @ pulled @ column)
                gradient[gene] = spread / scale[gene] ** 2
        gradient[-2] = 0.5 * (n_columns * n_points - fit)
        gradient[-1] = noise * float(np.trace(outer))
        return value, gradient


def kernels(points: Floats, categorical: Mask, scale: Floats) -> tuple[Floats, Floats]:
    """Return the kernel between all points and what its derivatives by lengths have in common.

    The derivative by the logarithm of a length l is the second matrix times (difference / l)^2.
    """
    smooth = points[:, ~categorical] / scale[~categorical]
    norms = (smooth**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * smooth @ smooth.T, 0.0)
    distance = np.sqrt(5 * squared)
    decay = np.exp(-distance)
    for gene in np.flatnonzero(categorical):
        column = points[:, gene]
        decay *= np.where(column[:, None] != column[None, :], np.exp(-scale[gene]), 1.0)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance) * decay


def fit(points: Floats, categorical: Mask, values: Floats, seed: int = 0) -> Fitted:
    """Fit a kernel.

    Args:
        points: (n_points, n_genes), in [0, 1].
        categorical: which coordinates are unordered.
        values: accuracies, (n_points, n_columns).
        seed: of the choice of `MOST` points, where there are more.
    """
    if len(points) > MOST:
        some = np.random.default_rng(seed).choice(len(points), MOST, replace=False)
        points, values = points[some], values[some]
    n_genes = points.shape[1]
    likelihood = _Likelihood(points, categorical, values)
    bounds = [RATES if one else LENGTHS for one in categorical] + [(1e-3, 10.0), NOISE]
    best = None
    for length in (0.5, 0.5 * np.sqrt(n_genes)):
        start = [1.0 if one else length for one in categorical] + [0.2, 0.02]
        result = minimize(
            likelihood,
            np.log(start),
            jac=True,
            method="L-BFGS-B",
            bounds=np.log(bounds),
            options={"maxiter": 60},
        )
        if best is None or result.fun < best.fun:
            best = result
    assert best is not None
    scale = np.exp(best.x[:n_genes])
    rates = np.where(categorical, scale, 1 / scale**2)
    variance, noise = np.exp(best.x[-2:])
    return Fitted(rates, float(noise), float(variance), -float(best.fun))


def left_out(
    points: Floats, categorical: Mask, fitted: Fitted, values: Floats, folds: int = 10
) -> Floats:
    """Predict each point by those of the other folds, with the kernel as it is.

    Args:
        points: (n_points, n_genes).
        categorical: which coordinates are unordered.
        fitted: the kernel.
        values: what is predicted, (n_points, n_columns).
        folds: how many; a point's fold is its position modulo this.

    Returns:
        Predictions, (n_points, n_columns), not clipped.
    """
    scale = np.where(categorical, fitted.rates, 1 / np.sqrt(fitted.rates))
    kernel, _ = kernels(points, categorical, scale)
    inverse = np.linalg.inv(kernel + fitted.noise * np.eye(len(points)))
    solved = inverse @ values
    predicted = np.empty_like(values, dtype=np.float64)
    for fold in range(folds):
        out = np.arange(fold, len(points), folds)
        predicted[out] = values[out] - np.linalg.solve(inverse[np.ix_(out, out)], solved[out])
    return predicted


def r_squared(values: Floats, predicted: Floats) -> float:
    """Return 1 - residual variance / variance."""
    return 1 - float(((values - predicted) ** 2).sum() / ((values - values.mean()) ** 2).sum())
