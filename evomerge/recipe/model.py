"""The recipe: a frozen, validated description of one merge.

A recipe is a tree. Its leaves are model references, its inner nodes are recipes whose result is
merged again. Keys and parameter values follow mergekit's YAML, which users know; what is ours is
named in `Recipe`. Nothing here reads a file or knows a merge method: `evomerge.merging` checks a
recipe against real checkpoints.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Scalar: TypeAlias = bool | int | float | str
DType: TypeAlias = Literal["float16", "bfloat16", "float32", "float64"]
COMPAT = "mergekit-0.1.5"


class Frozen(BaseModel):
    """Immutable value, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelRef(Frozen):
    """A checkpoint, and optionally an adapter on top of it.

    Attributes:
        path: a local folder or a hub id.
        revision: of a hub id.
        adapter: a local folder or hub id of a LoRA adapter applied to the model.
        adapter_revision: of a hub id.
        sha256: content digest of the weights; it, not the path, is what identifies the model.
    """

    path: str = Field(min_length=1)
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    def __str__(self) -> str:
        """Return mergekit's spelling, path[@revision][+adapter[@revision]]."""
        text = self.path + (f"@{self.revision}" if self.revision else "")
        if self.adapter:
            text += f"+{self.adapter}"
            text += f"@{self.adapter_revision}" if self.adapter_revision else ""
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read mergekit's spelling, path[@revision][+adapter[@revision]]."""
        model, _, adapter = text.partition("+")
        path, _, revision = model.partition("@")
        adapter_path, _, adapter_revision = adapter.partition("@")
        return cls(
            path=path,
            revision=revision or None,
            adapter=adapter_path or None,
            adapter_revision=adapter_revision or None,
        )


def _read_ref(value: Any) -> Any:
    return ModelRef.parse(value) if isinstance(value, str) else value


def _read_number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; a parameter that looks like a number is one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number: TypeAlias = Annotated[Scalar, BeforeValidator(_read_number)]


class Conditional(Frozen):
    """A value for some tensors only.

    Attributes:
        value: a scalar, or a gradient over the layers of the slice.
        filter: substring of the tensor name; None matches every name.
        layers: first and one past the last layer it holds for; None means everywhere, and a
            tensor outside the layers (embeddings, final norm, head) matches None only.
    """

    value: Number | tuple[Number, ...]
    filter: str | None = None
    layers: tuple[int, int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _star_is_everything(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("filter") == "*":
            return {**data, "filter": None}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.value, tuple) and not self.value:
            raise ValueError("a gradient needs at least one value")
        if self.layers is not None and not 0 <= self.layers[0] < self.layers[1]:
            raise ValueError(f"layers must be [first, one past last], got {list(self.layers)}")
        return self


def _read_parameter(value: Any) -> Any:
    """Bring `{filter, value}` and lists of it to one shape."""
    if isinstance(value, dict):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


ParameterValue: TypeAlias = Annotated[
    Number | tuple[Conditional, ...] | tuple[Number, ...], BeforeValidator(_read_parameter)
]
"""A scalar, a gradient (one value per anchor, linearly interpolated over the layers of the slice),
or a list of conditionals of which the first that matches decides."""

Parameters: TypeAlias = dict[str, ParameterValue]


class Source(Frozen):
    """One input of a merge.

    Attributes:
        model: a checkpoint, or a recipe whose result is the input.
        layer_range: first and one past the last layer taken; only inside a slice.
        parameters: values for this input, by parameter name.
    """

    model: Annotated[ModelRef | Recipe, BeforeValidator(_read_ref)]
    layer_range: tuple[int, int] | None = None
    parameters: Parameters = Field(default_factory=dict)


class Slice(Frozen):
    """A run of output layers, merged from equally long runs of the sources' layers."""

    sources: tuple[Source, ...] = Field(min_length=1)
    base_model: Annotated[ModelRef | Recipe | None, BeforeValidator(_read_ref)] = None
    parameters: Parameters = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = set()
        for source in self.sources:
            if source.layer_range is None:
                raise ValueError(f"source '{source.model}' of a slice needs a layer_range")
            first, end = source.layer_range
            if not 0 <= first < end:
                raise ValueError(f"layer_range must be [first, one past last], got {[first, end]}")
            lengths.add(end - first)
        if len(lengths) > 1:
            raise ValueError(f"sources of one slice need equally many layers, got {lengths}")
        return self


class Recipe(Frozen):
    """A merge: which inputs, by which method, with which parameters.

    Attributes:
        merge_method: a registered method of `evomerge.merging`.
        base_model: origin of task vectors; slerp's t = 0 end.
        models: whole-model inputs; exactly one of `models` and `slices` is given.
        slices: layer-wise assembly; output layers are numbered through the slices.
        parameters: values that hold wherever no slice or source says otherwise.
        dtype: dtype every input is cast to on load (mergekit's meaning in compat mode); natively
            arithmetic is fp32 throughout and this is the output dtype when `out_dtype` is unset.
        out_dtype: dtype of the merged tensors.
        tokenizer_source: 'base', 'union' or a model reference whose tokenizer is written.
        seed: names every random draw inside the merge.
        compat: 'mergekit-0.1.5' reproduces that version's arithmetic, quirks included.
    """

    merge_method: str
    base_model: Annotated[ModelRef | Recipe | None, BeforeValidator(_read_ref)] = None
    models: tuple[Source, ...] | None = None
    slices: tuple[Slice, ...] | None = None
    parameters: Parameters = Field(default_factory=dict)
    dtype: DType | None = None
    out_dtype: DType | None = None
    tokenizer_source: str | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    compat: Literal["mergekit-0.1.5"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.models is None) == (self.slices is None):
            raise ValueError("give exactly one of 'models' and 'slices'")
        if not (self.models or self.slices):
            raise ValueError("a recipe needs at least one input")
        for source in self.models or ():
            if source.layer_range is not None:
                raise ValueError("layer_range belongs inside slices, not models")
        return self
