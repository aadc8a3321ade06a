"""Blending the best elites of all archives into one individual.

    sum_k beta_k tau^(k),   beta = softmax(f_k / T)

f_k is the quality of the best elite of task k: the metric itself, or its share of the task's range,
which has no unit.

Source: Kuroki et al. 2025, "Agent Skill Acquisition for Large Language Models via CycleQD",
arXiv 2410.14735.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import choice, integer, number
from evomerge.optimizers.populations.task_archives import TaskArchives

_EVERY = 100  # trials, where nobody says how many there will be


class Aggregation:
    """When an aggregate is due, and what it consists of.

    Args:
        kind: 'softmax', or 'none' if it is never due.
        temperature: T.
        softmax_of: 'range' takes qualities as shares of their task's range, 'metric' as they are.
        every: trials from one to the next; None for one at the end of the budget, or one in 100
            trials without a budget.
        budget: trials of the search.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(
        self, kind: str, temperature: float, softmax_of: str, every: int | None, budget: int | None
    ) -> None:
        self._on = choice("aggregation", kind, ("softmax", "none")) == "softmax"
        self._temperature = number("temperature", temperature, 0)
        self._by_range = choice("softmax_of", softmax_of, ("range", "metric")) == "range"
        self._last = None if budget is None else budget - 1
        self._every = _EVERY if budget is None else None
        if every is not None:
            self._every = integer("aggregate_every", every, 1)
            if not self._on:
                raise ConfigError(["aggregate_every: goes with aggregation: softmax"])

    def due(self, n_asked: int) -> bool:
        """Say whether the next individual is to be an aggregate, after so many."""
        if not self._on:
            return False
        regular = self._every is not None and (n_asked + 1) % self._every == 0
        return regular or n_asked == self._last

    def shares(self, tasks: TaskArchives) -> dict[int, float]:
        """Return the shares of the best elites by trial number."""
        numbers, qualities = [], []
        for task, archive in enumerate(tasks.archives):
            if (best := archive.best_elite) is not None:
                numbers.append(best.solution)
                quality = best.objective
                qualities.append(tasks.share_of_range(task, quality) if self._by_range else quality)
        return softmax_shares(numbers, qualities, self._temperature)


def softmax_shares(
    numbers: Sequence[int], qualities: Sequence[float], temperature: float
) -> dict[int, float]:
    """Return the softmax of elites' qualities by trial number; one may occur twice."""
    highest = max(qualities, default=0.0)
    raw = [math.exp((quality - highest) / temperature) for quality in qualities]
    total = math.fsum(raw)
    shares: dict[int, float] = {}
    for elite, value in zip(numbers, raw, strict=True):
        shares[elite] = shares.get(elite, 0.0) + value / total
    return shares
