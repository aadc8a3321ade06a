"""Cheap fitnesses before the first rung, for as long as they foretell what the first rung finds.

A likelihood needs one pass through the model where an answer needs one a token. Whether it orders
candidates as the real fitness does is measured while the search runs, on candidates that go on
whatever their proxies say: until enough have both scores, then one in so many. Of the others only
those that the proxies like are scored at all, which would bias the correlation.

Proxies are given up, for the rest of the search, once it is shown of one of them that its
correlation is lower than asked for: where the upper end of a confidence interval lies below. That
is looked at when 16, 32, 64, ... candidates have both scores. The interval is Fisher's, with the
variance that Bonett and Wright (2000, Psychometrika 65) give for rank correlations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evomerge.study.rungs.estimates import within
from evomerge.study.rungs.promotion import Peers
from evomerge.types import Completed, Goal, Objective

FIRST = 16
"""So many must have both scores; until then candidates go on whatever their proxies say."""
EVERY = 8
"""One in so many goes on whatever its proxies say, ever after."""
CONFIDENCE = 0.95
"""That a correlation is below the upper end of its interval, at each look."""

Floats = NDArray[np.float64]


class Proxies:
    """Who goes on to the first rung.

    Args:
        goals: objective name to the direction in which its proxy improves.
        objectives: of the study.
        share: of candidates that goes on.
        least_correlation: the proxies are given up when one of them is shown to be below.
        seed: of the lots by which equals are told apart.

    Attributes:
        of_use: they were not given up.
        notes: what was found at each look.
    """

    def __init__(
        self,
        goals: Mapping[str, Goal],
        objectives: Sequence[Objective],
        share: float,
        least_correlation: float,
        seed: int,
    ) -> None:
        self._foretold = [one for one in objectives if one.name in goals]
        self._proxies = [Objective(one.name, goals[one.name]) for one in self._foretold]
        self._peers = Peers(share, seed)
        self._least = least_correlation
        self.of_use = True
        self.notes: list[str] = []
        self._next_look = FIRST
        self._n_placed = 0
        self._in_any_case: set[int] = set()
        self._liked: set[int] = set()
        self._costs: dict[int, Floats] = {}
        self._real: dict[int, Floats] = {}

    def place(self, number: int) -> None:
        """Note a candidate that is going to be scored by the proxies."""
        if self._n_placed % EVERY == 0 or len(self._pairs()) < FIRST:
            self._in_any_case.add(number)
        self._n_placed += 1

    def add(self, number: int, outcome: Completed) -> None:
        """Note what the proxies said of a candidate."""
        self._costs[number] = _costs(outcome, self._proxies)
        if self._peers.goes_on(self._costs[number]):
            self._liked.add(number)

    def add_real(self, number: int, outcome: Completed) -> None:
        """Note what a candidate scored at the first rung, and look whether the proxies are of use.

        One that came there without having been scored by the proxies says nothing of them.
        """
        if number not in self._costs:
            return
        self._real[number] = _costs(outcome, self._foretold)
        if self.of_use and len(self._pairs()) >= self._next_look:
            self._look()
            self._next_look *= 2

    def _look(self) -> None:
        """Give the proxies up if one is shown to foretell too little; note what was found."""
        n = len(self._pairs())
        limits = {
            name: (one, upper_limit(one, n)) for name, one in (self.correlations() or {}).items()
        }
        self.of_use = all(limit >= self._least for _, limit in limits.values())
        found = ", ".join(
            f"{name} {one:.2f} (at most {limit:.2f})" for name, (one, limit) in limits.items()
        )
        line = f"proxies: rank correlation with the first rung over {n} candidates: {found}"
        self.notes.append(line if self.of_use else f"{line}; given up")

    def _pairs(self) -> list[int]:
        """List the candidates that have both scores and were chosen by neither."""
        return [number for number in self._real if number in self._in_any_case]

    def lets_through(self, number: int) -> bool:
        """Say whether a candidate goes on to the first rung."""
        return number in self._in_any_case or number in self._liked

    def correlations(self) -> dict[str, float] | None:
        """Return Spearman's correlation of proxy and first rung, by objective.

        None before `FIRST` candidates have both. Where all scores tie it is 0.
        """
        known = self._pairs()
        if len(known) < FIRST:
            return None
        foretold = np.array([self._costs[number] for number in known])
        real = np.array([self._real[number] for number in known])
        return {
            objective.name: _spearman(foretold[:, k], real[:, k])
            for k, objective in enumerate(self._foretold)
        }

    def predictions(self, number: int) -> dict[str, tuple[float, float]]:
        """Return what a candidate would score, by a straight line through those that have both.

        Returns:
            Objective name to the metric, within its bounds, and the standard deviation of what the
            line leaves over.
        """
        foretold = np.array([self._costs[other] for other in self._real])
        real = np.array([*self._real.values()])
        found = {}
        for k, objective in enumerate(self._foretold):
            slope, left = _line(foretold[:, k], real[:, k])
            cost = real[:, k].mean() + slope * (self._costs[number][k] - foretold[:, k].mean())
            found[objective.name] = (within(objective.cost(float(cost)), objective.bounds), left)
        return found


def _costs(outcome: Completed, objectives: Sequence[Objective]) -> Floats:
    return np.array([one.cost(outcome.metrics[one.name]) for one in objectives])


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the slope of least squares and the standard deviation of the residuals."""
    a, b = x - x.mean(), y - y.mean()
    slope = float(a @ b / (a @ a)) if a.any() else 0.0
    return slope, float(np.sqrt(((b - slope * a) ** 2).sum() / max(1, len(x) - 2)))


def upper_limit(correlation: float, n: int) -> float:
    """Return the upper end of the one-sided interval of Spearman's correlation.

    Args:
        correlation: as measured.
        n: how many pairs it was measured on, at least 4.
    """
    error = math.sqrt((1 + correlation**2 / 2) / (n - 3))
    quantile = float(stats.norm.ppf(CONFIDENCE))
    return math.tanh(math.atanh(min(max(correlation, -1 + 1e-12), 1 - 1e-12)) + quantile * error)


def _spearman(a: Floats, b: Floats) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)
