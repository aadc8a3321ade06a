"""The schema of a space with the genome of mergekit-evolve 0.1.5.

    genome: mergekit-evolve
    merge_method: dare_ties
    models: [base, math, code]
    layer_granularity: 8
    filters: [self_attn, mlp]

The keys and their defaults are those of the `genome` section of a mergekit-evolve configuration;
models are named as in the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from evomerge.recipe.model import Frozen
from evomerge.spaces.spec import REST

EvolveMethod: TypeAlias = Literal["linear", "task_arithmetic", "ties", "dare_ties", "slerp"]

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight",),
    "task_arithmetic": ("weight",),
    "ties": ("weight", "density"),
    "dare_ties": ("weight", "density"),
    "slerp": ("t",),
}
"""What each method has genes for, in their order."""

NORMALIZED = frozenset({"linear", "ties", "dare_ties"})
"""Methods that normalise weights unless told otherwise."""

SPREAD = 1 / 6
"""mergekit-evolve's first standard deviation, with which optimizers start that know of it."""

BASE = "base"
NEEDS_BASE = frozenset({"task_arithmetic", "ties", "dare_ties"})


class EvolveSpec(Frozen):
    """The genome of mergekit-evolve.

    Attributes:
        genome: 'mergekit-evolve'; by this key the space is recognised.
        merge_method: one of the five that mergekit-evolve knows.
        models: donors of the study, and 'base' where its base is merged like them, in the order of
            their genes; all donors by default.
        base_model: name the study's base as the recipe's base_model. Methods of task vectors
            always do; linear and slerp do not by default.
        tokenizer_source: 'base', 'union', the name of a donor, or another model.
        layer_granularity: as many consecutive layers share genes; 0 lets all of them.
        normalize: divide by the sum of the weights; by default as the method does.
        allow_negative_weights: take a weight as it is instead of its absolute value.
        filters: substrings of tensor names, each with genes of its own beside those of all other
            tensors.
        smooth: interpolate between the groups of layers instead of stepping from one to the next.
        random_init: start at values drawn from [0, 1) by the study's seed, not at weight
            1 / number of models and density 1.
        range: of every gene. mergekit-evolve has none, and this one is wide enough not to be felt
            by the optimizer 'pycma'; others need it narrower, e.g. [-2, 2].
    """

    genome: Literal["mergekit-evolve"]
    merge_method: EvolveMethod
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    base_model: bool | None = None
    tokenizer_source: Annotated[str, Field(min_length=1)] | None = None
    layer_granularity: Annotated[int, Field(ge=0)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False
    random_init: bool = False
    range: tuple[float, float] = (-1024.0, 1024.0)

    @property
    def parameters(self) -> tuple[str, ...]:
        """What the genes of a model stand for, in order."""
        return PARAMETERS[self.merge_method]

    @property
    def normalizes(self) -> bool:
        """Whether weights are divided by their sum."""
        if self.normalize is None:
            return self.merge_method in NORMALIZED
        return self.normalize

    @property
    def has_base(self) -> bool:
        """Whether recipes name a base_model."""
        if self.base_model is None:
            return self.merge_method in NEEDS_BASE
        return self.base_model

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.range
        if not (low <= 0 and high >= 1):
            raise ValueError(f"range must include 0 and 1, where searches start, got {[low, high]}")
        if self.models is not None and len(set(self.models)) < len(self.models):
            raise ValueError("models name one twice; list each once")
        if len({*self.filters, REST}) <= len(self.filters):
            raise ValueError(f"filters must differ from one another and from '{REST}'")
        if self.base_model is False and self.merge_method in NEEDS_BASE:
            raise ValueError(f"{self.merge_method} needs the base; remove 'base_model: false'")
        if self.merge_method == "slerp":
            refused = [f"'{key}'" for key in ("smooth", "filters") if getattr(self, key)]
            if refused:
                it = "it" if len(refused) == 1 else "them"
                raise ValueError(f"slerp takes no {' and no '.join(refused)}; remove {it}")
            if self.models is not None and len(self.models) < 2:
                raise ValueError("slerp needs two models or more")
        appends_base = self.has_base and self.merge_method not in NEEDS_BASE
        if appends_base and BASE not in (self.models or ()):
            raise ValueError(
                f"mergekit would merge the base as one more input of {self.merge_method}, without "
                "a weight, and fail; name 'base' among 'models', or remove 'base_model'"
            )
        return self
