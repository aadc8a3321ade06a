"""Genotypes as points of the unit cube and as the features a Gaussian process sees.

A point has a coordinate for each gene, `domain.to_unit` of its value. A feature vector has

    numbers        the coordinate, one column
    two choices    0 or 1, one column
    more choices   a column for each, 1/sqrt(2) where it is chosen, so that any two choices are one
                   apart at equal length scales
    one choice     nothing

so that one stationary kernel with a length scale for each column serves domains of every kind: a
column of a method that does not matter gets a long one, and points of different methods inform one
another as far as the data say they should. Genes without effect are at their initial value: two
points that mean the same recipe are one point, and what a conditional gene is worth is learnt from
where it has an effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype

Floats = NDArray[np.float64]


class Encoding:
    """The columns of a domain.

    Args:
        domain: genes of every kind.

    Attributes:
        n_genes: coordinates of a point.
        n_features: columns of a feature vector, at least 1.
        owners: the gene of each column, (n_features,).
        shaped: whether the domain tells where a search starts, beyond its initial point.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._initial = np.array(domain.to_unit(domain.initial))
        self._conditional = any(gene.condition is not None for gene in domain.genes)
        self._discrete = [i for i, gene in enumerate(domain.genes) if gene.kind != "continuous"]
        self.shaped = is_shaped(domain)
        widths = []
        for gene in domain.genes:
            n_choices = len(gene.choices)
            widths.append(1 if gene.kind != "categorical" or n_choices == 2 else n_choices)
            widths[-1] *= gene.kind != "categorical" or n_choices > 1
        self.n_genes = len(domain)
        self.owners = np.repeat(np.arange(self.n_genes), widths)
        if not len(self.owners):  # nothing varies: one column that is constant
            self.owners = np.zeros(1, dtype=np.intp)
        self.n_features = len(self.owners)

    def genotype(self, point: ArrayLike) -> Genotype:
        """Return the canonical genotype of a point, (n_genes,)."""
        return self._domain.from_unit(np.asarray(point, dtype=np.float64).tolist())

    def point(self, genotype: Genotype) -> Floats:
        """Return the point of a genotype, (n_genes,)."""
        return np.array(self._domain.to_unit(genotype))

    def canonical(self, points: Floats) -> Floats:
        """Return points with discrete coordinates amid their bins and genes without effect reset.

        Args:
            points: (n_points, n_genes), within [0, 1].
        """
        if not self._discrete and not self._conditional:
            return points.copy()
        # a float coordinate that has an effect stays as it is: the way over its value rounds
        result = points.copy()
        for row, point in zip(result, points, strict=True):
            values = tuple(
                gene.from_unit(float(unit))
                for gene, unit in zip(self._domain.genes, point, strict=True)
            )
            for index in self._discrete:
                row[index] = self._domain.genes[index].to_unit(values[index])
            if self._conditional:
                without = np.logical_not(self._domain.active(values))
                row[without] = self._initial[without]
        return result

    def features(self, points: Floats) -> Floats:
        """Return the feature vectors of canonical points, (n_points, n_features)."""
        columns = []
        for index, gene in enumerate(self._domain.genes):
            column = points[:, index : index + 1]
            n_choices = len(gene.choices)
            if gene.kind != "categorical":
                columns.append(column)
            elif n_choices > 1:
                chosen = np.minimum((column * n_choices).astype(np.intp), n_choices - 1)
                one_hot = (chosen == np.arange(n_choices)) / np.sqrt(2.0)
                columns.append(chosen.astype(np.float64) if n_choices == 2 else one_hot)
        return np.hstack(columns) if columns else np.zeros((len(points), 1))

    def smooth(self, point: Floats) -> NDArray[np.intp]:
        """Return the genes that a gradient can move at a canonical point: continuous, in effect."""
        active = self._domain.active(self.genotype(point))
        return np.array(
            [
                index
                for index, gene in enumerate(self._domain.genes)
                if gene.kind == "continuous" and active[index]
            ],
            dtype=np.intp,
        )

    def neighbours(self, point: Floats) -> Floats:
        """Return the points one step away in one discrete gene that has an effect, canonical.

        A step is any other choice, or one integer up or down.
        """
        active = self._domain.active(self.genotype(point))
        found = []
        for index in self._discrete:
            gene = self._domain.genes[index]
            if not active[index]:
                continue
            if gene.kind == "categorical":
                units = [(k + 0.5) / len(gene.choices) for k in range(len(gene.choices))]
            else:
                step = 1.0 / (gene.high - gene.low + 1)
                units = [point[index] - step, point[index] + step]
            for unit in units:
                if 0.0 < unit < 1.0 and abs(unit - point[index]) > 1e-9:
                    other = point.copy()
                    other[index] = unit
                    found.append(other)
        return self.canonical(np.array(found).reshape(-1, self.n_genes))

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Draw canonical points from where a search starts, (count, n_genes).

        Uniformly, unless the genes have weights, spreads or conditions.
        """
        if not self.shaped:
            return self.canonical(random.random((count, self.n_genes)))
        drawn = [self._domain.to_unit(self._domain.draw(random)) for _ in range(count)]
        return np.array(drawn).reshape(count, self.n_genes)

    def crossed(self, points: Floats, donors: Floats, taken: NDArray[np.bool_]) -> Floats:
        """Return points with the coordinates that are `taken` from as many others, canonical."""
        return self.canonical(np.where(taken, donors, points))

    def choices_of(self, points: Floats, others: Floats) -> Floats:
        """Return points whose categorical genes are those of as many others."""
        result = points.copy()
        for index, gene in enumerate(self._domain.genes):
            if gene.kind == "categorical":
                result[:, index] = others[:, index]
        return result

    def around(
        self, points: Floats, count: int, random: np.random.Generator, spread: float = 0.1
    ) -> Floats:
        """Draw points near given ones, canonical, (count, n_genes).

        In each about ten genes move: a continuous one by a normal step that is reflected at the
        bounds, a discrete one to any value.
        """
        centres = points[random.integers(len(points), size=count)]
        moves = random.random(centres.shape) < min(1.0, 10.0 / self.n_genes)
        moves[np.arange(count), random.integers(self.n_genes, size=count)] = True
        step = spread * random.standard_normal(centres.shape)
        near = 1.0 - np.abs(1.0 - np.mod(centres + step, 2.0))
        anywhere = random.random(centres.shape)
        near[:, self._discrete] = anywhere[:, self._discrete]
        return self.crossed(centres, near, moves)


def apart(features: Floats, others: Floats, distance: float) -> NDArray[np.bool_]:
    """Say of each feature vector whether it is farther than `distance` from all others.

    Distances are the largest difference in any column.

    Args:
        features: (n, n_features).
        others: (n_others, n_features), maybe none.
        distance: that vectors must exceed.
    """
    if not len(others):
        return np.ones(len(features), dtype=bool)
    nearest = np.array([np.abs(others - row).max(axis=1).min() for row in features])
    return np.asarray(nearest > distance)
