"""Costs as algorithms see them: bounded, and with a place for failures."""

from __future__ import annotations

from collections.abc import Sequence

LARGEST_COST = 1e75
"""Costs beyond ±1e75 count as ties, so that differences, squares and volumes of up to four
objectives stay finite inside the libraries."""

_RESOLUTION = 2**-50  # a few steps of float64: what a large cost can be exceeded by


def bounded(cost: float) -> float:
    """Return a finite cost within the range that every library handles."""
    return min(max(cost, -LARGEST_COST), LARGEST_COST)


def ranked_costs(costs: Sequence[float | None]) -> list[float] | None:
    """Give failures (None) a finite cost above every other, or None if there is nothing to rank.

    There is nothing to rank when no two completed costs differ. A failure costs the worst of its
    generation plus the generation's range.
    """
    known = [bounded(cost) for cost in costs if cost is not None]
    if not known or min(known) == max(known):
        return None
    worst = max(known)
    failed = worst + max(worst - min(known), abs(worst) * _RESOLUTION)
    return [failed if cost is None else bounded(cost) for cost in costs]


def ranks(costs: Sequence[float], tie_breaks: Sequence[float]) -> list[float] | None:
    """Return the place of each cost from 0.0, the best, without ties; None if all costs are equal.

    Equal costs are ordered by `tie_breaks`, smaller first, then as they stand.
    """
    if min(costs) == max(costs):
        return None
    order = sorted(range(len(costs)), key=lambda index: (costs[index], tie_breaks[index]))
    places = [0.0] * len(costs)
    for place, index in enumerate(order):
        places[index] = float(place)
    return places
