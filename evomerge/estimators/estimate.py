"""What an estimator says of a candidate, and what every estimator can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, Protocol

from evomerge.estimators.evidence import Answered, Answers, Benchmark


@dataclass(frozen=True, slots=True)
class Estimate:
    """A full score, as far as the answers so far tell it.

    Attributes:
        value: the estimated score, in [0, 1].
        standard_error: of the value about the score that answering every item would give; 0 only
            when every item was answered.
        n_measured: how many items were answered.
        n_items: how many items the benchmark has.
    """

    value: float
    standard_error: float
    n_measured: int
    n_items: int

    @property
    def measured(self) -> bool:
        """Whether every item was answered, so that nothing is estimated."""
        return self.n_measured == self.n_items

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the normal interval about the value, cut to [0, 1].

        Raises:
            ValueError: `confidence` does not lie between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
        half = NormalDist().inv_cdf(0.5 + confidence / 2) * self.standard_error
        return max(0.0, self.value - half), min(1.0, self.value + half)


class Estimator(Protocol):
    """Estimates the score of a candidate on a whole benchmark from its answers to some items.

    It is built once, from what is known before any candidate is asked (`Evidence`), and keeps no
    memory of candidates: the same answers give the same estimate.
    """

    def estimate(self, answers: Answers) -> Estimate:
        """Estimate the full score.

        Args:
            answers: score in [0, 1] of each item answered, by item id.

        Raises:
            UserError: an id is not of the benchmark or a score is not in [0, 1] (it is named), or
                there are too few answers for this estimator.
        """
        ...


class Opinion(NamedTuple):
    """A belief about a full score.

    Attributes:
        mean: in [0, 1].
        variance: about the full score.
    """

    mean: float
    variance: float


def estimated(
    benchmark: Benchmark, answers: Answers, opinion: Callable[[Answered], Opinion]
) -> Estimate:
    """Read answers and return an opinion of them, or the score itself where all items have one."""
    answered = benchmark.read(answers)
    n, n_items = len(answered.values), len(benchmark)
    if n == n_items:
        return Estimate(unit(float(benchmark.weights @ answered.values)), 0.0, n, n_items)
    mean, variance = opinion(answered)
    return Estimate(unit(mean), variance**0.5, n, n_items)


def pool(a: Opinion, b: Opinion, share: float) -> Opinion:
    """Return the mixture of two opinions, `share` of it the first (Stone, 1961).

    It is wide where they disagree: share × (1 − share) × (difference)² joins the variances.
    """
    variance = share * a.variance + (1.0 - share) * b.variance
    variance += share * (1.0 - share) * (a.mean - b.mean) ** 2
    return Opinion(share * a.mean + (1.0 - share) * b.mean, variance)


def unit(value: float) -> float:
    """Return a score without the last bits by which a weighted sum can leave [0, 1]."""
    return min(1.0, max(0.0, value))
