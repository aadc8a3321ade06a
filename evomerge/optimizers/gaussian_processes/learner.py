"""The model of all evaluations: fitted anew when there are more, its hyperparameters less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.gaussian_processes.evaluations import Evaluations
from evomerge.optimizers.gaussian_processes.transforms import Targets

if TYPE_CHECKING:
    from evomerge.optimizers.gaussian_processes.proposer import Fit, Proposer

Floats = NDArray[np.float64]
Standardise: TypeAlias = Callable[[Floats, Floats], Targets]
"""Costs and their standard errors, both (n_points, n_objectives), to what a model is fitted to."""

LEARN_EVERY = 25
"""Hyperparameters are learnt again when there is one more evaluation for every so many."""

RESCALED = 1.5
"""Hyperparameters are learnt at once where targets are standardised so differently: one metric has
exploded, and they describe the others no more."""


class Learner:
    """Keeps a model of a search.

    Args:
        proposer: fits it.
        standardise: from costs to targets.
        max_points: evaluated points in the model; of more, the front and the latest.
        always: learn hyperparameters from all evaluations.

    Attributes:
        latest: the model fitted last, if there is one.
    """

    def __init__(
        self,
        proposer: Proposer,
        standardise: Standardise,
        max_points: int,
        *,
        always: bool = False,
    ) -> None:
        self._proposer = proposer
        self._standardise = standardise
        self._max_points = max_points
        self._always = always
        self._n_known = 0  # evaluations that the latest model knows of
        self._learn_at = 0  # how many evaluations hyperparameters are next learnt from
        self.latest: Fit | None = None

    def fit(self, known: Evaluations) -> Fit:
        """Return the model of all evaluations; its hyperparameters may be those of fewer."""
        if self.latest is None or self._n_known != len(known):
            rows = known.modelled(self._max_points)
            targets = self._standardise(known.costs[rows], known.errors[rows])
            kept = None if self._always or len(known) >= self._learn_at else self.latest
            if kept is None or _rescaled(kept.targets.scale, targets.scale):
                kept = None
                self._learn_at = len(known) + max(1, len(known) // LEARN_EVERY)
            self.latest = self._proposer.fit(known.points[rows], targets, kept)
            self._n_known = len(known)
        return self.latest


def _rescaled(before: Floats, now: Floats) -> bool:
    """Say whether some objective's targets have another scale than before."""
    ratio = now / before
    return bool((np.maximum(ratio, 1 / ratio) > RESCALED).any())
