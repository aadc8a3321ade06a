"""The paper's genome: which of T = M r slots are on, and a scale for each slot or pair of layers.

Source: Akiba et al. 2025, arXiv 2403.13187, section 3.2: indicator array I, layers laid out in
order and repeated r times, scales W_ij.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene
from evomerge.spaces.paths.genome import scale_gene, written
from evomerge.spaces.paths.pool import Pool, Step, Steps
from evomerge.spaces.paths.repair import layer_of
from evomerge.spaces.paths.spec import SlotsSpec
from evomerge.types import GeneValue, Genotype

OFF, ON = "off", "on"


class SlotsGenome:
    """T indicators, then T scales ('per_hop') or M x M scales ('matrix').

    Args:
        spec: the declaration.
        pool: whose layers the slots hold.
    """

    sequence = None

    def __init__(self, spec: SlotsSpec, pool: Pool) -> None:
        self.genes: tuple[Gene, ...]
        self._spec = spec
        self._pool = pool
        one_pass = laid_out(pool, spec)
        self._slots = one_pass * spec.repeats
        names = [
            f"{pool.label(step)}.pass{number}"
            for number in range(spec.repeats)
            for step in one_pass
        ]
        genes = [self._indicator(i, name, len(one_pass)) for i, name in enumerate(names)]
        if spec.scales == "per_hop":
            genes += (
                scale_gene(spec, f"scale[{name}]", Condition(i, (ON,)))
                for i, name in enumerate(names)
            )
        elif spec.scales == "matrix":
            labels = [pool.label(step) for step in pool.layers]
            genes += (scale_gene(spec, f"scale[{i}>{j}]") for i in labels for j in labels)
        self.genes = tuple(genes)

    def _indicator(self, slot: int, name: str, n_layers: int) -> Gene:
        start = self._spec.start
        own = slot < n_layers and self._slots[slot][0] == 0
        on = start.own if own else start.other
        return Gene(
            f"slot[{name}]",
            "categorical",
            choices=(OFF, ON),
            initial=ON if own else OFF,
            weights=(1 - on, on),
        )

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return the layers of the slots that are on, with their scales."""
        n_slots, per_hop = len(self._slots), self._spec.scales == "per_hop"
        return [
            Hop(
                model=donor,
                layer=layer,
                scale=float(genotype[n_slots + slot]) if per_hop else 1.0,
            )
            for slot, (donor, layer) in enumerate(self._slots)
            if genotype[slot] == ON
        ]

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
