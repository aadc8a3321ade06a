"""Coefficients and a path in one genotype: a merge, and the way through it and its donors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evomerge.errors import nearest
from evomerge.recipe.model import Recipe
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Condition, Domain, Gene, HopSequence, Seed
from evomerge.spaces.paths.space import PathSpace
from evomerge.spaces.paths.spec import JointSpec
from evomerge.spaces.paths.through import through
from evomerge.spaces.spec import Origin
from evomerge.types import Genotype

MERGED = "merged"


class JointSpace:
    """A `Space` built from a `JointSpec`: the merge's genes, then the path's.

    Args:
        spec: the declaration.
        context: the models.
        origin: where the declaration stands, for messages.

    Raises:
        SpaceError: the declaration does not fit the models.
    """

    def __init__(self, spec: JointSpec, context: SpaceContext, origin: Origin) -> None:
        self.spec = spec
        self._merge = DeclaredSpace(spec.merge, context, _below(origin, "merge"))
        donors = {name: context.donors[name] for name in _chosen(spec, context, origin)}
        # any merge of the space stands for all of them: only its size is asked for
        merged = self._merge.decode(self._merge.domain.initial)
        pool = replace(context, donors={MERGED: merged, **donors})
        self._layers = PathSpace(spec.layers, pool, _below(origin, "layers"))
        self._n_merge = len(self._merge.domain)
        self._domain = _joined(self._merge.domain, self._layers.domain)

    @property
    def domain(self) -> Domain:
        """Genes, bounds, initial point and seeds."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a path whose first model is the merge.

        Raises:
            InvalidGenotype: it has the wrong length, or a value outside its gene's bounds.
        """
        values = self._domain.checked(genotype)
        merged = self._merge.decode(values[: self._n_merge])
        return through(self._layers.decode(values[self._n_merge :]), merged)

    def across(self) -> Recipe:
        """Return a path with a layer of the merge and of every donor, see `PathSpace.across`."""
        return self._layers.across()


def _below(origin: Origin, key: str) -> Origin:
    return replace(origin, prefix=(*origin.prefix, key))


def _chosen(spec: JointSpec, context: SpaceContext, origin: Origin) -> tuple[str, ...]:
    if MERGED in context.donors:
        raise origin.error(("layers",), f"a donor is called '{MERGED}' already; rename that donor")
    for index, name in enumerate(spec.donors or ()):
        if name not in context.donors:
            raise origin.error(
                ("donors", index), f"no donor is called '{name}'; {nearest(name, context.donors)}"
            )
    return tuple(context.donors) if spec.donors is None else spec.donors


def _joined(merge: Domain, layers: Domain) -> Domain:
    shift = len(merge)
    genes = [replace(gene, name=f"merge.{gene.name}") for gene in merge.genes]
    genes += (_moved(gene, shift) for gene in layers.genes)
    sequence = layers.sequence and HopSequence(
        tuple(index + shift for index in layers.sequence.elements),
        tuple(tuple(i + shift for i in indices) for indices in layers.sequence.attributes),
    )
    return Domain(tuple(genes), tuple(_seeds(merge, layers)), sequence)


def _moved(gene: Gene, shift: int) -> Gene:
    condition = gene.condition
    if condition is not None:
        condition = Condition(condition.gene + shift, condition.values)
    return replace(gene, name=f"layers.{gene.name}", condition=condition)


def _seeds(merge: Domain, layers: Domain) -> Iterator[Seed]:
    """Yield each known merge by itself, then each known path through the initial merge."""
    for path in layers.seeds:
        if path.name == MERGED:
            yield from (Seed(one.name, one.genotype + path.genotype) for one in merge.seeds)
        else:
            yield Seed(path.name, merge.initial + path.genotype)
