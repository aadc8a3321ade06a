"""The schema of a population's space file.

    population: task_vectors
    operator: slerp
    layout: unit
    granularity: unit

A file names no model: it fits any study whose models share one layout.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evomerge.recipe.flat_layouts import LayoutName
from evomerge.recipe.model import Frozen
from evomerge.recipe.order import Granularity
from evomerge.spaces.populations.operators import AngleScope, Operator


class PopulationSpec(Frozen):
    """A space of individuals that descend from the donors by merges.

    Attributes:
        population: what is merged: the donors' task vectors, or their whole weights.
        operator: of crossover: spherical or linear interpolation.
        angle: over what the angle of SLERP is taken: the whole model, each side of a split, or
            each tensor.
        layout: the flat order that splits cut: 'storage', 'depth' or 'unit'.
        granularity: where splits may fall: between any two elements, units, tensors or layers.
        chromosomes: name to regular expression over tensor names; each is split at a point of its
            own, and a tensor belongs to the first that matches.
        max_random_vectors: an individual that more vectors of Gaussian mutation went into is
            computed in full, and its descendants do not look behind it; 0 does so with each.
    """

    population: Literal["task_vectors", "weights"]
    operator: Operator = "slerp"
    angle: AngleScope = "global"
    layout: LayoutName = "depth"
    granularity: Granularity = "element"
    chromosomes: dict[str, str] = Field(default_factory=dict)
    max_random_vectors: Annotated[int, Field(ge=0)] = 64

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, pattern in self.chromosomes.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"chromosome '{name}': {pattern!r} is no regular expression: {error}"
                ) from None
        if self.operator == "linear" and "angle" in self.model_fields_set:
            raise ValueError("angle belongs to operator slerp; remove it")
        return self
