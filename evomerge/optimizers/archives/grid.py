"""An archive whose cells are a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.optimizers.archives.cells import TOLERANCE, CellArchive
from evomerge.optimizers.archives.protocol import Floats, Ranges

EdgeRule: TypeAlias = Literal["upper", "lower"]
"""To which cell a value on the edge between two belongs: 'upper' as in pyribs, 'lower' as in the
released code of CycleQD (`numpy.digitize` with `right=True`)."""

MOST_CELLS: int = 2**62
"""Of a grid; cells are numbered by int64."""


class GridArchive(CellArchive):
    """An elite in each cell of a grid of equal bins.

    Args:
        dims: bins along each measure.
        ranges: lowest and highest value of each measure.
        edge_rule: see `EdgeRule`.

    Raises:
        ValueError: there are no bins, more cells than can be numbered, or an empty range.
    """

    def __init__(
        self, *, dims: Sequence[int], ranges: Ranges, edge_rule: EdgeRule = "upper"
    ) -> None:
        super().__init__(ranges)
        if len(dims) != len(self._ranges) or min(dims) < 1 or math.prod(dims) > MOST_CELLS:
            raise ValueError(
                f"dims: expected {len(self._ranges)} numbers of bins >= 1 with at most 2^62 cells "
                f"in all, got {list(dims)}"
            )
        self.dims = tuple(int(n) for n in dims)
        self._n: Floats = np.array(self.dims, dtype=np.float64)
        self._upper = edge_rule == "upper"

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return math.prod(self.dims)

    @property
    def boundaries(self) -> list[Floats]:
        """The edges of the bins of each measure, shape (bins + 1,) each."""
        return [
            np.linspace(low, high, n + 1)
            for n, (low, high) in zip(self.dims, self._ranges, strict=True)
        ]

    def index_of(self, measures: ArrayLike) -> NDArray[np.int64]:
        """Return the cells of measures (n, n_measures), in the order of C arrays; shape (n,)."""
        position = self._unit(np.asarray(measures, dtype=np.float64)) * self._n
        lower = np.ceil(position - TOLERANCE) - 1
        bins = np.floor(position + TOLERANCE) if self._upper else lower
        inside = np.clip(bins, 0, self._n - 1).astype(np.int64)
        found: NDArray[np.int64] = np.ravel_multi_index(tuple(inside.T), self.dims)
        return found

    def int_to_grid_index(self, index: int) -> tuple[int, ...]:
        """Return the bin along each measure of a cell."""
        return tuple(int(place) for place in np.unravel_index(index, self.dims))
