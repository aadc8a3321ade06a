"""Which range of a metric is cut into cells.

Ranges follow from the points that a search begins with: from 15 % below the weakest to 15 % above
the strongest, of their own absolute values. Metrics are counted so that larger is better: those of
minimised objectives with the opposite sign.

Source: Kuroki et al. 2025, arXiv 2410.14735; its rule is 85 % of the weakest to 115 % of the
strongest expert, which is the same for metrics that are not negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from evomerge.errors import ConfigError, nearest
from evomerge.optimizers.arguments import by_name
from evomerge.types import Objective

Range: TypeAlias = tuple[float, float]

MARGIN = 0.15


def derived_range(values: Sequence[float]) -> Range:
    """Return from 15 % below the lowest to 15 % above the highest, of their absolute values."""
    low, high = min(values), max(values)
    return low - MARGIN * abs(low), high + MARGIN * abs(high)


def quality_ranges(
    objectives: Sequence[Objective], ranges: Mapping[str, Sequence[float]] | None
) -> dict[str, Range]:
    """Return ranges given in the user's sign with the sign by which larger is better.

    Raises:
        ConfigError: there is no such objective, or a range is not [low, high].
    """
    goals = {objective.name: objective.goal for objective in objectives}
    given = {} if ranges is None else by_name("ranges", ranges, "objective: [low, high]")
    found: dict[str, Range] = {}
    problems = []
    for name, pair in given.items():
        if name not in goals:
            problems.append(f"ranges: there is no objective '{name}'; {nearest(name, goals)}")
        elif not _is_range(pair):
            problems.append(f"ranges.{name}: expected [low, high] with low < high, got {pair!r}")
        else:
            low, high = float(pair[0]), float(pair[1])
            found[name] = (low, high) if goals[name] == "maximize" else (-high, -low)
    if problems:
        raise ConfigError(problems)
    return found


def _is_range(pair: object) -> bool:
    return (
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and all(
            isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
            for end in pair
        )
        and pair[0] < pair[1]
    )
