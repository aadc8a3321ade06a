"""Estimates through item response theory: the unanswered items are predicted.

With answered items S, the others U, item weights w (1/N each without subtasks), rho = w(S):

    p_irt    Z_p   = sum_S w_i y_i + sum_U w_i P_i(theta)
    gp_irt   Z_gp  = c Z_w + (1 - c) Z_p,           c = B^2 / (B^2 + v / (4 n))
    mp_irt   Z_mp  = rho Z_w + sum_U w_i P_i(sum_j lambda_j theta_j)
    gmp_irt  Z_gmp = delta Z_w + (1 - delta) Z_mp,  delta = 1/2

p-IRT and gp-IRT are of tinyBenchmarks (Maia Polo et al., 2024, arXiv 2402.14992), mp-IRT and
gmp-IRT of MERGE3 (Mencattini et al., 2025, arXiv 2502.10436). Both maximise the likelihood of the
answers; `regularised`, the default, adds a Gaussian prior, which is what keeps few answers, or
answers that are all right, from running away. Standard errors come from the delta method,

    Var(Z) = g^T H^-1 g + sum_U w_i^2 p_i (1 - p_i),    g = sum_U w_i p_i (1 - p_i) x_i

with H the Hessian of the fit and x_i its regressors. They take the item parameters for true, and
mp-IRT takes a candidate's abilities for a mixture of the endpoints'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.estimators.estimate import Estimate, Opinion, estimated, pool
from evomerge.estimators.evidence import Answered, Answers, Evidence
from evomerge.estimators.item_model import ItemParameters
from evomerge.estimators.logistic import Gaussian, fit_logistic
from evomerge.estimators.sampling import Weighting, Weights, weighted_mean

MIXTURE_SPREAD = 0.5
"""Prior standard deviation of a mixing weight lambda about 1 / n_endpoints."""


class _Abilities:
    """Predicts unanswered items from abilities that are linear in what is fitted.

    Args:
        evidence: the benchmark and its items.
        prior: of the coefficients; None for the largest likelihood.
        basis: abilities of each coefficient, (n_coefficients, n_dimensions); the coefficients are
            the abilities themselves without.
        start: where a fit begins.
    """

    def __init__(
        self,
        evidence: Evidence,
        prior: Gaussian | None,
        basis: NDArray[np.float64] | None = None,
        start: NDArray[np.float64] | None = None,
    ) -> None:
        self._items = evidence.items
        self._weights = evidence.benchmark.weights
        self._prior, self._basis, self._start = prior, basis, start
        a = self._items.discriminations
        self._design = a if basis is None else a @ basis.T

    def fit(self, answered: Answered) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the abilities that explain the answers, and the covariance of what was fitted.

        Raises:
            UserError: there is neither an answer nor a prior.
        """
        if not len(answered.values) and self._prior is None:
            raise UserError(
                "without a prior no score can be estimated from no answers; leave regularised on"
            )
        fit = fit_logistic(
            self._design[answered.positions],
            self._items.intercepts[answered.positions],
            answered.values,
            self._prior,
            self._start,
        )
        basis = np.eye(len(fit.coefficients)) if self._basis is None else self._basis
        return fit.coefficients @ basis, fit.covariance

    def unanswered(self, answered: Answered) -> Opinion:
        """Return what the unanswered items add to the score, and its variance.

        Where the answers do not determine the abilities, the variance is the largest that a sum
        between 0 and the weight of these items can have.
        """
        abilities, covariance = self.fit(answered)
        weights = self._weights.copy()
        weights[answered.positions] = 0.0
        p = self._items.probabilities(abilities)
        spread = p * (1.0 - p)
        most = (weights.sum() / 2.0) ** 2
        if covariance is None:
            return Opinion(float(weights @ p), float(most))
        gradient = (weights * spread) @ self._design
        variance = gradient @ covariance @ gradient + weights**2 @ spread
        return Opinion(float(weights @ p), float(min(variance, most)))


