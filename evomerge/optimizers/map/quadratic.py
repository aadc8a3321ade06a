"""A quadratic surrogate of one objective, fitted in closed form (MAP, arXiv 2406.07529, Sec. 3).

The metric of a merge theta_0 + sum c_n v_n is modelled as link(e + b'c + c'Ac / 2), the Taylor
expansion about the base to second order; e, b and A are fitted to evaluated merges. On the scale of
the link the model is linear in its coefficients, so that ridge regression has one solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from evomerge.optimizers.links import Link

Floats = npt.NDArray[np.float64]

RIDGE = 1e-3
"""Relative to the weight of the point that counts most."""
LEAST_RIDGE = 1e-10
"""A smaller one, 0 among them, counts as this: least squares to within rounding and, where the
points leave coefficients open, those of least norm; without any the system would be singular."""
_SPREADS = np.geomspace(0.01, 10.0, 31)
"""What measured points may be missed by, in median errors of estimates."""


def n_coefficients(n_genes: int) -> int:
    """Return p = (n + 1)(n + 2) / 2, the coefficients of a quadratic in n variables."""
    return (n_genes + 1) * (n_genes + 2) // 2


def features(points: Floats) -> Floats:
    """Return squares, products, linear terms and 1 of each point, (n_points, p).

    Args:
        points: (n_points, n_genes).
    """
    i, j = _pairs(points.shape[1])
    ones = np.ones((len(points), 1))
    return np.concatenate([points**2, points[:, i] * points[:, j], points, ones], axis=1)


@cache
def _pairs(n_genes: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.triu_indices(n_genes, k=1)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """A fitted surrogate.

    Attributes:
        link: between costs and the scale on which the surrogate is quadratic.
        beta: coefficients in the order of `features`, (p,).
        factor: R of the QR factorisation of the weighted design, (p, p); leverages come from it.
        limit: the largest leverage of a fitted point.
        n_points: how many points it was fitted to.
        rank: of the unweighted design; below p the data do not determine the coefficients.
        r2: share of the variation of the cost that is explained; NaN when all costs tie.
        adjusted_r2: the same, corrected for the number of coefficients; NaN without spare points.
        loo_r2: share of the variation that is predicted when each point is left out in turn.
        loo_error: root of the mean squared leave-one-out error, in units of the cost; of estimates
            relative to their own error.
    """

    link: Link
    beta: Floats
    factor: Floats
    limit: float
    n_points: int
    rank: int
    r2: float
    adjusted_r2: float
    loo_r2: float
    loo_error: float

    def link_scale(self, points: Floats) -> Floats:
        """Predict on the scale of the link, (n_points,)."""
        return np.asarray(features(points) @ self.beta)

    def costs(self, points: Floats) -> Floats:
        """Predict minimised costs, (n_points,)."""
        return self.link.inverse(self.link_scale(points))

    def leverage(self, phi: Floats) -> Floats:
        """Return phi' (Phi' W^2 Phi + lambda R)^-1 phi of each point, (n_points,).

        It grows with the distance from the fitted points, in units of what they determine.

        Args:
            phi: `features` of the points, (n_points, p).
        """
        rotated = solve_triangular(self.factor, phi.T, trans="T")
        return np.asarray((rotated**2).sum(axis=0))


def fit(
    points: Floats,
    costs: Floats,
    link: Link,
    ridge: float = RIDGE,
    errors: Floats | None = None,
) -> Quadratic:
    """Fit a surrogate by ridge regression on the scale of the link.

    beta = (Phi' W^2 Phi + lambda R)^-1 Phi' W^2 z, where W holds the slope of the cost by the link
    scale, so that squared errors count in units of the cost, divided by the largest of them, and R
    is the identity without the constant. Solved by the QR factorisation of the augmented design.

    Args:
        points: (n_points, n_genes), each coordinate in about [0, 1].
        costs: minimised, (n_points,).
        link: of the objective.
        ridge: lambda; see `LEAST_RIDGE`.
        errors: standard errors of costs that are estimates, 0 of those that are measured,
            (n_points,); points count as `_certainty` says.
    """
    table = None if errors is None else errors[:, None]
    return fit_all(points, costs[:, None], [link], ridge, table)[0]


def fit_all(
    points: Floats,
    costs: Floats,
    links: Sequence[Link],
    ridge: float = RIDGE,
    errors: Floats | None = None,
) -> list[Quadratic]:
    """Fit a surrogate of each objective to the same points; see `fit`.

    Args:
        points: (n_points, n_genes), each coordinate in about [0, 1].
        costs: minimised, (n_points, n_objectives).
        links: of the objectives.
        ridge: lambda.
        errors: standard errors of costs that are estimates, 0 of those that are measured,
            (n_points, n_objectives).
    """
    design = features(points)
    rank = int(np.linalg.matrix_rank(design))
    table = np.zeros_like(costs) if errors is None else errors
    return [
        _fitted(design, rank, column, link, ridge, own)
        for column, link, own in zip(costs.T, links, table.T, strict=True)
    ]


def _fitted(
    design: Floats, rank: int, costs: Floats, link: Link, ridge: float, errors: Floats
) -> Quadratic:
    targets, slopes = link.forward(costs), link.slope(costs)
    unit = float(slopes.max())
    weights = slopes / unit
    if errors.any():
        weights = weights * _certainty(design, targets, slopes, errors, ridge)
    n, p = design.shape
    beta, factor, left_out = _solve(design, targets, weights, ridge)
    residuals = weights * (targets - design @ beta)
    spread = _spread(targets, weights)
    rotated = solve_triangular(factor, design.T, trans="T")
    r2 = 1 - float(residuals @ residuals) / spread if spread > 0 else float("nan")
    spare = n - p
    return Quadratic(
        link,
        beta,
        factor,
        float((rotated**2).sum(axis=0).max()),
        n,
        rank,
        r2,
        1 - (1 - r2) * (n - 1) / spare if spare > 0 else float("nan"),
        1 - float(left_out @ left_out) / spread if spread > 0 else float("nan"),
        unit * float(np.sqrt(np.mean(left_out**2))),
    )


def _solve(
    design: Floats, targets: Floats, weights: Floats, ridge: float
) -> tuple[Floats, Floats, Floats]:
    """Return coefficients, R of the augmented design, and weighted leave-one-out residuals."""
    n, p = design.shape
    penalty = np.sqrt(max(ridge, LEAST_RIDGE)) * np.eye(p)
    penalty[-1, -1] = 0.0
    q, factor = np.linalg.qr(np.vstack([weights[:, None] * design, penalty]))
    padded = np.concatenate([weights * targets, np.zeros(p)])
    beta = solve_triangular(factor, q.T @ padded)
    hats = np.minimum((q[:n] ** 2).sum(axis=1), 1 - 1e-9)
    return beta, factor, weights * (targets - design @ beta) / (1 - hats)


def _certainty(
    design: Floats, targets: Floats, slopes: Floats, errors: Floats, ridge: float
) -> Floats:
    """Return by how much each point counts, 1 for the one that does most.

    A point counts as 1 / sqrt(s^2 + e^2), where e is its standard error and s what the quadratic
    misses measured costs by: the s of a grid that has the largest restricted likelihood (Patterson
    and Thompson 1971, Biometrika 58).
    """
    typical = float(np.median(errors[errors > 0]))
    fits = []
    for spread in typical * _SPREADS:
        scale = 1 / np.hypot(spread, errors)
        unit = float((slopes * scale).max())
        weights = slopes * scale / unit
        beta, factor, _ = _solve(design, targets, weights, ridge)
        misfit = unit * weights * (targets - design @ beta)
        determinant = np.log(unit * np.abs(np.diag(factor))).sum()
        fits.append(float(misfit @ misfit / 2 + determinant - np.log(scale).sum()))
    scale = 1 / np.hypot(typical * _SPREADS[int(np.argmin(fits))], errors)
    return np.asarray(scale / scale.max())


def _spread(targets: Floats, weights: Floats) -> float:
    """Return the weighted sum of squared deviations from the weighted mean."""
    squared = weights**2
    mean = float(squared @ targets / squared.sum())
    spread = float(squared @ (targets - mean) ** 2)
    return spread if spread > 1e-20 * float(squared @ targets**2) else 0.0
