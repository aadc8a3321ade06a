"""Estimates that use the answers alone: the plain mean, and means of weighted answers.

The standard error is that of a weighted mean of n items drawn without replacement from N:

    SE^2 = (N - n) / (N - 1) * s^2 / (n_eff + 4),    n_eff = 1 / sum w_i^2,  sum w_i = 1

where s^2 is the variance of the answers together with four made up ones, two of 0 and two of 1.
For right-or-wrong answers this is the variance p~ (1 - p~) / (n + 4) of Agresti & Coull (1998),
p~ = (sum y + 2) / (n + 4), with the correction for a finite population (Cochran, 1977, ch. 2):
when all answers agree it is small, but never 0 before every item was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError, nearest
from evomerge.estimators.estimate import Estimate, Opinion, estimated
from evomerge.estimators.evidence import Answered, Answers, Evidence

Weights: TypeAlias = Literal["equal", "nearest"] | Mapping[str, float]
"""How answered items stand for the benchmark. equal: each as much as it counts in the score.
nearest: each for the items whose parameters [a ; b] lie nearest to its own. A mapping: weights of a
chosen subset by item id, as `cluster_anchors` gives them; just these items must be answered."""

_PSEUDO = 4.0  # made-up answers, half of them right
_KEPT = 64  # subsets whose weights are remembered


class Weighting:
    """The weights w of the answered items, their sum 1.

    Args:
        evidence: the benchmark, and its item parameters where the rule needs them.
        rule: see `Weights`.

    Raises:
        UserError: the rule is unknown, or a weight is no positive number or of no known item.
    """

    def __init__(self, evidence: Evidence, rule: Weights) -> None:
        self._benchmark = evidence.benchmark
        self._rule = rule
        self._known: dict[bytes, NDArray[np.float64]] = {}
        if isinstance(rule, str):
            if rule not in ("equal", "nearest"):
                raise UserError(f"weights '{rule}': {nearest(rule, ('equal', 'nearest'))}")
            if rule == "nearest":
                self._points = evidence.items.embeddings
            return
        if not all(weight > 0 and np.isfinite(weight) for weight in rule.values()):
            raise UserError("weights of items must be positive numbers")
        given = self._benchmark.read(dict.fromkeys(rule, 1.0), "the weights")
        total = sum(rule.values())
        self._given = given.positions
        self._weights = np.array([rule[self._benchmark.ids[at]] / total for at in given.positions])

    def of(self, positions: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the weights of the answered items, (n_answers,).

        Args:
            positions: which items were answered, ascending, at least one.

        Raises:
            UserError: weights of a subset were given and other items were answered.
        """
        if self._rule == "equal":
            weights = self._benchmark.weights[positions]
            return np.asarray(weights / weights.sum())
        if self._rule == "nearest":
            key = positions.tobytes()
            if key not in self._known:
                if len(self._known) >= _KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = self._nearest(positions)
            return self._known[key]
        other = np.setxor1d(positions, self._given)
        if len(other):
            name = self._benchmark.ids[int(other[0])]
            kind = "has no weight" if other[0] in positions else "has a weight and no answer"
            raise UserError(f"item '{name}' {kind}; answer just the items that have weights")
        return self._weights

    def _nearest(self, positions: NDArray[np.intp]) -> NDArray[np.float64]:
        """Give every item of the benchmark to the answered item that is most like it."""
        from scipy.spatial import KDTree  # noqa: PLC0415  # heavy

        places, which, sizes = np.unique(
            self._points[positions], axis=0, return_inverse=True, return_counts=True
        )
        _, nearest_place = KDTree(places).query(self._points)
        mass = np.bincount(nearest_place, self._benchmark.weights, minlength=len(places))
        return np.asarray((mass / sizes)[which.ravel()])


class Mean:
    """The mean of the answers, as of a random subset; the estimator 'random'.

    With subtasks it is the weighted mean in which each answer counts as its item does.

    Args:
        evidence: the benchmark.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._weighted = Weighted(evidence, weights="equal")

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return self._weighted.estimate(answers)


class Weighted:
    """A weighted mean of the answers; the estimator 'weighted'.

    Its standard error is that of a random draw with the same weights. Anchors that represent the
    other items well do better than it says, a subset chosen to be hard does worse.

    Args:
        evidence: the benchmark, and its item parameters for weights 'nearest'.
        weights: how answered items stand for the others.
    """

    def __init__(self, evidence: Evidence, *, weights: Weights = "nearest") -> None:
        self._benchmark = evidence.benchmark
        self._weighting = Weighting(evidence, weights)

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score; see `Estimator`."""
        return estimated(self._benchmark, answers, self._mean)

    def _mean(self, answered: Answered) -> Opinion:
        return weighted_mean(answered, self._weighting, len(self._benchmark))


def weighted_mean(answered: Answered, weighting: Weighting, n_items: int) -> Opinion:
    """Return the weighted mean of the answers and its variance about the full score.

    Raises:
        UserError: there is no answer.
    """
    if not len(answered.values):
        raise UserError("a mean needs at least one answer")
    w, y = weighting.of(answered.positions), answered.values
    value = float(w @ y)
    n_effective = 1.0 / float(w @ w)
    n_shrunk = n_effective + _PSEUDO
    mean = (n_effective * value + _PSEUDO / 2) / n_shrunk
    square = (n_effective * float(w @ y**2) + _PSEUDO / 2) / n_shrunk
    finite = (n_items - len(y)) / (n_items - 1)
    return Opinion(value, finite * (square - mean**2) / n_shrunk)
