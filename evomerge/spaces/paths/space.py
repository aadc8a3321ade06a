"""A search space whose recipes are layer paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evomerge.recipe.layout import ParameterCounts
from evomerge.recipe.model import MAX_HOPS, Hop, LayerPath, Recipe, Source
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.spaces.paths.depthwise import DepthwiseGenome
from evomerge.spaces.paths.genome import Genome
from evomerge.spaces.paths.known import known_paths
from evomerge.spaces.paths.pool import Pool
from evomerge.spaces.paths.repair import Guards, layer_of, repaired, with_valid_scales
from evomerge.spaces.paths.sequence import SequenceGenome
from evomerge.spaces.paths.slots import SlotsGenome
from evomerge.spaces.paths.spec import DepthwiseSpec, PathSpec, SlotsSpec
from evomerge.spaces.spec import Origin
from evomerge.types import Genotype


class PathSpace:
    """A `Space` built from a `PathSpec` for the donors of a study.

    Every genotype of its domain means a path: what its genes spell is repaired, never refused.

    Args:
        spec: the declaration.
        context: the models; the base is not in the pool.
        origin: where the declaration stands, for messages.

    Raises:
        SpaceError: the declaration does not fit the models.
    """

    def __init__(self, spec: PathSpec, context: SpaceContext, origin: Origin) -> None:
        self.spec = spec
        self._context = context
        self._pool = Pool.of(context, origin)
        self._guards = Guards.of(
            spec.limits,
            self._pool.depths[0],
            origin,
            fixed_ends=spec.fixed_ends,
            counts=self._counts(),
        )
        self._require_moderate(origin)
        self._genome = self._read_genome(origin)
        genes = self._genome.genes
        if not genes:
            raise origin.error(
                ("path",),
                f"nothing to search: donor '{self._pool.names[0]}' has {self._guards.depth} "
                "layers, both are fixed ends and scales are 'none'",
            )
        if spec.start.at == "random":
            genes = _drawn(genes, context.seed)
        self._domain = Domain(genes, sequence=self._genome.sequence)
        if spec.start.at == "first_donor":
            self._domain = replace(self._domain, seeds=tuple(self._seeds()))

    @property
    def domain(self) -> Domain:
        """Genes, bounds, initial point and seeds."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a recipe; donors the path does not use are left out.

        Raises:
            InvalidGenotype: it has the wrong length, or a value outside its gene's bounds.
        """
        hops = self.path(genotype)
        used = sorted({0, *(hop.model for hop in hops)})
        place = {donor: position for position, donor in enumerate(used)}
        return Recipe(
            merge_method="passthrough",
            models=tuple(Source(model=self._pool.nodes[donor]) for donor in used),
            path=LayerPath(
                hops=tuple(hop.model_copy(update={"model": place[hop.model]}) for hop in hops),
                scaling=self.spec.scaling,
            ),
            dtype=self._context.dtype,
            seed=self._context.seed,
        )

    def path(self, genotype: Genotype) -> tuple[Hop, ...]:
        """Return the repaired path of a genotype, `model` counting through all donors.

        Raises:
            InvalidGenotype: as `decode`.
        """
        values = self._domain.checked(genotype)
        path = repaired(self._genome.hops(values), self._guards)
        return with_valid_scales(
            self._genome.rescaled(path, values),
            self.spec.scaling,
            scale_embedding=self.spec.scale_embedding,
        )

    def _counts(self) -> list[ParameterCounts]:
        """Return what each donor stores; nothing where that is not known of all."""
        found = [self._context.counts(node) for node in self._pool.nodes]
        known = [counts for counts in found if counts is not None]
        return known if len(known) == len(found) else []

    def _require_moderate(self, origin: Origin) -> None:
        """Refuse places that no path could fill."""
        spec, depths = self.spec, self._pool.depths
        key, places = "repeats", 0
        if isinstance(spec, SlotsSpec):
            places = spec.repeats * sum(depths)
        elif isinstance(spec, DepthwiseSpec):
            key, places = "stack", spec.stack * depths[0]
        if places > MAX_HOPS:
            raise origin.error(
                (key,),
                f"makes {places:,} places, and a path has at most {MAX_HOPS:,} hops; lower it",
            )

    def across(self) -> Recipe:
        """Return a path with a layer of every donor, which shows whether their layers fit."""
        nodes = self._pool.nodes
        return Recipe(
            merge_method="passthrough",
            models=tuple(Source(model=node) for node in nodes),
            path=LayerPath(hops=tuple(Hop(model=model, layer=0) for model in range(len(nodes)))),
            dtype=self._context.dtype,
        )

    def _read_genome(self, origin: Origin) -> Genome:
        spec, pool, guards = self.spec, self._pool, self._guards
        if isinstance(spec, SlotsSpec):
            return SlotsGenome(spec, pool)
        if isinstance(spec, DepthwiseSpec):
            return DepthwiseGenome(spec, pool)
        if guards.max_hops is None:
            raise origin.error(
                ("limits",), "a sequence needs a longest path; add max_hops or max_growth"
            )
        own = repaired([Hop(model=d, layer=layer) for d, layer in pool.own], guards)
        return SequenceGenome(spec, pool, guards.max_hops, tuple(map(layer_of, own)))

    def _seeds(self) -> Iterator[Seed]:
        """Yield the known paths that the space can express and the limits allow."""
        seen: set[Genotype] = set()
        for name, steps in known_paths(self._pool):
            genotype = self._genome.spell(steps)
            if genotype is None or genotype in seen:
                continue
            if tuple(map(layer_of, self.path(genotype))) == steps:
                seen.add(genotype)
                yield Seed(name, genotype)


def _drawn(genes: tuple[Gene, ...], seed: int) -> tuple[Gene, ...]:
    """Return the genes around a drawn choice, the likeliest from now on; scales start at 1."""
    random = np.random.default_rng(seed)
    return tuple(
        gene.starting_at(gene.draw(random)) if gene.kind == "categorical" else gene
        for gene in genes
    )
