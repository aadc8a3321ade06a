"""How a search stands: best scores, the front so far, its hypervolume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.types import Completed, Objective, Trial

SEED = "seed:"


class Standing:
    """A running summary of completed trials.

    The hypervolume is anchored at the base and the best donors, and known once the trials that
    evaluate these seeds are finished.

    Args:
        objectives: names and goals, in order.
        donors: names of the donors, as the space names its seeds.
    """

    def __init__(self, objectives: Sequence[Objective], donors: Collection[str]) -> None:
        self.failed = 0
        self.best: dict[str, float] = {}
        self.front: list[Trial] = []
        self._objectives = objectives
        self._costs = np.empty((0, len(objectives)))
        self._volume: float | None = None
        self._awaited = {f"{SEED}{name}" for name in ("base", *donors)}
        self._anchoring: dict[str, Mapping[str, float]] = {}
        self._anchors: Anchors | None = None

    def add(self, trial: Trial, origin: str) -> None:
        """Count one finished trial."""
        if not isinstance(trial.outcome, Completed) or trial.costs is None:
            self.failed += 1
            return
        metrics = trial.outcome.metrics
        for objective in self._objectives:
            value = metrics[objective.name]
            best = self.best.get(objective.name, value)
            if objective.cost(value) <= objective.cost(best):
                self.best[objective.name] = value
        self._extend_front(trial)
        if origin in self._awaited:
            self._anchoring[origin] = metrics
        if self._anchors is None and len(self._anchoring) == len(self._awaited):
            base = self._anchoring.pop(f"{SEED}base")
            self._anchors = Anchors.of(
                self._objectives, base, list(self._anchoring.values()), degenerate="adapt"
            )

    def hypervolume(self) -> float | None:
        """Return the anchored hypervolume of the front so far, when the anchors are known."""
        if self._anchors is None or len(self._objectives) < 2:
            return None
        if self._volume is None:  # most trials leave the front as it is
            rows = [
                trial.outcome.metrics
                for trial in self.front
                if isinstance(trial.outcome, Completed)
            ]
            self._volume = float(anchored_hypervolume(self._anchors.scale_all(rows)))
        return self._volume

    def _extend_front(self, trial: Trial) -> None:
        costs = np.array(trial.costs)
        if (self._costs <= costs).all(axis=1).any():
            return
        kept = np.flatnonzero((costs > self._costs).any(axis=1))
        self._costs = np.vstack([self._costs[kept], costs])
        self.front = [*(self.front[index] for index in kept), trial]
        self._volume = None
