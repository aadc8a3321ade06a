"""Estimates through item response theory: the unanswered items are predicted.

With answered items S, the others U, item weights w (1/N each without subtasks), rho = w(S):

    p_irt    Z_p   = sum_S w_i y_i + sum_U w_i P_i(theta)
    gp_irt   Z_gp  = c Z_w + (1 - c) Z_p,           c = B^2 / (B^2 + v / (4 n))
    mp_irt   Z_mp  = rho Z_w + sum_U w_i P_i(sum_j lambda_j theta_j)
    gmp_irt  Z_gmp = delta Z_w + (1 - delta) Z_mp,  delta = 1/2

p-IRT and gp-IRT are of tinyBenchmarks (Maia Polo et al., 2024, arXiv 2402.14992), mp-IRT and
gmp-IRT of MERGE3 (Mencattini et al., 2025, arXiv 2502.10436). Both maximise the likelihood of the
answers; `regularised`, the default, adds a Gaussian prior, which is what keeps few answers, or
answers that are all right, from running away. Answers of candidates and endpoints may be partial,
in [0, 1]: the likelihood is then a quasi-likelihood, see `evomerge.estimators.logistic`. Standard
errors take the item parameters for true, and those of mp-IRT a candidate's abilities for a mixture
of the endpoints'.
"""

from __future__ import annotations

import numpy as np

from evomerge.errors import UserError
from evomerge.estimators.abilities import (
    AbilityModel,
    ability_prior,
    endpoint_abilities,
    irt_error_of,
)
from evomerge.estimators.estimate import Estimate, Opinion, estimated, pool
from evomerge.estimators.evidence import Answered, Answers, Evidence
from evomerge.estimators.logistic import Gaussian
from evomerge.estimators.sampling import Weighting, Weights, weighted_mean

MIXTURE_SPREAD = 0.5
"""Prior standard deviation of a mixing weight lambda about 1 / n_endpoints."""


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
        self._abilities = AbilityModel(evidence, ability_prior(evidence, regularised, prior))

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
    Where a candidate's abilities are no mixture of the endpoints', standard errors are too small.

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
            self._abilities = AbilityModel(evidence, Gaussian(thetas[0]))
            return
        even = np.full(len(thetas), 1.0 / len(thetas))
        prior = Gaussian(even, MIXTURE_SPREAD**2) if regularised else None
        self._abilities = AbilityModel(evidence, prior, basis=thetas, start=even)

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
