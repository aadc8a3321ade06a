"""Why a search is over, as its journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evomerge.study.budgets.config import Kind
from evomerge.study.budgets.gauges import Gauge, limit_words


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a search is over.

    Attributes:
        reason: in words.
        budget: the kind of budget that is used up; None where that is not the reason.
    """

    reason: str
    budget: Kind | None = None

    @classmethod
    def of(cls, gauge: Gauge) -> Stop:
        """Return the stop by a budget that is used up."""
        return cls(f"budget: {limit_words(gauge)}", gauge.kind)

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Stop:
        """Read a stop back from its event."""
        return cls(payload["reason"], payload.get("budget"))

    def record(self) -> dict[str, Any]:
        """Return the payload of its event."""
        return {"reason": self.reason} | ({"budget": self.budget} if self.budget else {})
