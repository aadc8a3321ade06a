"""How elites are chosen as parents.

    paper           P(elite) ~ prod over axes v of  a_low + norm(v) (a_high - a_low)
    released code   P(elite) ~ prod over axes v of  a_low + norm(v) a_high

The axes are the quality and each measure, norm is min-max over the members. With [0.5, 0.8] one
member is drawn at most (0.8 / 0.5)^3 = 4.096 times as often as another over three axes by the
paper's formula, (1.3 / 0.5)^3 = 17.576 times by that of the released code, which takes the cell's
numbers for measures. An axis that does not vary has no influence.

Source: Kuroki et al. 2025, "Agent Skill Acquisition for Large Language Models via CycleQD",
arXiv 2410.14735.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.archives import Archive, GridArchive

Sampler: TypeAlias = Literal["elite", "elite-code", "random"]
Floats: TypeAlias = NDArray[np.float64]


def weights(archive: Archive, sampler: Sampler, low: float, high: float) -> Floats:
    """Return how often each member is drawn, shape (n_members,), up to a factor.

    Args:
        archive: of the members, in the order of its data.
        sampler: 'elite' of the paper, 'elite-code' of the released code, 'random' uniformly.
        low: a_low.
        high: a_high.
    """
    data = archive.data()
    if sampler == "random":
        return np.ones(len(data["solution"]))
    measures: Floats = data["measures"]
    if sampler == "elite-code" and isinstance(archive, GridArchive):
        bins = [archive.int_to_grid_index(int(index)) for index in data["index"]]
        measures = np.array(bins, dtype=np.float64)
    axes = np.column_stack([data["objective"], measures])
    factor = high if sampler == "elite-code" else high - low
    product: Floats = np.prod(pressures(axes, low, factor), axis=1)
    return product


def pressures(axes: Floats, low: float, factor: float) -> Floats:
    """Return low + norm(v) factor of each member and axis, 1 where an axis does not vary.

    Args:
        axes: shape (n_members, n_axes).
        low: what the lowest value counts.
        factor: how much more the highest counts.
    """
    least, span = axes.min(axis=0), np.ptp(axes, axis=0)
    norm = (axes - least) / np.where(span > 0, span, 1.0)
    return np.where(span > 0, low + norm * factor, 1.0)
