"""How fast a search goes, and when its budget will be used up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evomerge.study import Progress
    from evomerge.study.budgets.config import Kind
    from evomerge.study.budgets.gauges import Gauge

RECENT = 40
"""Rates are those of the last so many finished trials."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a search is expected to end, as things go now.

    Attributes:
        left_s: in how many seconds.
        kind: of the budget that is used up first.
    """

    left_s: float
    kind: Kind


class Pace:
    """Watches the steps of a session.

    Args:
        clock: returns seconds, such as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, dict[Kind, float]]] = deque(maxlen=RECENT + 1)
        self._gauges: tuple[Gauge, ...] = ()
        self._seen_at = clock()

    def see(self, step: Progress) -> None:
        """Note a step; what was replayed tells nothing of how fast it goes."""
        if not step.gauges:
            return
        self._gauges, self._seen_at = step.gauges, self._clock()
        if not step.replayed:
            used: dict[Kind, float] = {one.kind: one.used for one in step.gauges}
            self._recent.append((self._seen_at, {**used, "trials": step.finished}))

    @property
    def trials_per_s(self) -> float | None:
        """Finished trials a second; None before there are two of them."""
        return self._rate("trials")

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """The budgets as they stand now: those of time go on between the steps."""
        passed = self._clock() - self._seen_at
        return tuple(
            replace(one, used=one.used + (one.per_s or 0.0) * passed) for one in self._gauges
        )

    def ending(self) -> Ending | None:
        """Return what ends the search first; None while nothing tells.

        How long nothing is going to be found cannot be told, so a budget of stagnation counts for
        nothing here.
        """
        found = []
        for gauge in self.gauges:
            rate = self._rate(gauge.kind) if gauge.per_s is None else gauge.per_s
            if rate and gauge.kind != "stagnation":
                found.append(Ending(max(0.0, (gauge.limit - gauge.used) / rate), gauge.kind))
        return min(found, key=lambda one: one.left_s, default=None)

    def _rate(self, kind: Kind) -> float | None:
        if len(self._recent) < 2:
            return None
        (begun, first), (now, last) = self._recent[0], self._recent[-1]
        passed, gained = now - begun, last.get(kind, 0.0) - first.get(kind, 0.0)
        return gained / passed if passed > 0 and gained > 0 else None
