"""The paper's genome: which of T = M r slots are on, and a scale for each slot or pair of layers.

Fixed ends are slots that are on in every path: the first donor's first and last layer in the first
pass. They have no indicator; what is on stands between them.

Source: Akiba et al. 2025, arXiv 2403.13187, section 3.2: indicator array I, layers laid out in
order and repeated r times, scales W_ij.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene
from evomerge.spaces.paths.genome import (
    Scaled,
    Scales,
    between_ends,
    scale_gene,
    with_scaled_ends,
    written,
)
from evomerge.spaces.paths.pool import Pool, Step, Steps
from evomerge.spaces.paths.repair import layer_of
from evomerge.spaces.paths.spec import SlotsSpec
from evomerge.types import GeneValue, Genotype

OFF, ON = "off", "on"


class SlotsGenome:
    """Indicators, then a scale for each ('per_hop') or M x M scales ('matrix').

    Args:
        spec: the declaration.
        pool: whose layers the slots hold.
    """

    sequence = None

    def __init__(self, spec: SlotsSpec, pool: Pool) -> None:
        self._spec = spec
        self._pool = pool
        ends = ((0, 0), (0, pool.depths[0] - 1)) if spec.fixed_ends else ()
        free = [
            (number, step)
            for number in range(spec.repeats)
            for step in laid_out(pool, spec)
            if number or step not in ends
        ]
        self._slots = tuple(step for _, step in free)
        self._names = [f"{pool.label(step)}.pass{number}" for number, step in free]
        genes = [
            self._indicator(name, own=number == 0 and step[0] == 0)
            for name, (number, step) in zip(self._names, free, strict=True)
        ]
        self._scales = Scales(spec, with_scaled_ends(spec, self._scaled()), len(genes))
        genes += self._scales.genes
        if spec.scales == "matrix":
            labels = [pool.label(step) for step in pool.layers]
            genes += (scale_gene(spec, f"scale[{i}>{j}]") for i in labels for j in labels)
        self.genes = tuple(genes)

    def _scaled(self) -> Iterator[Scaled]:
        for slot, name in enumerate(self._names):
            yield name, Condition(slot, (ON,))

    def _indicator(self, name: str, *, own: bool) -> Gene:
        on = self._spec.start.own if own else self._spec.start.other
        return Gene(
            f"slot[{name}]",
            "categorical",
            choices=(OFF, ON),
            initial=ON if own else OFF,
            weights=(1 - on, on),
            empty=OFF,
        )

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return the layers of the slots that are on, with their scales."""
        scale = partial(self._scales.of, genotype=genotype)
        path = [
            Hop(model=donor, layer=layer, scale=scale(self._names[slot]))
            for slot, (donor, layer) in enumerate(self._slots)
            if genotype[slot] == ON
        ]
        return between_ends(path, self._pool.depths[0], scale) if self._spec.fixed_ends else path

    def rescaled(self, path: Sequence[Hop], genotype: Genotype) -> Sequence[Hop]:
        """Scale each hop by W_ij, i the layer before it, where there is a matrix."""
        if self._spec.scales != "matrix":
            return path
        layers = self._pool.layers
        row = {step: len(self._slots) + i * len(layers) for i, step in enumerate(layers)}
        column = {step: j for j, step in enumerate(layers)}
        scales = [1.0]
        for before, hop in itertools.pairwise(path):
            scales.append(float(genotype[row[layer_of(before)] + column[layer_of(hop)]]))
        return [
            hop.model_copy(update={"scale": scale}) for hop, scale in zip(path, scales, strict=True)
        ]

    def spell(self, steps: Steps) -> Genotype | None:
        """Turn on the earliest slots that hold these layers in this order."""
        if self._spec.fixed_ends:
            steps = steps[1:-1]
        values: dict[int, GeneValue] = dict.fromkeys(range(len(self._slots)), OFF)
        slot = 0
        for step in steps:
            while slot < len(self._slots) and self._slots[slot] != step:
                slot += 1
            if slot == len(self._slots):
                return None
            values[slot] = ON
            slot += 1
        return written(self.genes, values)


def laid_out(pool: Pool, spec: SlotsSpec) -> Steps:
    """Return the pool's layers in the order of one pass."""

    def place(step: Step) -> tuple[int, int]:
        donor, layer = step
        if spec.order == "interleaved":
            return layer, donor
        return (-donor if spec.order == "reversed" else donor), layer

    return tuple(sorted(pool.layers, key=place))
