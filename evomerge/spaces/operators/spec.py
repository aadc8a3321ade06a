"""The schema of a space in which the merge method is searched too.

    operators:
      task_arithmetic: {parameters: {normalize: false}}
      ties:
        parameters: {normalize: false}
        genes: {density: {range: [0.1, 1.0], initial: 1.0}}
    genes:
      weight: {range: [0.0, 1.5], initial: uniform}

The genes at the top belong to every operator that reads that parameter and says nothing about it
itself; what stands under an operator is its own. A file names no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from evomerge.recipe.model import Frozen, Parameters
from evomerge.recipe.vocabulary import METHODS
from evomerge.spaces.spec import GeneSpec, SpaceSpec

ALWAYS = "task_arithmetic"
"""The method that every such space has."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")

_INERT: Mapping[str, frozenset[str]] = {ALWAYS: frozenset({"density", "rescale"})}
# mergekit's words that a method takes and does not read; `int8_mask` is one for every method
_INERT_EVERYWHERE = frozenset({"int8_mask"})


class OperatorSpec(Frozen):
    """One merge method with its fixed parameters and the genes that are its own.

    Attributes:
        merge_method: of its recipes; the operator's name by default, so that two operators may
            use one method differently.
        parameters: fixed values.
        genes: parameter name to how it is searched.
        base: as in `SpaceSpec`.
        compat: as in `SpaceSpec`.
    """

    merge_method: str | None = None
    parameters: Parameters = Field(default_factory=dict)
    genes: dict[str, GeneSpec] = Field(default_factory=dict)
    base: Literal["origin", "input", "unused"] | None = None
    compat: Literal["mergekit-0.1.5"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.genes) & set(self.parameters))
        if both:
            raise ValueError(f"'{both[0]}' is both a gene and a fixed parameter; keep one")
        return self


def _nothing_said(value: Any) -> Any:
    """Read `task_arithmetic:` with nothing behind it."""
    return {} if value is None else value


class OperatorsSpec(Frozen):
    """A space of merges by several methods, independent of the models it will be used with.

    Attributes:
        operators: name to operator; a search starts with the first. Task arithmetic is always
            among them: of six methods only it reliably gained on public checkpoints (Hitit et al.
            2025, arXiv 2511.21437).
        genes: parameter name to how it is searched, shared by all operators that read it.
    """

    operators: dict[str, Annotated[OperatorSpec, BeforeValidator(_nothing_said)]]
    genes: dict[str, GeneSpec] = Field(default_factory=dict)

    @field_validator("operators")
    @classmethod
    def _check_operators(cls, operators: dict[str, OperatorSpec]) -> dict[str, OperatorSpec]:
        for name in operators:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"'{name}' cannot name an operator; use letters, digits, '_', '-' and '.', and "
                    "give the method under merge_method"
                )
        if not any((one.merge_method or name) == ALWAYS for name, one in operators.items()):
            raise ValueError(
                f"{ALWAYS} must be among them, as only it reliably gains in the wild (arXiv "
                f"2511.21437); add '{ALWAYS}: {{parameters: {{normalize: false}}}}'"
            )
        if len(operators) < 2:
            raise ValueError(
                "a choice needs at least two operators; add one, or write a space with "
                f"'merge_method: {ALWAYS}'"
            )
        return operators

    def shared_by(self, operator: str) -> dict[str, GeneSpec]:
        """Return the shared genes that belong to an operator.

        Those whose parameter its method reads, and that it neither fixes nor searches itself. Of a
        method that evomerge has no words for we cannot know, so all its genes are its own.
        """
        one = self.operators[operator]
        own = {*one.genes, *one.parameters}
        read = parameters_of(one.merge_method or operator)
        return {name: gene for name, gene in self.genes.items() if name in read - own}

    def space_of(self, operator: str) -> SpaceSpec:
        """Return the space of one operator alone; it may have no genes."""
        one = self.operators[operator]
        # not validated: both parts are, and an operator may have nothing to search
        return SpaceSpec.model_construct(
            merge_method=one.merge_method or operator,
            genes={**self.shared_by(operator), **one.genes},
            parameters=one.parameters,
            base=one.base,
            compat=one.compat,
        )


def parameters_of(method: str) -> frozenset[str]:
    """Return the parameters that a method reads; none where we have no words for it."""
    words = METHODS.get(method)
    if words is None:
        return frozenset()
    return words.all - _INERT_EVERYWHERE - _INERT.get(method, frozenset())