class PIrt:
    """The answers, and predictions of all other items; the estimator 'p_irt'.

    Args:
        evidence: the benchmark and its items.
        regularised: whether abilities have a prior.
        prior: of the abilities; by default N(mean ability of the endpoints, I), or N(0, I) where
            there are no endpoints.
    """

    def __init__(
        self, evidence: Evidence, *, regularised: bool = True, prior: Gaussian | None = None
    ) -> None:
        self._benchmark = evidence.benchmark
        self._abilities = _Abilities(evidence, ability_prior(evidence, regularised, prior))

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return estimated(self._benchmark, answers, self.predict)

    def predict(self, answered: Answered) -> Opinion:
        """Return the estimate and its variance, where an item is unanswered."""
        rest, variance = self._abilities.unanswered(answered)
        known = float(self._benchmark.weights[answered.positions] @ answered.values)
        return Opinion(known + rest, variance)


class GpIrt:
    """p-IRT and the weighted mean, mixed by how much each can be trusted; the estimator 'gp_irt'.

    Value and standard error are those of the mixture of both opinions (`pool`).

    Args:
        evidence: the benchmark and its items, and the endpoints where B and v are not given.
        regularised: whether abilities have a prior.
        prior: of the abilities, see `PIrt`.
        weights: how answered items stand for the others in Z_w.
        irt_error: B, the mean absolute error of predictions by the item model. By default it is
            measured on the endpoints, see `irt_error_of`; on items fitted to those same answers
            that is too small, and trusts the item model too much.
        item_variance: v, the mean over models of the variance of their answers over items; that
            of the endpoints by default.

    Raises:
        UserError: B or v is neither given nor can be measured, or is negative.
    """

    def __init__(
        self,
        evidence: Evidence,
        *,
        regularised: bool = True,
        prior: Gaussian | None = None,
        weights: Weights = "nearest",
        irt_error: float | None = None,
        item_variance: float | None = None,
    ) -> None:
        self._benchmark = evidence.benchmark
        self._weighting = Weighting(evidence, weights)
        self._p_irt = PIrt(evidence, regularised=regularised, prior=prior)
        if (irt_error is None or item_variance is None) and not evidence.endpoints:
            raise UserError(
                "gp_irt needs full answers of endpoints to measure its trust on; "
                "or give both irt_error and item_variance"
            )
        self.irt_error = irt_error_of(evidence) if irt_error is None else irt_error
        self.item_variance = (
            float(np.mean([np.var(given) for given in evidence.endpoints.values()]))
            if item_variance is None
            else item_variance
        )
        if self.irt_error < 0 or self.item_variance < 0:
            raise UserError("irt_error and item_variance cannot be negative")

    def trust(self, n_answers: int) -> float:
        """Return c, the share of the weighted mean in the estimate from so many answers."""
        noise = self.item_variance / (4.0 * n_answers)
        return self.irt_error**2 / (self.irt_error**2 + noise) if self.irt_error else 0.0

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return estimated(self._benchmark, answers, self._mixed)

    def _mixed(self, answered: Answered) -> Opinion:
        predicted, n = self._p_irt.predict(answered), len(answered.values)
        if not n:
            return predicted
        sampled = weighted_mean(answered, self._weighting, len(self._benchmark))
        return pool(sampled, predicted, self.trust(n))


class MpIrt:
    """p-IRT whose abilities are a mixture of the endpoints'; the estimator 'mp_irt'.

    With one endpoint there is nothing to mix: abilities then have the prior N(its abilities, I).

    Args:
        evidence: the benchmark, its items and the endpoints.
        regularised: whether the mixing weights have the prior N(1 / n_endpoints, 0.5² I).
        weights: how answered items stand for the others in Z_w.

    Raises:
        UserError: there is no endpoint.
    """

    def __init__(
        self, evidence: Evidence, *, regularised: bool = True, weights: Weights = "equal"
    ) -> None:
        self._benchmark = evidence.benchmark
        self._weighting = Weighting(evidence, weights)
        thetas = endpoint_abilities(evidence)
        if not len(thetas):
            raise UserError(
                "mp_irt and gmp_irt need full answers of the models that are merged (endpoints)"
            )
        if len(thetas) == 1:
            self._abilities = _Abilities(evidence, Gaussian(thetas[0]))
            return
        even = np.full(len(thetas), 1.0 / len(thetas))
        prior = Gaussian(even, MIXTURE_SPREAD**2) if regularised else None
        self._abilities = _Abilities(evidence, prior, basis=thetas, start=even)

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return estimated(self._benchmark, answers, self.predict)

    def predict(self, answered: Answered) -> Opinion:
        """Return the estimate and its variance, where an item is unanswered.

        Weights that make rho Z_w differ from what the answered items are known to add move the
        estimate by that much, so the square of it joins the variance.
        """
        rest, variance = self._abilities.unanswered(answered)
        if not len(answered.values):
            return Opinion(rest, variance)
        own = self._benchmark.weights[answered.positions]
        shown = float(own.sum() * (self._weighting.of(answered.positions) @ answered.values))
        moved = shown - float(own @ answered.values)
        return Opinion(shown + rest, variance + moved**2)


