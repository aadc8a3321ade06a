"""The depth-wise genome: at each depth, which donor's layer near it, and its scale.

Paths follow the first donor's depth, so they stay close to a working model: the safe default.

Source: Su & Geiping 2025, arXiv 2502.04030, their depth-wise search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene
from evomerge.spaces.paths.genome import (
    Scaled,
    Scales,
    between_ends,
    weights,
    with_scaled_ends,
    written,
)
from evomerge.spaces.paths.pool import Pool, Steps
from evomerge.spaces.paths.spec import DepthwiseSpec
from evomerge.types import GeneValue, Genotype

SKIP = "skip"


@dataclass(frozen=True, slots=True)
class _Place:
    """One choice: at some depth, one level of the stack.

    Attributes:
        gene: index of the choice.
        name: of the depth and level.
        below: index of the choice it is stacked on; it counts only if that is not 'skip'.
        room: number of layers whose depths come after this one.
        runs: what each choice but 'skip' means.
    """

    gene: int
    name: str
    below: int | None
    room: int
    runs: Mapping[str, Steps]


class DepthwiseGenome:
    """One choice for each depth (or band) and level of the stack, then the scales.

    A scale belongs to the first layer of what is chosen: inside a run of one donor's layers
    nothing is out of its place. What must be a path's first hop has none, see `scale_embedding`.

    Args:
        spec: the declaration.
        pool: whose layers are chosen from.
    """

    sequence = None

    def __init__(self, spec: DepthwiseSpec, pool: Pool) -> None:
        self._spec = spec
        self._pool = pool
        self._places = tuple(self._read_places())
        genes = [self._choice(place) for place in self._places]
        self._scales = Scales(spec, with_scaled_ends(spec, self._scaled()), len(genes))
        self.genes = (*genes, *self._scales.genes)

    def _read_places(self) -> Iterator[_Place]:
        depth = self._pool.depths[0]
        inner = range(1, depth - 1) if self._spec.fixed_ends else range(depth)
        gene = 0
        for first in inner[:: self._spec.band]:
            size = min(self._spec.band, inner.stop - first)
            runs = self._runs(first, size)
            name = str(first) if size == 1 else f"{first}-{first + size - 1}"
            for level in range(self._spec.stack):
                yield _Place(
                    gene,
                    f"{name}.{level + 1}" if level else name,
                    gene - 1 if level else None,
                    inner.stop - first - size,
                    runs,
                )
                gene += 1

    def _scaled(self) -> Iterator[Scaled]:
        for place in self._places:
            if place.gene or self._spec.fixed_ends or self._spec.scale_embedding:
                yield place.name, Condition(place.gene, tuple(place.runs))

    def _runs(self, first: int, size: int) -> dict[str, Steps]:
        """Return what may stand at a depth, by name: for each donor, the nearest layers first.

        A donor of another depth is entered at the same fraction of its own.
        """
        runs: dict[str, Steps] = {}
        span = self._pool.depths[0] - size
        for donor, depth in enumerate(self._pool.depths):
            centre = round(first * (depth - size) / span) if span else 0
            for offset in sorted(range(-self._spec.window, self._spec.window + 1), key=abs):
                start = centre + offset
                if 0 <= start <= depth - size:
                    steps = tuple((donor, layer) for layer in range(start, start + size))
                    runs[self._pool.label((donor, start), size)] = steps
        return runs

    def _choice(self, place: _Place) -> Gene:
        choices = (*place.runs, SKIP)
        start = self._spec.start
        favourite, probability = choices[0], start.own  # the first donor's own layers
        if place.below is not None:
            favourite, probability = SKIP, 1 - start.other
        return Gene(
            f"layer[{place.name}]",
            "categorical",
            choices=choices,
            initial=favourite,
            weights=weights(choices, favourite, probability),
            empty=SKIP,
            condition=None if place.below is None else Condition(place.below, tuple(place.runs)),
        )

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return what is chosen from the first depth to the last."""
        scale = partial(self._scales.of, genotype=genotype)
        path: list[Hop] = []
        used: set[int] = set()
        for place in self._places:
            choice = str(genotype[place.gene])
            if choice == SKIP or (place.below is not None and place.below not in used):
                continue
            used.add(place.gene)
            (donor, first), *rest = place.runs[choice]
            path.append(Hop(model=donor, layer=first, scale=scale(place.name)))
            path += (Hop(model=donor, layer=layer) for donor, layer in rest)
        if not self._spec.fixed_ends:
            return path
        return between_ends(path, self._pool.depths[0], scale)

    def rescaled(self, path: Sequence[Hop], genotype: Genotype) -> Sequence[Hop]:  # noqa: ARG002
        """Return the path: each scale stays with its layer."""
        return path

    def spell(self, steps: Steps) -> Genotype | None:
        """Choose at each depth what comes next, and stack only what later depths cannot hold."""
        if self._spec.fixed_ends:
            steps = steps[1:-1]
        values: dict[int, GeneValue] = {}
        for place in self._places:
            below = place.below
            if below is not None and (values[below] == SKIP or len(steps) <= place.room):
                values[place.gene] = SKIP
                continue
            fits = (name for name, run in place.runs.items() if run == steps[: len(run)])
            values[place.gene] = choice = next(fits, SKIP)
            steps = steps[len(place.runs.get(choice, ())) :]
        return None if steps else written(self.genes, values)
