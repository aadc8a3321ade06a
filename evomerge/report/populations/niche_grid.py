"""An archive seen along two of its measures, the best of the others kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.archives.watch import NicheMap


@dataclass(frozen=True, slots=True)
class Sheet:
    """A grid along one or two measures.

    Attributes:
        x: index of the measure along the columns.
        y: index of the measure along the rows; None for an archive of one measure.
        quality: the highest of the cells that fall together, NaN where all are empty; shape
            (n_rows, n_columns).
        trials: who has it, -1 where nobody does; the same shape.
    """

    x: int
    y: int | None
    quality: NDArray[np.float64]
    trials: NDArray[np.int64]


def axis_pairs(one: NicheMap) -> list[tuple[int, int | None]]:
    """Return the pairs of measures of an archive; a single measure is paired with None."""
    if len(one.axes) == 1:
        return [(0, None)]
    return list(combinations(range(len(one.axes)), 2))


def sheet(one: NicheMap, x: int, y: int | None) -> Sheet:
    """Project an archive with a grid on two of its measures, maximising over the others.

    Args:
        one: the archive; its bins say how many cells there are along each measure.
        x: index of the measure along the columns.
        y: index of the measure along the rows; None for one row.
    """
    shape = (1 if y is None else one.bins[y], one.bins[x])
    quality = np.full(shape, np.nan)
    trials = np.full(shape, -1, dtype=np.int64)
    for niche in sorted(one.niches, key=lambda niche: niche.trial):
        if niche.cell is None:
            continue
        place = (0 if y is None else niche.cell[y], niche.cell[x])
        if not quality[place] >= niche.quality:  # NaN is not
            quality[place] = niche.quality
            trials[place] = niche.trial
    return Sheet(x, y, quality, trials)


def edges(one: NicheMap, axis: int) -> NDArray[np.float64]:
    """Return the borders of the cells along a measure, shape (bins + 1,)."""
    return np.linspace(*one.bounds[axis], one.bins[axis] + 1)
