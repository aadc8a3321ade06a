"""What two parents become: regions of the flat order and a pair of weights in each.

Left of the split the child is the interpolation at t = w, right of it at t = 1 - w. SLERP takes
the angle between the parents over its scope:

    child = sin((1 - t) omega) / sin omega  A  +  sin(t omega) / sin omega  B

and is linear where sin omega <= 1e-6. Norms are not equalised and nothing is renormalised.

Source: Abrantes et al. 2025, arXiv 2508.16204, equation 2, whose angle is that of each part; the
released code takes one angle for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.recipe.order import Granularity, Order, Positions

Operator: TypeAlias = Literal["slerp", "linear"]
AngleScope: TypeAlias = Literal["global", "part", "tensor"]
"""Over what an angle is taken: the whole model, each side of each split, or each tensor (each
group of tensors in layout 'unit')."""

_PARALLEL = 1e-6


@dataclass(frozen=True)
class Regions:
    """Where a child's weights change.

    Attributes:
        ends: one past the last position of each region, shape (n,).
        t: interpolation parameter of each, shape (n,).
        scope: number of the angle that holds in each, shape (n,).
    """

    ends: Positions
    t: NDArray[np.float64]
    scope: NDArray[np.int64]


def draw_splits(
    order: Order, granularity: Granularity, random: np.random.Generator
) -> tuple[int, ...]:
    """Draw a split point in each chromosome, uniformly among those of a granularity."""
    found = []
    for chromosome in order.chromosomes:
        allowed = order.splits(granularity, chromosome)
        if allowed is None:
            found.append(int(random.integers(chromosome.start, chromosome.end)))
        else:
            found.append(int(allowed[random.integers(len(allowed))]))
    return tuple(found)


def regions(
    order: Order, ratios: Sequence[float], splits: Sequence[int] | None, angle: AngleScope
) -> Regions:
    """Lay out a crossover.

    Args:
        order: the flat order.
        ratios: w of each chromosome.
        splits: position in each chromosome from which on w is 1 - w; None splits nowhere.
        angle: over what angles are taken.
    """
    ends: list[int] = []
    t: list[float] = []
    part: list[int] = []
    for number, chromosome in enumerate(order.chromosomes):
        w = ratios[number]
        split = chromosome.end if splits is None else splits[number]
        for side, (first, end, at) in enumerate(
            ((chromosome.start, split, w), (split, chromosome.end, 1 - w))
        ):
            if first < end:
                ends.append(end)
                t.append(at)
                part.append(2 * number + side)
    if angle == "global":
        return Regions(np.array(ends), np.array(t), np.zeros(len(ends), dtype=np.int64))
    if angle == "part":
        return Regions(np.array(ends), np.array(t), np.unique(part, return_inverse=True)[1])
    refined = np.unique(np.concatenate([order.starts[1:], ends]))
    coarse = np.searchsorted(ends, refined, "left")
    block = np.searchsorted(order.starts[1:], refined, "left")
    return Regions(refined, np.array(t)[coarse], block)


def linear_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the parents' weights of a linear interpolation, shape (n_regions, 2)."""
    return np.stack([1 - t, t], axis=1)


def slerp_weights(regions: Regions, products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the parents' weights of a spherical interpolation.

    Args:
        regions: of the crossover.
        products: <a, a>, <a, b> and <b, b> over each region, shape (n_regions, 3).

    Returns:
        Shape (n_regions, 2).
    """
    scopes = regions.scope.tolist()
    sums = [[0.0, 0.0, 0.0] for _ in range(max(scopes) + 1)]
    for scope, row in zip(scopes, products.tolist(), strict=True):
        total = sums[scope]
        for place in range(3):
            total[place] += row[place]
    cosines = [cosine(*total) for total in sums]
    pairs = [
        slerp_pair(cosines[scope], t) for scope, t in zip(scopes, regions.t.tolist(), strict=True)
    ]
    return np.array(pairs)


def cosine(aa: float, ab: float, bb: float) -> float:
    """Return the cosine between two vectors; parents without length count as parallel."""
    if aa <= 0 or bb <= 0:
        return 1.0
    return min(max(ab / (math.sqrt(aa) * math.sqrt(bb)), -1.0), 1.0)


def slerp_pair(cos: float, t: float) -> tuple[float, float]:
    """Return what the two ends are multiplied by."""
    omega = math.acos(cos)
    sine = math.sin(omega)
    if sine <= _PARALLEL:
        return 1 - t, t
    return math.sin((1 - t) * omega) / sine, math.sin(t * omega) / sine
