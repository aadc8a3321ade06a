"""The free genome: at each position any layer of any donor, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene, HopSequence
from evomerge.spaces.paths.genome import scale_gene, weights, written
from evomerge.spaces.paths.pool import Pool, Steps
from evomerge.spaces.paths.spec import SequenceSpec
from evomerge.types import GeneValue, Genotype

EMPTY = "-"


class SequenceGenome:
    """One layer for each position, then their scales.

    Args:
        spec: the declaration.
        pool: whose layers a position may hold.
        n_positions: longest sequence.
        start: the layers a search starts with, at most as many.
    """

    def __init__(self, spec: SequenceSpec, pool: Pool, n_positions: int, start: Steps) -> None:
        self._spec = spec
        self._pool = pool
        self._start = start
        self._n_positions = n_positions
        choices = (EMPTY, *map(pool.label, pool.layers))
        genes = [self._element(position, choices) for position in range(n_positions)]
        attributes: tuple[tuple[int, ...], ...] = ((),) * n_positions
        if spec.scales != "none":
            genes += (
                scale_gene(spec, f"scale[{position}]", Condition(position, choices[1:]))
                for position in range(n_positions)
            )
            attributes = tuple((n_positions + position,) for position in range(n_positions))
        self.genes = tuple(genes)
        self.sequence = HopSequence(tuple(range(n_positions)), attributes, EMPTY)

    def _element(self, position: int, choices: tuple[str, ...]) -> Gene:
        favourite, probability = EMPTY, 1 - self._spec.start.other
        if position < len(self._start):
            favourite, probability = self._pool.label(self._start[position]), self._spec.start.own
        return Gene(
            f"hop[{position}]",
            "categorical",
            choices=choices,
            initial=favourite,
            weights=weights(choices, favourite, probability),
        )

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return the layers in order; empty positions do not count, wherever they stand."""
        layers = dict(zip(self.genes[0].choices[1:], self._pool.layers, strict=True))
        scaled = self._spec.scales != "none"
        path: list[Hop] = []
        for position in range(self._n_positions):
            if genotype[position] != EMPTY:
                donor, layer = layers[str(genotype[position])]
                scale = float(genotype[self._n_positions + position]) if scaled else 1.0
                path.append(Hop(model=donor, layer=layer, scale=scale))
        return path

    def rescaled(self, path: Sequence[Hop], genotype: Genotype) -> Sequence[Hop]:  # noqa: ARG002
        """Return the path: each scale stays with its layer."""
        return path

    def spell(self, steps: Steps) -> Genotype | None:
        """Write the layers from the first position on."""
        if len(steps) > self._n_positions:
            return None
        values: dict[int, GeneValue] = dict.fromkeys(range(self._n_positions), EMPTY)
        values |= {position: self._pool.label(step) for position, step in enumerate(steps)}
        return written(self.genes, values)
