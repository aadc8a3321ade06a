"""A search space whose first gene is the merge method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evomerge.errors import SpaceError, nearest
from evomerge.recipe.model import Recipe
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Condition, Domain, Gene, Seed
from evomerge.spaces.model_weights import weights_of
from evomerge.spaces.operators.recall import parameter_of, recalled
from evomerge.spaces.operators.spec import ALWAYS, OperatorsSpec, parameters_of
from evomerge.spaces.spec import Origin
from evomerge.types import GeneValue, Genotype

METHOD = "method"
"""Name of the gene that chooses the operator."""

UNIFORM = "uniform"


@dataclass(frozen=True, slots=True)
class _Operator:
    """One choice: its own space, and where its genes stand among all."""

    space: DeclaredSpace
    columns: tuple[int, ...]


class OperatorsSpace:
    """A `Space` built from an `OperatorsSpec` for the models of a study.

    A genotype means what the chosen operator's own space makes of its part, so that every recipe
    is one of a space with a single method. Shared genes are passed on when the method changes;
    those of the other operators have no effect.

    Args:
        spec: the declaration.
        context: the models.
        origin: where the declaration stands, for messages.

    Raises:
        SpaceError: an operator does not fit the models, with a line for each that does not; two
            operators are the same; or nothing reads a shared gene.
    """

    def __init__(self, spec: OperatorsSpec, context: SpaceContext, origin: Origin) -> None:
        self.spec = spec
        self._context = context
        self._origin = origin
        self._check_genes()
        spaces = self._build()
        genes = _genes(spec, spaces)
        place = {gene.name: index for index, gene in enumerate(genes)}
        self._operators = {
            name: _Operator(
                space,
                tuple(place[_name(spec, name, gene)] for gene in space.domain.genes),
            )
            for name, space in spaces.items()
        }
        self._domain = Domain(genes)
        self._domain = replace(self._domain, seeds=tuple(self._seeds()))

    @property
    def domain(self) -> Domain:
        """The method, shared genes, then those of each operator under its name."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into a recipe of the chosen operator.

        Raises:
            InvalidGenotype: it has the wrong length, or a value its gene cannot have.
        """
        values = self._domain.checked(genotype)
        chosen = self._operators[str(values[0])]
        return chosen.space.decode(tuple(values[column] for column in chosen.columns))

    def starts(self) -> dict[str, Recipe]:
        """Return what each operator's own genes start at, by its name."""
        return {
            name: one.space.decode(one.space.domain.initial)
            for name, one in self._operators.items()
        }

    def nearest(self, recipe: Recipe) -> Genotype:
        """Return the genotype nearest to a merge that another space found.

        It keeps its method where an operator has this method with the same fixed parameters, see
        `recalled`. Otherwise it is brought to task arithmetic by what it weighs its models by, see
        `DeclaredSpace.nearest`.

        Args:
            recipe: over models of the study; the context must know their shapes.

        Raises:
            SpaceError: it is by none of the operators and no linear combination of its models, or
                it draws on a model that is no donor here.
        """
        for name, one in self._operators.items():
            found = recalled(one.space, recipe, self._context)
            if found is not None:
                return self._embedded(name, found)
        if self._context.shape is None:
            raise self._origin.error(("operators",), "the shapes of the models are not known")
        try:
            weights = weights_of(recipe, self._context.base, self._context.shape)
        except SpaceError as error:
            raise self._origin.error(
                ("operators",),
                f"none of them is {recipe.merge_method} with the parameters of the seed, and "
                f"{error}",
            ) from None
        name = next(name for name in self._operators if self._method(name) == ALWAYS)
        space = self._operators[name].space
        return self._embedded(name, space.nearest(weights, self._context.shape))

    def _method(self, name: str) -> str:
        return self._operators[name].space.spec.merge_method

    def _embedded(self, name: str, genotype: Genotype) -> Genotype:
        """Return an operator's genotype as one of all operators, canonical."""
        values: list[GeneValue] = list(self._domain.initial)
        values[0] = name
        for column, value in zip(self._operators[name].columns, genotype, strict=True):
            values[column] = value
        return tuple(values)

    def _seeds(self) -> Iterator[Seed]:
        """Yield each known model by the first operator that has it; each operator's uniform one."""
        seen: set[str] = set()
        for name, one in self._operators.items():
            for seed in one.space.domain.seeds:
                if seed.name not in seen:
                    seen.add(seed.name)
                    yield Seed(seed.name, self._embedded(name, seed.genotype))
                elif seed.name == UNIFORM:
                    yield Seed(f"{UNIFORM}:{name}", self._embedded(name, seed.genotype))

    def _build(self) -> dict[str, DeclaredSpace]:
        """Build the space of each operator."""
        spaces: dict[str, DeclaredSpace] = {}
        problems: list[str] = []
        for name in self.spec.operators:
            one = self.spec.space_of(name)
            origin = _OperatorOrigin.of(self._origin, self.spec, name)
            twin = next((other for other, space in spaces.items() if space.spec == one), None)
            try:
                if twin is not None:
                    raise origin.error((), f"is the same as '{twin}'; drop one of them")
                spaces[name] = DeclaredSpace(one, self._context, origin)
            except SpaceError as error:
                problems += str(error).splitlines()
        if problems:  # a shared gene is told once, not by each operator
            raise SpaceError("\n".join(dict.fromkeys(problems)))
        return spaces

    def _check_genes(self) -> None:
        """Refuse a shared gene that nothing would read.

        Raises:
            SpaceError: with a line for each.
        """
        used = {gene for name in self.spec.operators for gene in self.spec.shared_by(name)}
        problems: list[str] = []
        for gene in self.spec.genes:
            if gene in used:
                continue
            methods = [one.merge_method or name for name, one in self.spec.operators.items()]
            known = frozenset[str]().union(*map(parameters_of, methods))
            why = (
                "every operator that reads it says it itself; remove it here or there"
                if gene in known
                else f"no operator reads '{gene}'; {nearest(gene, known)}"
            )
            problems.append(str(self._origin.error(("genes", gene), why)))
        if problems:
            raise SpaceError("\n".join(problems))


