"""The book of open trials: what was asked for and not told yet."""

from __future__ import annotations

import math

from evomerge.types import Genotype, Trial


class PendingTrials:
    """Refuses tells that answer no ask; trials correlate by number, genotypes may repeat.

    Args:
        n_objectives: how many costs a completed trial must carry.
    """

    def __init__(self, n_objectives: int) -> None:
        self._n_objectives = n_objectives
        self._open: dict[int, Genotype] = {}
        self._closed: set[int] = set()

    def check_new(self, number: int) -> None:
        """Refuse a trial number that was handed out before.

        Raises:
            ValueError: it was.
        """
        if number in self._open or number in self._closed:
            raise ValueError(f"trial {number} was asked for already; number every trial once")

    def open(self, number: int, genotype: Genotype) -> None:
        """Note a proposal that was handed out."""
        self._open[number] = genotype

    def close(self, trial: Trial) -> None:
        """Check a told trial and strike it out; a refused trial changes nothing.

        Raises:
            ValueError: see `check`.
        """
        self.check(trial)
        del self._open[trial.number]
        self._closed.add(trial.number)

    def check(self, trial: Trial) -> None:
        """Refuse a trial that answers no ask.

        Raises:
            ValueError: it was never asked for, was told already, has another genotype than was
                proposed, or its costs are not one finite number per objective.
        """
        if trial.number in self._closed:
            raise ValueError(f"trial {trial.number} was told already")
        if trial.number not in self._open:
            raise ValueError(f"trial {trial.number} was never asked for")
        if trial.genotype != self._open[trial.number]:
            raise ValueError(f"trial {trial.number} has another genotype than was proposed")
        if trial.costs is not None:
            if len(trial.costs) != self._n_objectives:
                raise ValueError(
                    f"trial {trial.number}: expected {self._n_objectives} costs, "
                    f"got {len(trial.costs)}"
                )
            if not all(math.isfinite(cost) for cost in trial.costs):
                raise ValueError(f"trial {trial.number}: costs must be finite, got {trial.costs}")
