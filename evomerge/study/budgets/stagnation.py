"""Whether a search has found nothing better for long."""

from __future__ import annotations

from evomerge.pareto import Anchors
from evomerge.study.budgets.config import StagnationConfig
from evomerge.study.standing import Standing


class Stagnation:
    """Follows the value of a search: its best score, or the hypervolume of its front.

    The hypervolume is on the scale of base and donors. Where the first window ends before their
    scores are known, because the space cannot express one or it failed, 0 is the worst and 1 the
    best score of that window in each objective, for the rest of the run. All of it follows from
    what was finished, in that order.

    Args:
        config: how long is long, and what counts as better.
    """

    def __init__(self, config: StagnationConfig) -> None:
        self.config = config
        self._anchors: Anchors | None = None
        self._moments: list[tuple[float, float]] = []
        self._first = 0

    def enter(self) -> None:
        """Begin the next part of the run: its window begins where the one before it ended."""
        self._first = max(0, len(self._moments) - 1)

    def see(self, standing: Standing, spent: float) -> None:
        """Note how a search stands.

        Args:
            standing: its best scores and its front.
            spent: finished trials, or scores of items, whichever the window is counted in.
        """
        value = self._value(standing, spent)
        if value is None:
            return
        self._moments.append((spent, value))
        while value - self._moments[self._first][1] > self.config.min_gain:
            self._first += 1

    @property
    def lasting(self) -> float:
        """How long ago a window began in which nothing was gained, in what it is counted in."""
        if not self._moments:
            return 0.0
        return self._moments[-1][0] - self._moments[self._first][0]

    def _value(self, standing: Standing, spent: float) -> float | None:
        """Return what is to grow; None while it is not known."""
        if len(standing.objectives) == 1:
            (objective,) = standing.objectives
            best = standing.best.get(objective.name)
            return None if best is None else -objective.cost(best)
        if self._anchors is None:
            self._anchors = standing.anchors
        if self._anchors is None and spent >= self.config.window:
            self._anchors = standing.spanned()
        return None if self._anchors is None else standing.hypervolume(self._anchors)
