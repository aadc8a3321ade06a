"""Abilities of candidates and endpoints, and what they predict of items that were not asked.

With w_i the weight of an item in the score, p_i its predicted answer and x_i the regressors of the
fit, the sum over the unanswered items U has by the delta method the variance

    g^T H^-1 g + sum_U w_i^2 p_i (1 - p_i),    g = sum_U w_i p_i (1 - p_i) x_i

with H the Hessian of the fit: doubt about the abilities, and chance in the answers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.estimators.estimate import Opinion
from evomerge.estimators.evidence import Answered, Evidence
from evomerge.estimators.item_model import ItemParameters
from evomerge.estimators.logistic import DIVERGED, Gaussian, fit_logistic


class AbilityModel:
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
        between 0 and the weight of these items can have. So it is without a prior where there are
        no more answers than coefficients, which then fit them exactly and leave nothing to doubt
        by, and where a prediction is so sure that the delta method sees no chance in it.
        """
        abilities, covariance = self.fit(answered)
        weights = self._weights.copy()
        weights[answered.positions] = 0.0
        p = self._items.probabilities(abilities)
        spread = p * (1.0 - p)
        most = (weights.sum() / 2.0) ** 2
        if self._prior is None:
            logits = self._items.discriminations @ abilities - self._items.intercepts
            beyond = np.abs(logits[weights > 0]).max(initial=0.0) > DIVERGED
            if beyond or len(answered.values) <= self._design.shape[1]:
                covariance = None
        if covariance is None:
            return Opinion(float(weights @ p), float(most))
        gradient = (weights * spread) @ self._design
        variance = gradient @ covariance @ gradient + weights**2 @ spread
        return Opinion(float(weights @ p), float(min(variance, most)))


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

    Args:
        evidence: the item model and the endpoints' answers.

    Raises:
        UserError: there is one item only.
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
