"""The space of a population: individuals that descend from the donors by merges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import InvalidGenotype, RecipeError, SpaceError
from evomerge.recipe.fingerprint import fingerprint
from evomerge.recipe.flat_layouts import order_of
from evomerge.recipe.lineage import Donor, Lineage, Mix
from evomerge.recipe.model import LINEAGE, ModelRef, Node, Recipe, Source
from evomerge.recipe.order import Order, Positions
from evomerge.recipe.table import Table, mixed
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.model_weights import ModelWeights, tensor_table
from evomerge.spaces.populations.protocol import InnerProducts
from evomerge.spaces.populations.spec import PopulationSpec
from evomerge.spaces.populations.virtual import VirtualBreeding, VirtualFamily
from evomerge.spaces.spec import Origin
from evomerge.types import Genotype


class PopulationSpace:
    """A `Space` whose genotypes name their parents by trial number.

    Founders decode alone, everybody else in the book of a search, see `descent`.

    Args:
        spec: the declaration.
        context: the models.
        origin: where the declaration stands, for messages.
        found: tables of recipes that earlier stages found, by name.

    Raises:
        SpaceError: the models cannot be bred.
    """

    def __init__(
        self,
        spec: PopulationSpec,
        context: SpaceContext,
        origin: Origin,
        found: Mapping[str, Table] | None = None,
    ) -> None:
        self.spec = spec
        self._context = context
        self._origin = origin
        _check_donors(spec, context, origin)
        self.order = _order(spec, context, origin)
        self._products: InnerProducts | None = None
        template = Lineage(
            layout=spec.layout,
            chromosomes=spec.chromosomes,
            size=self.order.size,
            origin="base" if spec.population == "task_vectors" else "zero",
            nodes=(Mix(inputs=(Donor(donor=0),), ends=(self.order.size,), weights=((1.0,),)),),
        )
        self._domain = VirtualBreeding(
            tuple(context.donors),
            dict(found or {}),
            template,
            self.order,
            operator=spec.operator,
            angle=spec.angle,
            granularity=spec.granularity,
            max_random_vectors=spec.max_random_vectors,
            products=self._between,
        )

    @property
    def domain(self) -> VirtualBreeding:
        """Founders and operators."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a founder into a recipe.

        Raises:
            InvalidGenotype: it is no founder.
        """
        table = self._domain.founder(genotype)
        return self.recipe(self._domain.template.model_copy(update={"nodes": (table.node(),)}))

    def recipe(self, lineage: Lineage) -> Recipe:
        """Return the recipe of a lineage over this space's models."""
        return Recipe(
            merge_method=LINEAGE,
            base_model=self._context.base,
            models=tuple(Source(model=node) for node in self._context.donors.values()),
            lineage=lineage,
            dtype=self._context.dtype,
            seed=self._context.seed,
        )

    def descent(self) -> Descent:
        """Return the book of a search's individuals."""
        return Descent(self)

    def with_found(self, found: Mapping[str, ModelWeights]) -> PopulationSpace:
        """Return the space with further founders: what earlier stages found.

        Raises:
            SpaceError: one of them is no combination of what this population merges.
        """
        tables = {name: self._table(name, one) for name, one in found.items()}
        return PopulationSpace(self.spec, self._context, self._origin, tables)

    def _table(self, name: str, found: ModelWeights) -> Table:
        """Express weights of models in this population's vectors and order."""
        donors, base = list(self._context.donors.values()), self._context.base
        strangers = [
            str(node)
            for column, node in enumerate(found.models)
            if column and node not in donors and found.weights[:, column].any()
        ]
        based = found.relative or found.weights[:, 0].any()
        if self.spec.population == "weights" and based and base not in donors:
            strangers.append(str(base))
        if strangers:
            raise self._origin.error(
                ("population",),
                f"'{name}' draws on '{strangers[0]}', which is no donor of this stage; add it to "
                "the stage's donors" + _OR_TASK_VECTORS * (self.spec.population == "weights"),
            )
        if self.spec.population == "task_vectors" and not found.normalized:
            raise self._origin.error(
                ("population",),
                f"'{name}' is a sum of whole weights and no base plus task vectors; use "
                "population: weights",
            )
        if _same_order(found.order, self.order):
            ends, weights = found.ends, found.weights
        else:
            ends, weights = tensor_table(self.order, found.by_tensor())
        columns = [found.models.index(one) if one in found.models else None for one in donors]
        rows = np.zeros((len(ends), len(donors)))
        for number, column in enumerate(columns):
            if column is not None:
                rows[:, number] = weights[:, column]
        inputs = tuple(Donor(donor=number) for number in range(len(donors)))
        whole = Table(inputs, ends, rows)
        return mixed([whole], np.array([self.order.size]), np.ones((1, 1)))

    def _between(
        self, family: VirtualFamily, a: int, b: int, bounds: Positions
    ) -> NDArray[np.float64]:
        """Return <a, a>, <a, b> and <b, b> of two individuals over consecutive ranges."""
        products = self._inner_products()
        x, y = family.table(a), family.table(b)
        if not all(isinstance(one, Donor) for one in (*x.inputs, *y.inputs)):
            first, second = (self.recipe(family.collapsed(one)) for one in (a, b))
            return products.streamed(first, second, bounds)
        return _from_grams(products, x, y, bounds)

    def _inner_products(self) -> InnerProducts:
        if self._products is None:
            make = self._context.inner_products
            if make is None:
                raise SpaceError(
                    "space: SLERP needs the angles between the donors, which are not open here"
                )
            self._products = make(
                self.order,
                self._context.base,
                tuple(self._context.donors.values()),
                task_vectors=self.spec.population == "task_vectors",
            )
        return self._products


