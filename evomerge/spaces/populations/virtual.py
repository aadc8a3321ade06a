"""Virtual populations: every individual a table of segments x donors, never its weights.

A child's table is a combination of its parents' tables, and the angle between the parents follows
from the tables and the donors' inner products, so a population of any model takes kilobytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import InvalidGenotype
from evomerge.recipe.lineage import (
    Donor,
    Earlier,
    Gaussian,
    Input,
    Lineage,
    LineageNode,
    Mix,
    Rebase,
    Spectral,
    SvdMutation,
)
from evomerge.recipe.order import Granularity, Order, Positions
from evomerge.recipe.table import Table, mixed, moved, pruned
from evomerge.spaces.domain import Gene, Seed
from evomerge.spaces.populations.genotypes import (
    DONOR,
    FOUND,
    ChildSvdMutation,
    GaussianMutation,
    Mutation,
    Offspring,
    SeedSvdMutation,
    is_founder,
)
from evomerge.spaces.populations.operators import (
    AngleScope,
    Operator,
    draw_splits,
    linear_weights,
    regions,
    slerp_weights,
)
from evomerge.types import Genotype

_KEPT_TABLES = 256
Products = Callable[["VirtualFamily", int, int, Positions], NDArray[np.float64]]
"""(family, a, b, bounds) to <a, a>, <a, b> and <b, b> over consecutive ranges, shape (n, 3)."""


class VirtualBreeding:
    """What virtual individuals are made of, and how they mate.

    Args:
        donors: names, in the order of the recipe's models.
        found: tables of recipes that earlier stages found, by name.
        template: the lineage that every individual's has in common; its nodes do not count.
        order: the flat order.
        operator: of crossover.
        angle: of SLERP.
        granularity: where splits may fall.
        max_random_vectors: see `PopulationSpec`.
        products: inner products of two individuals, for SLERP.
    """

    genes: tuple[Gene, ...] = ()

    def __init__(
        self,
        donors: Sequence[str],
        found: dict[str, Table],
        template: Lineage,
        order: Order,
        *,
        operator: Operator,
        angle: AngleScope,
        granularity: Granularity,
        max_random_vectors: int,
        products: Products,
    ) -> None:
        self.donors = tuple(donors)
        self.order = order
        self.template = template
        self.operator = operator
        self.angle: AngleScope = angle
        self.max_random_vectors = max_random_vectors
        self.products = products
        self._granularity: Granularity = granularity
        self._found = tuple(found.values())
        self.seeds = (
            *(Seed(name, (DONOR, name)) for name in donors),
            *(Seed(name, (FOUND, number)) for number, name in enumerate(found)),
        )

    @property
    def initial(self) -> Genotype:
        """The first donor."""
        return self.seeds[0].genotype

    @property
    def n_chromosomes(self) -> int:
        """How many parts have a split point of their own."""
        return len(self.order.chromosomes)

    @property
    def task_vectors(self) -> bool:
        """Whether singular values can be mutated."""
        return self.template.origin == "base"

    def draw_splits(self, random: np.random.Generator) -> tuple[int, ...]:
        """Draw a split point in each chromosome."""
        return draw_splits(self.order, self._granularity, random)

    def family(self) -> VirtualFamily:
        """Return a family without members."""
        return VirtualFamily(self)

    def founder(self, genotype: Genotype) -> Table:
        """Return the table of an individual without parents.

        Raises:
            InvalidGenotype: there is no such donor or found recipe.
        """
        kind, what = genotype[0], genotype[1] if len(genotype) == 2 else None
        if kind == DONOR and what in self.donors:
            return Table.of(Donor(donor=self.donors.index(str(what))), self.order.size)
        if kind == FOUND and isinstance(what, int) and 0 <= what < len(self._found):
            return self._found[what]
        raise InvalidGenotype(f"not a founder of this population: {genotype!r}")


class VirtualFamily:
    """The individuals of one search.

    Genotypes are kept for good, they are the lineage; tables are kept while they are in use and
    worked out again from the genotypes when need be.

    Args:
        breeding: says what individuals are made of.
    """

    def __init__(self, breeding: VirtualBreeding) -> None:
        self._breeding = breeding
        self._genotypes: dict[int, Genotype] = {}
        self._tables: OrderedDict[int, Table] = OrderedDict()
        self._steps: dict[int, tuple[Table, LineageNode]] = {}

    def __contains__(self, number: int) -> bool:
        """Say whether an individual was entered."""
        return number in self._genotypes

    def add(self, number: int, genotype: Genotype) -> None:
        """Enter an individual; its parents were entered before."""
        if not is_founder(genotype):
            strangers = [one for one in Offspring.read(genotype).parents if one not in self]
            if strangers:
                raise InvalidGenotype(
                    f"trial {number} descends from trial {strangers[0]}, which does not come "
                    "before it"
                )
        self._genotypes[number] = genotype

    def cross(
        self,
        parents: tuple[int, int],
        ratios: Sequence[float],
        splits: Sequence[int] | None,
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the child of two individuals by the space's operator."""
        breeding = self._breeding
        cut = regions(breeding.order, ratios, splits, breeding.angle)
        if breeding.operator == "linear":
            weights = linear_weights(cut.t)
        else:
            bounds = np.concatenate([[0], cut.ends])
            weights = slerp_weights(cut, breeding.products(self, *parents, bounds))
        return self._child(parents, cut.ends, weights, mutation)

    def blend(
        self,
        parents: Sequence[int],
        weights: Sequence[float],
        mutation: Mutation | None = None,
    ) -> Genotype:
        """Return the linear combination of individuals."""
        ends = np.array([self._breeding.order.size])
        return self._child(tuple(parents), ends, np.array([weights]), mutation)

    def discard(self, number: int) -> None:
        """Forget an individual's table."""
        self._tables.pop(number, None)

    def table(self, number: int) -> Table:
        """Return the normal form of an individual."""
        waiting = [number]
        while waiting:
            one = waiting[-1]
            if one in self._tables:
                waiting.pop()
                continue
            missing = [parent for parent in self._parents(one) if parent not in self._tables]
            if missing:
                waiting += missing
                continue
            self._tables[one] = self._develop(one)
            waiting.pop()
        table = self._tables[number]
        self._tables.move_to_end(number)
        while len(self._tables) > _KEPT_TABLES:
            self._tables.popitem(last=False)
        return table

    def collapsed(self, number: int) -> Lineage:
        """Return the normal form of an individual's lineage."""
        table = self.table(number)
        steps = sorted(self._behind(table))
        place = {step: 2 * position + 1 for position, step in enumerate(steps)}
        nodes: list[LineageNode] = []
        for step in steps:
            source, node = self._steps[step]
            nodes.append(moved(source.node(), place))
            nodes.append(moved(node, {step: len(nodes) - 1}))
        nodes.append(moved(table.node(), place))
        return self._breeding.template.model_copy(update={"nodes": tuple(nodes)})

    def lineage(self, number: int) -> Lineage:
        """Return an individual's whole lineage, a node for each ancestor and step."""
        ancestors: set[int] = set()
        waiting = [number]
        while waiting:
            one = waiting.pop()
            if one not in ancestors:
                ancestors.add(one)
                waiting += self._parents(one)
        nodes: list[LineageNode] = []
        place: dict[int, int] = {}
        for one in sorted(ancestors):
            nodes += self._spelled(one, place, len(nodes))
            place[one] = len(nodes) - 1
        return pruned(self._breeding.template.model_copy(update={"nodes": tuple(nodes)}))

    def _child(
        self,
        parents: tuple[int, ...],
        ends: Positions,
        weights: NDArray[np.float64],
        mutation: Mutation | None,
    ) -> Genotype:
        child = Offspring(
            parents, tuple(ends.tolist()), tuple(map(tuple, weights.tolist())), mutation
        )
        if isinstance(mutation, GaussianMutation):
            inputs = {one for parent in parents for one in self.table(parent).inputs}
            drawn = 1 + sum(isinstance(one, Gaussian) for one in inputs)
            if drawn > self._breeding.max_random_vectors:
                child = Offspring(child.parents, child.ends, child.weights, mutation, rebased=True)
        return child.genotype()

    def _parents(self, number: int) -> tuple[int, ...]:
        genotype = self._genotypes[number]
        return () if is_founder(genotype) else Offspring.read(genotype).parents

    def _develop(self, number: int) -> Table:
        """Return an individual's table from those of its parents."""
        genotype = self._genotypes[number]
        if is_founder(genotype):
            return self._breeding.founder(genotype)
        one = Offspring.read(genotype)
        size = self._breeding.order.size
        parts = [self._tables[parent] for parent in one.parents]
        weights = np.array(one.weights)
        added = _added(one.mutation)
        if added is not None:
            extra, factor = added
            parts.append(Table.of(extra, size))
            weights = np.column_stack([weights, np.full(len(weights), factor)])
        table = mixed(parts, np.array(one.ends, dtype=np.int64), weights)
        # a step is named by its trial; one that is both has two
        if isinstance(one.mutation, ChildSvdMutation):
            step = SvdMutation(svd=2 * number, key=one.mutation.key, scale=one.mutation.scale)
            table = self._step(2 * number, table, step)
        if one.rebased:
            table = self._step(2 * number + 1, table, Rebase(rebase=2 * number + 1))
        return table

    def _step(self, name: int, source: Table, node: LineageNode) -> Table:
        self._steps[name] = (source, node)
        return Table.of(Earlier(node=name), self._breeding.order.size)

    def _behind(self, table: Table) -> set[int]:
        """Return the steps a table depends on."""
        found: set[int] = set()
        waiting = [table]
        while waiting:
            for one in waiting.pop().inputs:
                if isinstance(one, Earlier) and one.node not in found:
                    found.add(one.node)
                    waiting.append(self._steps[one.node][0])
        return found

    def _spelled(self, number: int, place: dict[int, int], first: int) -> list[LineageNode]:
        """Return the nodes of one individual, given where its parents' results stand."""
        genotype = self._genotypes[number]
        if is_founder(genotype):
            return [self._breeding.founder(genotype).node()]
        one = Offspring.read(genotype)
        inputs: list[Input] = [Earlier(node=place[parent]) for parent in one.parents]
        weights = one.weights
        added = _added(one.mutation)
        if added is not None:
            inputs.append(added[0])
            weights = tuple((*row, added[1]) for row in weights)
        nodes: list[LineageNode] = [Mix(inputs=tuple(inputs), ends=one.ends, weights=weights)]
        if isinstance(one.mutation, ChildSvdMutation):
            key, scale = one.mutation.key, one.mutation.scale
            nodes.append(SvdMutation(svd=first, key=key, scale=scale))
        if one.rebased:
            nodes.append(Rebase(rebase=first + len(nodes) - 1))
        return nodes


def _added(mutation: Mutation | None) -> tuple[Input, float] | None:
    """Return the random vector a mutation adds, and its weight."""
    if isinstance(mutation, GaussianMutation):
        return Gaussian(gaussian=mutation.key), mutation.std
    if isinstance(mutation, SeedSvdMutation):
        symmetric = mutation.low < 0
        one = Spectral(spectral=mutation.key, donor=mutation.donor, symmetric=symmetric)
        return one, mutation.rate
    return None
