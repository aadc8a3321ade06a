"""How many trials a node of Nested MAP gets, and whether these are few."""

from __future__ import annotations

import itertools

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import integer
from evomerge.optimizers.map.quadratic import n_coefficients
from evomerge.optimizers.map.search import SPARE

POINTS = 20
FEWEST_POINTS = 6
CARRIED = 4


def points_of(given: int | None, budget: int | None, n_known: int, n_donors: int) -> int:
    """Return the trials of a node.

    Args:
        given: what the user asks for.
        budget: of trials.
        n_known: trials of known points.
        n_donors: of whom all but one need a node.

    Raises:
        ConfigError: the budget does not reach the root.
    """
    if given is not None:
        points = integer("points", given, FEWEST_POINTS)
    elif budget is None:
        points = POINTS
    else:
        points = min(POINTS, (budget - n_known) // (n_donors - 1))
    needed = n_known + max(points, FEWEST_POINTS) * (n_donors - 1)
    if budget is not None and (points < FEWEST_POINTS or budget < needed):
        raise ConfigError(
            [
                f"optimizer: 'nested_map' with {n_donors} donors needs {needed} trials, "
                f"{max(points, FEWEST_POINTS)} for each of {n_donors - 1} merges and {n_known} "
                f"known points, got {budget}; use mobo or nsga2"
            ]
        )
    return points


def versions_of(points: int) -> int:
    """Return how many of a node's trials are versions that its surrogates chose."""
    return max(1, min(CARRIED, points // 3))


def notes_of_small(
    points: int, carried: int, n_known: int, n_donors: int, *, by_default: bool
) -> list[str]:
    """Say so where a merge of two nodes is fitted to few points.

    These are its design, the base and what is known of its sides by themselves: that of a donor
    and of a node of one version. With four donors there may be a merge of neither.

    Args:
        points: trials of a node.
        carried: of these, versions that its surrogates chose.
        n_known: trials of known points.
        n_donors: how many.
        by_default: `carried` follows from the points.
    """
    p = n_coefficients(2)
    others = 3 if carried == 1 else 1 + max(0, 4 - n_donors)
    have = points - carried + others
    if have >= p + SPARE:
        return []
    enough = next(
        more
        for more in itertools.count(points)
        if more - (versions_of(more) if by_default else carried) + others >= p + SPARE
    )
    trials = n_known + enough * (n_donors - 1)
    return [
        f"nested_map: with {points} points a node some surrogates may have {p} "
        f"coefficients from {have} points, which leaves little or nothing to judge them by; "
        f"{trials} trials allow {enough} points a node, and {p + SPARE} for every surrogate"
    ]
