"""The free genome: at each position any layer of any donor, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene, HopSequence
from evomerge.spaces.paths.genome import (
    Scaled,
    Scales,
    between_ends,
    weights,
    with_scaled_ends,
    written,
)
from evomerge.spaces.paths.pool import Pool, Steps
from evomerge.spaces.paths.spec import SequenceSpec
from evomerge.types import GeneValue, Genotype

EMPTY = "-"


class SequenceGenome:
    """One layer for each position, then their scales; fixed ends stand around the positions.

    Args:
        spec: the declaration.
        pool: whose layers a position may hold.
        max_hops: longest path.
        start: the path a search starts with, at most as long.
    """

    def __init__(self, spec: SequenceSpec, pool: Pool, max_hops: int, start: Steps) -> None:
        self._spec = spec
        self._pool = pool
        self._start = start[1:-1] if spec.fixed_ends else start
        self._n_positions = n_positions = max_hops - (2 if spec.fixed_ends else 0)
        self._choices = (EMPTY, *map(pool.label, pool.layers))
        elements = [self._element(position) for position in range(n_positions)]
        self._scales = Scales(spec, with_scaled_ends(spec, self._scaled()), n_positions)
        self.genes = (*elements, *self._scales.genes)
        self.sequence = self._spelled(tuple(range(n_positions))) if n_positions else None

    def _element(self, position: int) -> Gene:
        favourite, probability = EMPTY, 1 - self._spec.start.other
        if position < len(self._start):
            favourite, probability = self._pool.label(self._start[position]), self._spec.start.own
        return Gene(
            f"hop[{position}]",
            "categorical",
            choices=self._choices,
            initial=favourite,
            weights=weights(self._choices, favourite, probability),
            empty=EMPTY,
        )

    def _scaled(self) -> Iterator[Scaled]:
        for position in range(self._n_positions):
            yield str(position), Condition(position, self._choices[1:])

    def _spelled(self, positions: tuple[int, ...]) -> HopSequence:
        of = {
            gene.condition.gene: (index,)
            for index, gene in enumerate(self.genes)
            if gene.condition is not None
        }
        return HopSequence(positions, tuple(of.get(position, ()) for position in positions))

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return the layers in order; empty positions do not count, wherever they stand."""
        layers = dict(zip(self._choices[1:], self._pool.layers, strict=True))
        scale = partial(self._scales.of, genotype=genotype)
        path: list[Hop] = []
        for position in range(self._n_positions):
            if genotype[position] != EMPTY:
                donor, layer = layers[str(genotype[position])]
                path.append(Hop(model=donor, layer=layer, scale=scale(str(position))))
        return between_ends(path, self._pool.depths[0], scale) if self._spec.fixed_ends else path

    def rescaled(self, path: Sequence[Hop], genotype: Genotype) -> Sequence[Hop]:  # noqa: ARG002
        """Return the path: each scale stays with its layer."""
        return path

    def spell(self, steps: Steps) -> Genotype | None:
        """Write the layers from the first position on."""
        if self._spec.fixed_ends:
            steps = steps[1:-1]
        if len(steps) > self._n_positions:
            return None
        values: dict[int, GeneValue] = dict.fromkeys(range(self._n_positions), EMPTY)
        values |= {position: self._pool.label(step) for position, step in enumerate(steps)}
        return written(self.genes, values)