class GmpIrt:
    """Half mp-IRT, half the weighted mean; the estimator 'gmp_irt'.

    Value and standard error are those of the mixture of both opinions (`pool`).

    Args:
        evidence: the benchmark, its items and the endpoints.
        regularised: whether the mixing weights have a prior.
        weights: how answered items stand for the others in Z_w.
        delta: share of Z_w, in [0, 1].

    Raises:
        UserError: there is no endpoint, or `delta` is out of range.
    """

    def __init__(
        self,
        evidence: Evidence,
        *,
        regularised: bool = True,
        weights: Weights = "equal",
        delta: float = 0.5,
    ) -> None:
        if not 0.0 <= delta <= 1.0:
            raise UserError(f"delta must lie in [0, 1], got {delta}")
        self._benchmark = evidence.benchmark
        self._weighting = Weighting(evidence, weights)
        self._mp_irt = MpIrt(evidence, regularised=regularised, weights=weights)
        self._delta = delta

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return estimated(self._benchmark, answers, self._mixed)

    def _mixed(self, answered: Answered) -> Opinion:
        predicted = self._mp_irt.predict(answered)
        if not len(answered.values):
            return predicted
        sampled = weighted_mean(answered, self._weighting, len(self._benchmark))
        return pool(sampled, predicted, self._delta)


def endpoint_abilities(evidence: Evidence) -> NDArray[np.float64]:
    """Return the abilities of each endpoint, fitted on all its answers with the prior N(0, I).

    Returns:
        (n_endpoints, n_dimensions), by sorted name.
    """
    items = evidence.items
    prior = Gaussian(np.zeros(items.n_dimensions))
    fits = [
        fit_logistic(items.discriminations, items.intercepts, given, prior).coefficients
        for given in evidence.endpoints.values()
    ]
    return np.array(fits).reshape(len(fits), items.n_dimensions)


def ability_prior(evidence: Evidence, regularised: bool, prior: Gaussian | None) -> Gaussian | None:
    """Return the prior of a candidate's abilities: the one given, or N(mean endpoint, I).

    Raises:
        UserError: a prior is given and not wanted, or has not as many dimensions as the items.
    """
    n_dimensions = evidence.items.n_dimensions
    if not regularised:
        if prior is not None:
            raise UserError("a prior is given and regularised is off; give one of the two")
        return None
    if prior is None:
        thetas = endpoint_abilities(evidence)
        return Gaussian(thetas.mean(axis=0) if len(thetas) else np.zeros(n_dimensions))
    if len(prior.mean) != n_dimensions:
        raise UserError(
            f"the prior has {len(prior.mean)} dimensions, the item parameters {n_dimensions}"
        )
    return prior


def irt_error_of(evidence: Evidence) -> float:
    """Return B: how far predictions of the endpoints' scores by the item model are off.

    Abilities are fitted on every second item and predict the mean of the others, both ways round;
    the mean of |predicted − true| over endpoints and halves is returned. Which items make a half
    is drawn once for all, from their number alone.
    """
    items = evidence.items
    halves = np.random.default_rng(0).permutation(len(items.ids)) % 2 == 0
    if len(halves) < 2:
        raise UserError("the error of an item model cannot be measured on a single item")
    return float(
        np.mean(
            [
                abs(_predicted(items, given, seen) - given[~seen].mean())
                for given in evidence.endpoints.values()
                for seen in (halves, ~halves)
            ]
        )
    )


def _predicted(items: ItemParameters, given: NDArray[np.float64], seen: NDArray[np.bool_]) -> float:
    fit = fit_logistic(
        items.discriminations[seen],
        items.intercepts[seen],
        given[seen],
        Gaussian(np.zeros(items.n_dimensions)),
    )
    return float(items.probabilities(fit.coefficients)[~seen].mean())
