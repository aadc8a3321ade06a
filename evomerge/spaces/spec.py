"""The schema of a search-space file.

    merge_method: dare_ties
    parameters: {normalize: false, rescale: l1}
    genes:
      weight:  {range: [0.0, 1.5], initial: uniform, layers: 4, modules: [attention, mlp, rest]}
      density: {range: [0.1, 1.0], initial: 1.0}

A file names no model: it fits any study whose models share one layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evomerge.errors import SpaceError
from evomerge.located_yaml import Locator, render
from evomerge.recipe.model import Frozen, Parameters, Scalar

REST = "rest"


class GeneSpec(Frozen):
    """How one parameter of the merge method is searched.

    Attributes:
        range: smallest and largest value.
        choices: the values of a categorical parameter, instead of a range.
        kind: 'integer' takes whole numbers only.
        scale: 'log' searches the logarithm; the range must be positive.
        initial: where the search starts: a value, or 'uniform' for 1 / number of inputs. The
            middle of the range (on its scale) or the first choice by default.
        per: 'donor' gives each donor its own genes, 'all' one set for all donors. By default
            'donor' where the method takes a value for each donor, else 'all'.
        layers: as many consecutive layers share a gene; the last group may be shorter. Without
            it all layers share.
        outside_layers: with `layers`: embeddings 'follow' the first group, final norm and head
            the last; or both have genes of their own ('separate').
        modules: parts of a layer with genes of their own, of which the first that matches
            decides: attention, mlp, norm, embedding, head, other, any substring of a tensor
            name, and 'rest'. Without it all share.
        fixed: parts that are not searched, and their value.
    """

    range: tuple[float, float] | None = None
    choices: Annotated[tuple[Scalar, ...], Field(min_length=2)] | None = None
    kind: Literal["continuous", "integer"] = "continuous"
    scale: Literal["linear", "log"] = "linear"
    initial: Scalar | None = None
    per: Literal["donor", "all"] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    outside_layers: Literal["follow", "separate"] = "follow"
    modules: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    fixed: dict[str, Scalar] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.range is None) == (self.choices is None):
            raise ValueError("give exactly one of 'range' and 'choices'")
        if self.choices is not None and len(set(map(str, self.choices))) < len(self.choices):
            raise ValueError(f"choices must differ, got {list(self.choices)}")
        if self.range is not None:
            low, high = self.range
            if not low < high:
                raise ValueError(f"range must be [smallest, largest], got {[low, high]}")
            if self.scale == "log" and low <= 0:
                raise ValueError(f"scale: log needs a positive range, got {[low, high]}")
            if self.kind == "integer" and (low % 1 or high % 1 or self.scale == "log"):
                raise ValueError(
                    f"an integer gene needs whole bounds and a linear scale, got {[low, high]}"
                )
        if self.layers is None and "outside_layers" in self.model_fields_set:
            raise ValueError("outside_layers does nothing without layers; remove it or add layers")
        names = (*self.fixed, *(self.modules or ()))
        if len(set(names)) < len(names):
            raise ValueError(f"modules and fixed name a part twice: {', '.join(names)}")
        if REST in (self.modules or ())[:-1]:
            raise ValueError("'rest' must stand last in modules")
        return self


class SpaceSpec(Frozen):
    """A search space, independent of the models it will be used with.

    Attributes:
        merge_method: of every recipe of the space.
        genes: parameter name to how it is searched.
        parameters: fixed values.
        base: the study's base is the 'origin' of the task vectors, an 'input' merged like the
            donors, or 'unused'. By default what the merge method calls for; slerp takes the
            first donor as its base.
        compat: reproduce mergekit's arithmetic, quirks included.
    """

    merge_method: str
    genes: Annotated[dict[str, GeneSpec], Field(min_length=1)]
    parameters: Parameters = Field(default_factory=dict)
    base: Literal["origin", "input", "unused"] | None = None
    compat: Literal["mergekit-0.1.5"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.genes) & set(self.parameters))
        if both:
            raise ValueError(f"'{both[0]}' is both a gene and a fixed parameter; keep one")
        return self


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a spec was read, for messages.

    Attributes:
        source: a file's name, or what else holds the spec.
        locate: its lines; None when it came without text.
        prefix: where in the document the spec stands.
    """

    source: str = "space"
    locate: Locator | None = None
    prefix: tuple[str | int, ...] = ()

    def error(self, path: Sequence[str | int], message: str) -> SpaceError:
        """Return an error that points at the key `path` of the spec."""
        full = (*self.prefix, *path)
        place = self.locate.place(full, self.source) if self.locate else self.source
        return SpaceError(f"{place}: {render(full)}: {message}")
