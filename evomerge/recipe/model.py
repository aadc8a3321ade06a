"""The recipe: a frozen, validated description of one merge.

A recipe is a tree. Its leaves are model references, its inner nodes are recipes whose result is
merged again. Keys and parameter values follow mergekit's YAML, which users know; what is ours is
named in `Recipe`. Nothing here reads a file or knows a merge method: `evomerge.merging` checks a
recipe against real checkpoints.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from evomerge.recipe.lineage import Lineage

Scalar: TypeAlias = bool | int | float | str
DType: TypeAlias = Literal["float16", "bfloat16", "float32", "float64"]
COMPAT = "mergekit-0.1.5"
LINEAGE = "lineage"


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


def _read_hop(value: Any) -> Any:
    """Read the short spelling [model, layer] or [model, layer, scale]."""
    if isinstance(value, list | tuple):
        if len(value) not in (2, 3):
            raise ValueError("write a hop as [model, layer] or [model, layer, scale]")
        return dict(zip(("model", "layer", "scale"), value, strict=False))
    return value


class Hop(Frozen):
    """One step of a layer path.

    Attributes:
        model: position in the recipe's `models`.
        layer: of that model.
        scale: of the hop's input, see `LayerPath`.
    """

    model: int = Field(ge=0)
    layer: int = Field(ge=0)
    scale: float = 1.0


Scaling: TypeAlias = Literal["delta", "full"]
MAX_HOPS = 10_000
"""Longest path: many times the deepest models, and a slip of the keyboard ends here."""


class LayerPath(Frozen):
    """The order in which tokens pass through the layers of the inputs: a data-flow recipe.

    With s_k the scale of hop k, x the hidden state, e the embedding's output and s_H = 1:

    - 'delta', as the released EvoLLM-JP-v1-10B computes: x_0 = s_0 e, then per hop
      x <- x + Attn_k(x); x <- x + s_{k+1} MLP_k(x). The scale of a hop multiplies what the MLP
      before it adds; the residual stream itself is not scaled.
    - 'full', the paper's words read literally: x <- s_k x before hop k, the residual included.

    Source: Akiba et al. 2025, arXiv 2403.13187, section 3.2, and the code of the released model.

    Attributes:
        hops: in order, at most 10,000. A layer may be used again; each use has its own key/value
            cache.
        scaling: what the hops' scales mean.
    """

    hops: tuple[Annotated[Hop, BeforeValidator(_read_hop)], ...]
    scaling: Scaling = "delta"

    @field_validator("hops", mode="before")
    @classmethod
    def _check_length(cls, hops: Any) -> Any:
        if isinstance(hops, list | tuple) and not hops:
            raise ValueError("the path is empty; give it at least one hop")
        if isinstance(hops, list | tuple) and len(hops) > MAX_HOPS:
            raise ValueError(f"the path is too long: {len(hops):,} hops of at most {MAX_HOPS:,}")
        return hops

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scaling == "full":
            for position, hop in enumerate(self.hops):
                if hop.scale <= 0:
                    raise ValueError(
                        f"hop {position}: scale {hop.scale:g} under scaling 'full' multiplies the "
                        "whole hidden state; it must be positive"
                    )
        elif self.hops[0].scale == 0:
            raise ValueError("hop 0: scale 0 erases the embedding; give it another value")
        return self


class Recipe(Frozen):
    """A merge: which inputs, by which method, with which parameters.

    Attributes:
        merge_method: a registered method of `evomerge.merging`.
        base_model: origin of task vectors; slerp's t = 0 end.
        models: whole-model inputs; exactly one of `models` and `slices` is given.
        path: an order of the inputs' layers instead of a mix of their weights; the method is
            passthrough then, and the first of `models` lends embeddings, final norm, head,
            configuration and tokenizer.
        lineage: weights that descend from the inputs by merges of merges, as members of a
            population do; the method is lineage then, and base_model is what task vectors start
            from (with origin zero, what lends configuration and tokenizer).
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
    path: LayerPath | None = None
    lineage: Lineage | None = None
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
        if self.path is not None:
            self._check_path(self.path)
        if (self.lineage is not None) != (self.merge_method == LINEAGE):
            raise ValueError("'merge_method: lineage' and 'lineage' go together")
        if self.lineage is not None:
            self._check_lineage(self.lineage)
        return self

    def _check_lineage(self, lineage: Lineage) -> None:
        if self.models is None or self.base_model is None or self.path is not None:
            raise ValueError("a lineage needs 'models' and 'base_model', and takes no path")
        if self.compat is not None or self.tokenizer_source is not None:
            raise ValueError("a lineage takes neither compat nor tokenizer_source; remove them")
        if self.parameters or any(source.parameters for source in self.models):
            raise ValueError("a lineage takes no parameters; its nodes have weights")
        strangers = [donor for donor in sorted(lineage.donors) if donor >= len(self.models)]
        if strangers:
            raise ValueError(
                f"lineage: there is no model {strangers[0]}; models are numbered from 0 to "
                f"{len(self.models) - 1}"
            )

    def _check_path(self, path: LayerPath) -> None:
        if self.models is None or self.merge_method != "passthrough":
            raise ValueError("a path needs 'merge_method: passthrough' and 'models'")
        if self.compat is not None or self.tokenizer_source is not None:
            raise ValueError("a path takes neither compat nor tokenizer_source; remove them")
        if self.parameters or any(source.parameters for source in self.models):
            raise ValueError("a path takes no parameters; give its hops scales")
        for position, hop in enumerate(path.hops):
            if hop.model >= len(self.models):
                raise ValueError(
                    f"hop {position}: there is no model {hop.model}; models are numbered from 0 "
                    f"to {len(self.models) - 1}"
                )


Node: TypeAlias = ModelRef | Recipe
"""What can be merged: a checkpoint, or the result of another recipe."""
