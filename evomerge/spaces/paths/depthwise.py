"""The depth-wise genome: at each depth, which donor's layer near it, and its scale.

Paths follow the first donor's depth, so they stay close to a working model: the safe default.

Source: Su & Geiping 2025, arXiv 2502.04030, their depth-wise search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evomerge.recipe.model import Hop
from evomerge.spaces.domain import Condition, Gene
from evomerge.spaces.paths.genome import scale_gene, weights, written
from evomerge.spaces.paths.pool import Pool, Steps
from evomerge.spaces.paths.spec import DepthwiseSpec
from evomerge.types import GeneValue, Genotype

SKIP = "skip"
FIRST, LAST = "first", "last"


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
        self._scales: dict[str, int] = {}
        for name, condition in self._scaled():
            self._scales[name] = len(genes)
            genes.append(scale_gene(spec, f"scale[{name}]", condition))
        self.genes = tuple(genes)

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

    def _scaled(self) -> Iterator[tuple[str, Condition | None]]:
        """Yield what has a scale, by name, and when."""
        spec = self._spec
        if spec.scales == "none":
            return
        if spec.fixed_ends and spec.scale_embedding:
            yield FIRST, None
        for place in self._places:
            if place.gene or spec.fixed_ends or spec.scale_embedding:
                yield place.name, Condition(place.gene, tuple(place.runs))
        if spec.fixed_ends:
            yield LAST, None

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
            condition=None if place.below is None else Condition(place.below, tuple(place.runs)),
        )

    def hops(self, genotype: Genotype) -> list[Hop]:
        """Return what is chosen from the first depth to the last."""
        path: list[Hop] = []
        used: set[int] = set()
        for place in self._places:
            choice = str(genotype[place.gene])
            if choice == SKIP or (place.below is not None and place.below not in used):
                continue
            used.add(place.gene)
            (donor, first), *rest = place.runs[choice]
            path.append(Hop(model=donor, layer=first, scale=self._scale(place.name, genotype)))
            path += (Hop(model=donor, layer=layer) for donor, layer in rest)
        if self._spec.fixed_ends:
            last = self._pool.depths[0] - 1
            path.insert(0, Hop(model=0, layer=0, scale=self._scale(FIRST, genotype)))
            path.append(Hop(model=0, layer=last, scale=self._scale(LAST, genotype)))
        return path

    def _scale(self, name: str, genotype: Genotype) -> float:
        return float(genotype[self._scales[name]]) if name in self._scales else 1.0

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
