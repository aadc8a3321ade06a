"""Drawing individuals by their chances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float64]


def draw(chances: Chances, random: np.random.Generator) -> int:
    """Draw a place with the given chances; uniformly where all are 0.

    Args:
        chances: not negative, in any unit, shape (n,).
        random: source of one number.
    """
    chances = chances if chances.any() else np.ones(len(chances))
    bounds = np.cumsum(chances)
    place = int(np.searchsorted(bounds, random.random() * bounds[-1], "right"))
    return min(place, int(np.flatnonzero(chances)[-1]))  # next to nothing may round up to all


def draw_pair(chances: Chances, random: np.random.Generator) -> tuple[int, int]:
    """Draw two different places, the second by the chances of those that are left."""
    first = draw(chances, random)
    rest = chances.copy()
    rest[first] = 0.0
    return first, draw(rest, random)