@dataclass(frozen=True, slots=True)
class _OperatorOrigin(Origin):
    """Where the parts of one operator's space stand in the file of all.

    Attributes:
        operator: its name.
        shared: parameters whose genes stand at the top.
        unsaid: keys of its space that the file leaves out.
    """

    operator: str = ""
    shared: frozenset[str] = frozenset()
    unsaid: frozenset[str] = frozenset()

    @classmethod
    def of(cls, origin: Origin, spec: OperatorsSpec, name: str) -> _OperatorOrigin:
        """Return the origin of an operator's space."""
        return cls(
            origin.source,
            origin.locate,
            origin.prefix,
            operator=name,
            shared=frozenset(spec.shared_by(name)),
            unsaid=frozenset({"merge_method"} - spec.operators[name].model_fields_set),
        )

    def error(self, path: Sequence[str | int], message: str) -> SpaceError:
        """Return an error that points at a key of the operator, or at a shared gene."""
        # a class with slots is made twice, and `super()` would look for the first one
        if len(path) > 1 and path[0] == "genes" and path[1] in self.shared:
            return Origin.error(self, path, message)
        own = () if path and path[0] in self.unsaid else path
        return Origin.error(self, ("operators", self.operator, *own), message)


def _name(spec: OperatorsSpec, operator: str, gene: Gene) -> str:
    """Return the name, among the genes of all operators, of a gene of one of them."""
    shared = parameter_of(gene) in spec.shared_by(operator)
    return gene.name if shared else f"{operator}:{gene.name}"


def _genes(spec: OperatorsSpec, spaces: Mapping[str, DeclaredSpace]) -> tuple[Gene, ...]:
    """Return the method and every other gene once, with what it takes for it to have an effect.

    A gene that operators share starts where the first of them does.
    """
    users: dict[str, list[str]] = {}
    shared: dict[str, Gene] = {}
    own: dict[str, Gene] = {}
    for operator, space in spaces.items():
        for gene in space.domain.genes:
            name = _name(spec, operator, gene)
            users.setdefault(name, []).append(operator)
            (shared if name == gene.name else own).setdefault(name, replace(gene, name=name))
    genes = [Gene(METHOD, "categorical", initial=next(iter(spaces)), choices=tuple(spaces))]
    for name, gene in (*shared.items(), *own.items()):
        always = len(users[name]) == len(spaces)
        condition = None if always else Condition(0, tuple(users[name]))
        genes.append(replace(gene, condition=condition))
    return tuple(genes)
