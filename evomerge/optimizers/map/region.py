"""Where surrogates are fitted and where they may be searched, on the unit cube of a domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evomerge.errors import ConfigError
from evomerge.optimizers.starting import start_box
from evomerge.spaces.domain import Domain

Floats = npt.NDArray[np.float64]

MARGIN = 0.1
"""How far beyond the sampled box proposals may lie, as a share of its width, on each side."""
NEAR_FACE = 0.05
CROWDED = 0.2
EXTENSION = 0.25


@dataclass(frozen=True)
class Region:
    """A box that was sampled, and the larger one that is searched.

    Attributes:
        low: of the sampled box, (n_genes,), in [0, 1].
        high: the same.
        margin: how far the search may leave it on each side, as a share of its width.
    """

    low: Floats
    high: Floats
    margin: float = MARGIN

    @classmethod
    def of(cls, domain: Domain, box: Sequence[float] | None, margin: float = MARGIN) -> Region:
        """Return the region of a box given in the genes' own units.

        By default the start box of the domain.

        Raises:
            ConfigError: it is no pair of numbers, or has no room inside some gene's bounds.
        """
        if box is None:
            low, high = start_box(domain)
            return cls(np.array(low), np.array(high), margin)
        values = list(box) if isinstance(box, Sequence) else []
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if len(values) != 2 or not numbers or not values[0] < values[1]:
            raise ConfigError([f"box: expected [least, greatest] of every gene, got {box!r}"])
        least_units, greatest_units = [], []
        for gene in domain.genes:
            least, greatest = max(values[0], gene.low), min(values[1], gene.high)
            if not least < greatest:
                bounds = [gene.low, gene.high]
                raise ConfigError([f"box: {values} lies outside gene '{gene.name}', {bounds}"])
            least_units.append(gene.to_unit(least))
            greatest_units.append(gene.to_unit(greatest))
        # an integer gene maps to the middle of its bins: its outermost bins reach to the faces
        return cls(np.array(least_units), np.array(greatest_units), margin)

    @property
    def searched(self) -> tuple[Floats, Floats]:
        """Lower and upper corner of what is searched: never outside the domain."""
        reach = self.margin * (self.high - self.low)
        return np.maximum(self.low - reach, 0.0), np.minimum(self.high + reach, 1.0)

    def sample(self, unit: Floats) -> Floats:
        """Map points of the unit cube into the sampled box."""
        return np.asarray(self.low + unit * (self.high - self.low))

    def crowded_faces(self, front: Floats) -> list[tuple[int, bool]]:
        """List (gene, upper) of each face that a fifth of a front's points lie within 5 % of.

        Faces of the domain itself do not count: nothing lies behind them.

        Args:
            front: (n_points, n_genes).
        """
        low, high = self.searched
        near = NEAR_FACE * (high - low)
        faces = []
        for gene in range(len(low)):
            below = (front[:, gene] <= low[gene] + near[gene]).mean()
            above = (front[:, gene] >= high[gene] - near[gene]).mean()
            if below >= CROWDED and self.low[gene] > 0:
                faces.append((gene, False))
            if above >= CROWDED and self.high[gene] < 1:
                faces.append((gene, True))
        return faces

    def extended(self, faces: Sequence[tuple[int, bool]]) -> Region:
        """Move these faces of the sampled box out by a quarter of its width."""
        low, high = self.low.copy(), self.high.copy()
        width = self.high - self.low
        for gene, upper in faces:
            if upper:
                high[gene] = min(high[gene] + EXTENSION * width[gene], 1.0)
            else:
                low[gene] = max(low[gene] - EXTENSION * width[gene], 0.0)
        return replace(self, low=low, high=high)

    def added(self, larger: Region, face: tuple[int, bool]) -> Region:
        """Return the slab behind one face that a larger region adds to this one."""
        gene, upper = face
        low, high = larger.low.copy(), larger.high.copy()
        if upper:
            low[gene] = self.high[gene]
        else:
            high[gene] = self.low[gene]
        return Region(low, high, 0.0)