_OR_TASK_VECTORS = ", or use population: task_vectors"


def _same_order(one: Order, other: Order) -> bool:
    return one.blocks == other.blocks and one.chromosomes == other.chromosomes


def _from_grams(
    products: InnerProducts, x: Table, y: Table, bounds: Positions
) -> NDArray[np.float64]:
    """Sum X^T G Y over the pieces of both tables inside each range."""
    edges = np.unique(np.concatenate([bounds, x.ends, y.ends]))
    grams = products.grams(edges)
    n = grams.shape[1]
    left, right = (_rows(table, edges[1:], n) for table in (x, y))
    pieces = np.stack(
        [
            _bilinear(one, grams, other)
            for one, other in ((left, left), (left, right), (right, right))
        ],
        axis=1,
    )
    sums = np.zeros((len(bounds) - 1, 3))
    np.add.at(sums, np.searchsorted(bounds[1:], edges[1:], "left"), pieces)
    return sums


def _bilinear(
    x: NDArray[np.float64], grams: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return x^T G y of each piece, added up in a fixed order, so that angles are repeatable."""
    total = np.zeros(len(x))
    for i in range(x.shape[1]):
        for j in range(y.shape[1]):
            total += x[:, i] * grams[:, i, j] * y[:, j]
    return total


def _rows(table: Table, ends: Positions, n_donors: int) -> NDArray[np.float64]:
    """Return a table's weights of all donors on finer segments."""
    rows = np.zeros((len(ends), n_donors))
    columns = [one.donor for one in table.inputs if isinstance(one, Donor)]
    rows[:, columns] = table.weights[np.searchsorted(table.ends, ends, "left")]
    return rows


def _check_donors(spec: PopulationSpec, context: SpaceContext, origin: Origin) -> None:
    where = ("population",)
    if len(context.donors) < 2:
        raise origin.error(
            where, f"a population needs at least two donors, the study has {len(context.donors)}"
        )
    for name in context.donors:
        if context.depth(name) != context.layout.n_layers:
            raise origin.error(
                where,
                f"donor '{name}' has {context.depth(name)} layers and the base "
                f"{context.layout.n_layers}; weights of models of different depth cannot be mixed",
            )
    seen: dict[str, str] = {}
    if spec.population == "task_vectors":
        seen[_identity(context.base)] = "base"
    for name, node in context.donors.items():
        other = seen.setdefault(_identity(node), name)
        if other == "base" and name != "base":
            raise origin.error(
                where,
                f"donor '{name}' is the base itself and has no task vector; remove it, or use "
                "population: weights",
            )
        if other != name:
            raise origin.error(where, f"donors '{other}' and '{name}' are the same model; keep one")


def _identity(node: Node) -> str:
    """Return what equal models share: content where it is known, otherwise how they are named."""
    if isinstance(node, ModelRef):
        return node.sha256 or node.model_dump_json(exclude_none=True)
    return fingerprint(node)


def _order(spec: PopulationSpec, context: SpaceContext, origin: Origin) -> Order:
    if context.shape is None:
        raise origin.error(("population",), "the shapes of the models are not known here")
    try:
        return order_of(context.shape, spec.layout, spec.chromosomes)
    except RecipeError as error:
        key, _, message = str(error).partition(": ")
        known = key in ("layout", "chromosomes")
        raise origin.error((key,) if known else (), message if known else str(error)) from None


class Descent:
    """The recipes of a population's individuals, by trial number.

    Args:
        space: of the population.
    """

    def __init__(self, space: PopulationSpace) -> None:
        self._space = space
        self.family = space.domain.family()

    def add(self, number: int, genotype: Genotype) -> None:
        """Enter an individual."""
        if number not in self.family:
            self.family.add(number, genotype)

    def recipe(self, number: int) -> Recipe:
        """Return an individual's recipe, its lineage in normal form.

        Raises:
            InvalidGenotype: its ancestors grew until a weight is inf or NaN.
        """
        lineage = self.family.collapsed(number)
        for node in lineage.nodes:
            if isinstance(node, Mix) and not np.isfinite(node.weights).all():
                raise InvalidGenotype(
                    "a weight of its table is inf or NaN: its ancestors grew too large"
                )
        return self._space.recipe(lineage)

    def full_recipe(self, number: int) -> Recipe:
        """Return an individual's recipe with its whole lineage; it rebuilds the same weights."""
        return self._space.recipe(self.family.lineage(number))
