"""An archive whose cells are those of a centroidal Voronoi tessellation.

Where a grid would have more cells than a search has evaluations, the number of cells is chosen
and the cells are spread evenly: CVT-MAP-Elites (Vassiliades, Chatzilygeroudis and Mouret 2018,
arXiv 1610.05729). Centroids are those of k-means (Lloyd's algorithm) over uniform points.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from evomerge.optimizers.archives.cells import CellArchive
from evomerge.optimizers.archives.protocol import Floats, Ranges

_POINTS_A_CELL = 50
_STEPS = 50


class CvtArchive(CellArchive):
    """An elite nearest to each centroid.

    Args:
        cells: how many.
        ranges: lowest and highest value of each measure.
        seed: of the points that k-means clusters.

    Raises:
        ValueError: there is no cell, or an empty range.
    """

    def __init__(self, *, cells: int, ranges: Ranges, seed: int = 0) -> None:
        super().__init__(ranges)
        if cells < 1:
            raise ValueError(f"cells: expected at least 1, got {cells}")
        self._units = centroids(cells, len(self._ranges), seed)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self._units)

    @property
    def centroids(self) -> Floats:
        """The centre of each cell, shape (cells, n_measures)."""
        low, high = self.lower_bounds, self.upper_bounds
        centres: Floats = low + self._units * (high - low)
        return centres

    def index_of(self, measures: ArrayLike) -> NDArray[np.int64]:
        """Return the nearest centroids, of equals the first; distances are shares of ranges."""
        unit = np.clip(self._unit(np.asarray(measures, dtype=np.float64)), 0.0, 1.0)
        nearest = np.argmin(cdist(unit, self._units, "sqeuclidean"), axis=1)
        found: NDArray[np.int64] = nearest.astype(np.int64)
        return found


@lru_cache(maxsize=32)
def centroids(cells: int, n_measures: int, seed: int = 0) -> Floats:
    """Spread points evenly over the unit box.

    Args:
        cells: how many.
        n_measures: dimension of the box.
        seed: of the uniform points that are clustered.

    Returns:
        Shape (cells, n_measures), read-only.
    """
    random = np.random.default_rng([seed, cells, n_measures])
    points = random.random((_POINTS_A_CELL * cells, n_measures))
    found = points[:cells].copy()
    for _ in range(_STEPS):
        owner = KDTree(found).query(points)[1]
        count = np.bincount(owner, minlength=cells)
        sums = np.stack(
            [np.bincount(owner, weights=column, minlength=cells) for column in points.T], axis=1
        )
        held = count > 0  # a centroid without points stays where it is
        moved = found.copy()
        moved[held] = sums[held] / count[held, None]
        if np.array_equal(moved, found):
            break
        found = moved
    found.setflags(write=False)
    return found
