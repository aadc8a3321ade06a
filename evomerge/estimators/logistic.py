"""Logistic regression with known offsets: abilities from a few answers, with or without a prior.

    minimise   sum_i [softplus(z_i) - y_i z_i] + 1/2 (c - m)^T T^-1 (c - m),    z = X c - b

the negative log posterior of coefficients c under the item model and the prior N(m, T). It is
convex, so Newton's method with halved steps finds its one minimum. Answers anywhere in [0, 1] are
allowed: the same expression is then a quasi-likelihood (Papke & Wooldridge, 1996).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import UserError
from evomerge.estimators.item_model import sigmoid, softplus

_STEP = 1e-8
DIVERGED = 30.0
"""A logit: without a prior, answers that are all right drive it to infinity."""
_MOST_STEPS = 100
_RANK = 1e-10  # of the largest eigenvalue of the Hessian


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What is believed of coefficients before any answer: N(mean, covariance).

    Attributes:
        mean: (n,).
        covariance: (n, n), symmetric and positive definite; a number stands for that multiple of
            the identity.

    Raises:
        UserError: shapes do not fit, or the covariance is not positive definite.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def __init__(self, mean: ArrayLike, covariance: ArrayLike = 1.0) -> None:
        center = np.atleast_1d(np.array(mean, dtype=np.float64))
        spread = np.array(covariance, dtype=np.float64)
        spread = spread * np.eye(len(center)) if spread.ndim == 0 else spread
        if spread.shape != (len(center), len(center)):
            raise UserError(
                f"the prior's covariance has shape {spread.shape}, its mean {center.shape}"
            )
        symmetric = np.isfinite(spread).all() and np.allclose(spread, spread.T)
        if not symmetric or np.linalg.eigvalsh(spread)[0] <= 0 or not np.isfinite(center).all():
            raise UserError("a prior needs a finite mean and a positive definite covariance")
        object.__setattr__(self, "mean", center)
        object.__setattr__(self, "covariance", spread)


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """Fitted coefficients and how sure they are.

    Attributes:
        coefficients: (n,).
        covariance: inverse of the Hessian at the minimum, (n, n); None where the answers do not
            determine the coefficients (no prior, and too few answers or all of them right).
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64] | None


def fit_logistic(
    design: NDArray[np.float64],
    offsets: NDArray[np.float64],
    answers: NDArray[np.float64],
    prior: Gaussian | None = None,
    start: NDArray[np.float64] | None = None,
) -> LogisticFit:
    """Return the coefficients of largest posterior, or of largest likelihood without a prior.

    Where the likelihood has no single maximum, the coefficients are those that Newton's method
    reaches from the start: as near to it as the answers allow, and stopped where a logit passes
    30.

    Args:
        design: X, (n_answers, n_coefficients).
        offsets: b, (n_answers,).
        answers: y in [0, 1], (n_answers,).
        prior: of the coefficients.
        start: where to begin, (n_coefficients,); the prior's mean, or zeros, by default.
    """
    n_coefficients = design.shape[1]
    mean, precision = np.zeros(n_coefficients), np.zeros((n_coefficients, n_coefficients))
    if prior is not None:
        mean, precision = prior.mean, _inverse(prior.covariance)
    at = np.array(mean if start is None else start, dtype=np.float64)

    def loss(c: NDArray[np.float64]) -> float:
        z = design @ c - offsets
        return float((softplus(z) - answers * z).sum() + 0.5 * (c - mean) @ precision @ (c - mean))

    value = loss(at)
    for _ in range(_MOST_STEPS):
        p = sigmoid(design @ at - offsets)
        gradient = design.T @ (p - answers) + precision @ (at - mean)
        step = -_inverse(_hessian(design, p, precision)) @ gradient
        ahead = loss(at + step)
        while ahead > value + 1e-12 * (1.0 + abs(value)) and np.abs(step).max() > _STEP:
            step = step / 2
            ahead = loss(at + step)
        at, value = at + step, ahead
        diverged = prior is None and bool((np.abs(design @ at - offsets) > DIVERGED).any())
        if np.abs(step).max(initial=0.0) < _STEP or diverged:
            break
    p = sigmoid(design @ at - offsets)
    hessian = _hessian(design, p, precision)
    curvatures = np.linalg.eigvalsh(hessian)
    if prior is None and (diverged or curvatures[0] <= _RANK * curvatures[-1]):
        return LogisticFit(at, None)
    return LogisticFit(at, _inverse(hessian))


def _hessian(
    design: NDArray[np.float64], p: NDArray[np.float64], precision: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray((design * (p * (1.0 - p))[:, None]).T @ design + precision)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric matrix; 0 in directions that nothing determines."""
    return np.asarray(np.linalg.pinv(matrix, rcond=_RANK, hermitian=True), dtype=np.float64)
