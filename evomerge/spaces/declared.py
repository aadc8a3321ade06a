"""A search space read from a declaration: genes over the parameters of one merge method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import nearest
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.model import Node, Parameters, Recipe, Scalar, Source
from evomerge.recipe.vocabulary import METHODS
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.spaces.groups import Grouping
from evomerge.spaces.methods import BaseRole, Shape, shape_of, takes_one_per_donor
from evomerge.spaces.model_weights import ModelWeights
from evomerge.spaces.seeds import Targets, known_points, says
from evomerge.spaces.spec import GeneSpec, Origin, SpaceSpec
from evomerge.types import GeneValue, Genotype

BASE_INPUT = "base"


@dataclass(frozen=True, slots=True)
class _Block:
    """The genes of one parameter for one input (None: for the whole merge).

    Attributes:
        parameter: its name.
        owner: the input's name.
        first: index of its first gene.
        grouping: which tensors each of its genes holds for.
    """

    parameter: str
    owner: str | None
    first: int
    grouping: Grouping


class DeclaredSpace:
    """A `Space` built from a `SpaceSpec` for the models of a study.

    Args:
        spec: the declaration.
        context: the models.
        origin: where the declaration stands, for messages.

    Raises:
        SpaceError: the declaration does not fit the method or the models.
    """

    def __init__(self, spec: SpaceSpec, context: SpaceContext, origin: Origin) -> None:
        self.spec = spec
        self._context = context
        self._origin = origin
        self._shape = shape_of(spec.merge_method)
        self._role = self._base_role()
        self._inputs = self._read_inputs(self._shape)
        for parameter in spec.parameters:
            self._scope(parameter, ("parameters", parameter))
        genes: list[Gene] = []
        blocks: list[_Block] = []
        for parameter, gene in spec.genes.items():
            path = ("genes", parameter)
            self._check_bounds(parameter, gene)
            grouping = Grouping.of(context.layout, gene, origin, path)
            for owner in self._owners(parameter, gene):
                blocks.append(_Block(parameter, owner, len(genes), grouping))
                genes += (self._gene(parameter, gene, owner, label) for label in grouping.labels)
        self._genes = tuple(genes)
        self._blocks = tuple(blocks)
        self._domain = Domain(self._genes, tuple(self._seeds()), linear=self._is_linear())

    @property
    def domain(self) -> Domain:
        """Genes, bounds, initial point and seeds."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a recipe.

        Raises:
            InvalidGenotype: it has the wrong length, or a value outside its gene's bounds.
        """
        values = tuple(map(self._read, self._genes, self._domain.checked(genotype)))
        own: dict[str, Parameters] = {name: {} for name in self._inputs}
        shared: Parameters = dict(self.spec.parameters)
        for block in self._blocks:
            end = block.first + len(block.grouping.labels)
            value = block.grouping.value(values[block.first : end])
            (shared if block.owner is None else own[block.owner])[block.parameter] = value
        sources = tuple(
            Source(model=ref, parameters=own[name]) for name, ref in self._inputs.items()
        )
        return Recipe(
            merge_method=self.spec.merge_method,
            base_model=self._base_model(),
            models=sources,
            parameters=shared,
            dtype=self._context.dtype,
            seed=self._context.seed,
            compat=self.spec.compat,
        )

    def nearest(self, weights: ModelWeights, shape: TensorShapes) -> Genotype:
        """Return the genotype nearest to a linear combination of models.

        Each gene of a weight is the mean over the elements it holds for, within its bounds; for
        slerp the gene of t is the second donor's share of both. Every other gene is initial.

        Args:
            weights: of the models.
            shape: of the models.

        Raises:
            SpaceError: the space has no weights to project on.
        """
        searched = "t" if self._shape.family == "pair" else "weight"
        if self._shape.family not in ("additive", "convex", "pair") or not any(
            block.parameter == searched for block in self._blocks
        ):
            raise self._origin.error(
                ("merge_method",),
                "seeds of another stage are weights of models, and no gene of "
                f"{self.spec.merge_method} is one; seed a space with genes for 'weight', or "
                "slerp's 't'",
            )
        strangers = [
            str(node)
            for at, node in enumerate(weights.models)
            if at and node not in self._inputs.values() and weights.weights[:, at].any()
        ]
        if strangers:
            raise self._origin.error(
                ("merge_method",),
                f"a seed draws on '{strangers[0]}', which is no donor of this stage; add it to the "
                "stage's donors",
            )
        column = {
            name: weights.models.index(node) if node in weights.models else None
            for name, node in self._inputs.items()
        }
        factor = self._lambda()
        means = {tensor: row / factor for tensor, row in weights.by_tensor().items()}
        values = list(self._domain.initial)
        for block in self._blocks:
            if block.parameter != searched:
                continue
            sums = [0.0] * len(block.grouping.labels)
            sizes = [0] * len(block.grouping.labels)
            for tensor, row in means.items():
                group = block.grouping.group_of(self._context.layout, tensor)
                if group < len(sums):
                    size = math.prod(shape.shapes[tensor])
                    sums[group] += size * self._share(row, block.owner, column)
                    sizes[group] += size
            for number, (total, size) in enumerate(zip(sums, sizes, strict=True)):
                gene = self._genes[block.first + number]
                if gene.kind == "continuous" and size:
                    values[block.first + number] = min(max(total / size, gene.low), gene.high)
        return tuple(values)

    def _is_linear(self) -> bool:
        """Say whether the merged weights are affine in the genes: task arithmetic by its weights.

        With normalisation they are divided by their sum, and are not.
        """
        return (
            self.spec.merge_method == "task_arithmetic"
            and set(self.spec.genes) == {"weight"}
            and self.spec.parameters.get("normalize", False) is False
            and all(gene.kind == "continuous" for gene in self._genes)
        )

    def _lambda(self) -> float:
        """Return what every weight is multiplied by: fixed, or where the search starts.

        Raises:
            SpaceError: it is 0 or differs between layers.
        """
        if self._shape.family != "additive":
            return 1.0
        own = [block for block in self._blocks if block.parameter == "lambda"]
        values = {
            self._genes[block.first + i].initial
            for block in own
            for i in range(len(block.grouping.labels))
        }
        fixed = self.spec.parameters.get("lambda", 1.0)
        value = fixed if not own else values.pop() if len(values) == 1 else None
        if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
            raise self._origin.error(
                ("parameters", "lambda"),
                "seeds of another stage need one lambda other than 0 for all tensors; set it to 1",
            )
        return float(value)

    def _share(
        self, row: NDArray[np.float64], owner: str | None, column: Mapping[str, int | None]
    ) -> float:
        """Return what a gene should say where models have these weights."""
        own = {name: 0.0 if at is None else float(row[at]) for name, at in column.items()}
        if self._shape.family == "pair":
            first, second = own.values()
            return second / (first + second) if first + second else 0.5
        return own[owner] if owner is not None else math.fsum(own.values()) / len(own)

    def _base_model(self) -> Node | None:
        if self._shape.family == "pair":
            return next(iter(self._inputs.values()))
        return None if self._role == "unused" else self._context.base

    def _base_role(self) -> BaseRole:
        roles = self._shape.base
        if self.spec.base is None:
            return roles[0]
        if self.spec.base not in roles:
            raise self._origin.error(
                ("base",),
                f"{self.spec.merge_method} has no place for the base as '{self.spec.base}'; "
                f"valid: {', '.join(roles)}",
            )
        return self.spec.base

    def _read_inputs(self, shape: Shape) -> dict[str, Node]:
        donors = dict(self._context.donors)
        self._check_depths()
        fewest, most = shape.n_donors
        if len(donors) < fewest or (most is not None and len(donors) > most):
            wanted = f"exactly {most}" if fewest == most else f"at least {fewest}"
            raise self._origin.error(
                ("merge_method",),
                f"{self.spec.merge_method} merges {wanted} donors, the study has {len(donors)}",
            )
        if self._role == "input":
            if BASE_INPUT in donors:
                raise self._origin.error(
                    ("base",), "a donor is called 'base' already; rename that donor"
                )
            donors[BASE_INPUT] = self._context.base
        return donors

    def _check_depths(self) -> None:
        layers = self._context.layout.n_layers
        for name in self._context.donors:
            depth = self._context.depth(name)
            if depth != layers:
                raise self._origin.error(
                    ("merge_method",),
                    f"donor '{name}' has {depth} layers and the base {layers}; weights of models "
                    "of different depth cannot be mixed, their layers can: use a 'path:' space",
                )

    def _owners(self, parameter: str, gene: GeneSpec) -> tuple[str | None, ...]:
        """Return the inputs that have genes of their own; (None,) for one set for all."""
        method, path = self.spec.merge_method, ("genes", parameter)
        each = self._scope(parameter, path)
        if each is None and gene.per is None:
            raise self._origin.error(
                path,
                f"evomerge has no merge method '{method}', {nearest(method, METHODS)}; for a "
                "method of your own say 'per: donor' or 'per: all'",
            )
        if each is False and gene.per == "donor":
            raise self._origin.error(
                (*path, "per"), f"{method} takes one '{parameter}' for all donors; use per: all"
            )
        per_donor = gene.per == "donor" if gene.per else bool(each)
        return tuple(self._inputs) if per_donor else (None,)

    def _scope(self, parameter: str, path: tuple[str, str]) -> bool | None:
        """Say whether a parameter has a value for each donor; None where we cannot know."""
        method = self.spec.merge_method
        try:
            return takes_one_per_donor(method, parameter)
        except KeyError:
            hint = nearest(parameter, METHODS[method].all)
            raise self._origin.error(
                path, f"{method} has no parameter '{parameter}'; {hint}"
            ) from None

    def _check_bounds(self, parameter: str, gene: GeneSpec) -> None:
        if parameter == "density" and gene.range and not 0 <= gene.range[0] < gene.range[1] <= 1:
            raise self._origin.error(
                ("genes", parameter, "range"),
                f"a density is a kept fraction in [0, 1], got {list(gene.range)}",
            )

    def _gene(self, parameter: str, gene: GeneSpec, owner: str | None, label: str) -> Gene:
        name = parameter + (f"[{owner}]" if owner else "") + (f".{label}" if label else "")
        path = ("genes", parameter, "initial")
        if gene.choices is not None:
            choices = tuple(map(_text, gene.choices))
            initial = choices[0] if gene.initial is None else _text(gene.initial)
            if initial not in choices:
                raise self._origin.error(
                    path, f"'{initial}' is no choice; {nearest(initial, choices)}"
                )
            return Gene(name, "categorical", initial=initial, choices=choices)
        low, high = gene.range or (0.0, 1.0)
        start = self._initial(gene, low, high)
        if isinstance(start, bool | str) or not low <= start <= high:
            raise self._origin.error(
                path, f"expected a number in [{low:g}, {high:g}] or 'uniform', got {start!r}"
            )
        if gene.kind == "integer":
            if start % 1:
                raise self._origin.error(path, f"expected a whole number, got {start!r}")
            return Gene(name, "integer", low, high, int(start))
        return Gene(name, "continuous", low, high, float(start), log=gene.scale == "log")

    def _initial(self, gene: GeneSpec, low: float, high: float) -> Scalar:
        if gene.initial == "uniform":
            return 1.0 / len(self._inputs)
        if gene.initial is not None:
            return gene.initial
        if gene.kind == "integer":
            return (low + high) // 2
        return math.sqrt(low * high) if gene.scale == "log" else (low + high) / 2

    def _read(self, gene: Gene, value: GeneValue) -> Scalar:
        """Bring one value to what a recipe holds."""
        if gene.kind != "categorical":
            return value
        parameter = gene.name.partition("[")[0].partition(".")[0]
        choices = self.spec.genes[parameter].choices or ()
        return choices[gene.choices.index(str(value))]

    def _seeds(self) -> list[Seed]:
        seeds: dict[Genotype, Seed] = {}
        points = known_points(
            self._shape.family, tuple(self._inputs), has_base_input=self._role == "input"
        )
        for name, targets in points.items():
            genotype = self._reach(targets)
            if genotype is not None and genotype not in seeds:
                seeds[genotype] = Seed(name, genotype)
        return list(seeds.values())

    def _reach(self, targets: Targets) -> Genotype | None:
        """Return the genotype that gives every parameter its target; None if there is none."""
        for parameter, target in targets.items():
            if parameter not in self.spec.genes and not says(
                self.spec.parameters, parameter, target
            ):
                return None
        values: list[GeneValue] = []
        for block in self._blocks:
            genes = self._genes[block.first : block.first + len(block.grouping.labels)]
            wanted = targets.get(block.parameter)
            if wanted is None:
                values += (gene.initial for gene in genes)
                continue
            value = _of_owner(wanted, block.owner)
            if value is None or any(fixed != value for fixed in block.grouping.fixed):
                return None
            for gene in genes:
                if gene.kind == "categorical" or not gene.low <= value <= gene.high:
                    return None
                if gene.kind == "integer" and value % 1:
                    return None
                values.append(int(value) if gene.kind == "integer" else float(value))
        return tuple(values)


def _of_owner(wanted: float | Mapping[str, float], owner: str | None) -> float | None:
    """Return the value an input should have; None where all share genes and should differ."""
    if not isinstance(wanted, Mapping):
        return wanted
    if owner is not None:
        return wanted[owner]
    values = set(wanted.values())
    return values.pop() if len(values) == 1 else None


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
