"""How a search stands: best scores, the front so far, its hypervolume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import Anchors, anchored_gain, anchored_hypervolume
from evomerge.types import Completed, Objective, Trial

SEED = "seed:"


class Standing:
    """A running summary of completed trials.

    The hypervolume is anchored at the base and the best donors, and known once the trials that
    evaluate these seeds are finished.

    Args:
        objectives: names and goals, in order.
        donors: names of the donors, as the space names its seeds.

    Attributes:
        failed: failed trials.
        best: objective name to the best metric.
        front: the non-dominated trials.
        anchors: the scale of the hypervolume; None until it is known.
    """

    def __init__(self, objectives: Sequence[Objective], donors: Collection[str]) -> None:
        self.objectives = tuple(objectives)
        self.failed = 0
        self.best: dict[str, float] = {}
        self.front: list[Trial] = []
        self.anchors: Anchors | None = None
        self._costs = np.empty((0, len(objectives)))
        self._metrics = self._costs.copy()  # of the front, in its order, as the costs are
        self._worst: dict[str, float] = {}
        self._awaited = {f"{SEED}{name}" for name in ("base", *donors)}
        self._anchoring: dict[str, Mapping[str, float]] = {}
        self._volumes: dict[Anchors, float] = {}

    def add(self, trial: Trial, origin: str) -> None:
        """Count one finished trial."""
        if not isinstance(trial.outcome, Completed) or trial.costs is None:
            self.failed += 1
            return
        metrics = trial.outcome.metrics
        for objective in self.objectives:
            name, value = objective.name, metrics[objective.name]
            self.best[name] = min(value, self.best.get(name, value), key=objective.cost)
            self._worst[name] = max(value, self._worst.get(name, value), key=objective.cost)
        self._extend_front(trial, np.array([metrics[one.name] for one in self.objectives]))
        if origin in self._awaited:
            self._anchoring[origin] = metrics
        if self.anchors is None and len(self._anchoring) == len(self._awaited):
            base = self._anchoring.pop(f"{SEED}base")
            self.anchors = Anchors.of(
                self.objectives, base, list(self._anchoring.values()), degenerate="adapt"
            )

    def hypervolume(self, anchors: Anchors | None = None) -> float | None:
        """Return the hypervolume of the front so far; None with one objective.

        Args:
            anchors: its scale; that of base and donors by default, and None until it is known.
        """
        anchors = anchors or self.anchors
        if anchors is None or len(self.objectives) < 2:
            return None
        if anchors not in self._volumes:
            self._volumes[anchors] = anchored_hypervolume(anchors.scaled(self._metrics))
        return self._volumes[anchors]

    def spanned(self) -> Anchors | None:
        """Return the scale from the worst to the best score so far; None where there is none."""
        if not self.best:
            return None
        return Anchors.spanning(self.objectives, self._worst, self.best)

    def _extend_front(self, trial: Trial, metrics: NDArray[np.float64]) -> None:
        costs = np.array(trial.costs)
        if (self._costs <= costs).all(axis=1).any():
            return
        for anchors in self._volumes:
            front, new = anchors.scaled(self._metrics), anchors.scaled(metrics)
            self._volumes[anchors] += anchored_gain(front, new)
        kept = np.asarray((costs > self._costs).any(axis=1))
        if not kept.all():
            self.front = list(compress(self.front, kept.tolist()))
            self._costs, self._metrics = self._costs[kept], self._metrics[kept]
        self.front.append(trial)
        self._costs = np.vstack([self._costs, costs])
        self._metrics = np.vstack([self._metrics, metrics])
