"""Candidates with what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

USED_UP = float(np.log(10))
"""Candidates are looked for anew where those left are worth so much less than the first one was, as
a logarithm."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Scored candidates.

    Attributes:
        points: canonical, (n_candidates, n_genes).
        worths: by the acquisition function, (n_candidates,).
    """

    points: Floats
    worths: Floats

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.points)

    def first(self, count: int) -> Pool:
        """Return the candidates that are worth most, at most `count`; of equals the earlier."""
        return self.only(np.argsort(-self.worths, kind="stable")[:count])

    def only(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Pool:
        """Return the candidates of a mask, or those of indices in their order."""
        return Pool(self.points[which], self.worths[which])


def joined(pools: Sequence[Pool]) -> Pool:
    """Return the candidates of all pools, in order."""
    return Pool(
        np.vstack([pool.points for pool in pools]), np.concatenate([pool.worths for pool in pools])
    )
