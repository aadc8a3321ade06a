"""Where a tensor sits in a decoder: its layer and its part, read off its name alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["attention", "mlp", "norm", "embedding", "head", "other"]

_LAYER = re.compile(
    r"^(?P<prefix>(?:[\w]+\.)*?(?:layers|h|blocks|layer)\.)(?P<index>\d+)\.(?P<rest>.+)$"
)
_PARTS: tuple[tuple[Part, re.Pattern[str]], ...] = (
    ("norm", re.compile(r"norm|(^|\.)ln_")),
    ("attention", re.compile(r"attn|attention")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|moe|experts")),
    ("head", re.compile(r"lm_head|embed_out")),
    ("embedding", re.compile(r"embed|wte|wpe")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layer structure of a checkpoint.

    Attributes:
        tensors: every tensor name, sorted.
        n_layers: number of layers.
        prefix: what stands before the layer index in a layered name, e.g. 'model.layers.'.
        model_type: the architecture in transformers' words, '' where unknown.
    """

    tensors: tuple[str, ...]
    n_layers: int
    prefix: str
    model_type: str = ""

    @classmethod
    def of(cls, names: Iterable[str], model_type: str = "") -> Layout:
        """Derive the layout from tensor names; without layered names `n_layers` is 0."""
        tensors = tuple(sorted(names))
        matches = [match for match in map(_LAYER.match, tensors) if match]
        if not matches:
            return cls(tensors, 0, "", model_type)
        prefixes = [match["prefix"] for match in matches]
        prefix = max(sorted(set(prefixes)), key=prefixes.count)
        indices = [int(match["index"]) for match in matches if match["prefix"] == prefix]
        return cls(tensors, max(indices) + 1, prefix, model_type)

    def layer_of(self, name: str) -> int | None:
        """Return the layer index in a tensor name; None outside the layers."""
        match = _LAYER.match(name)
        return int(match["index"]) if match and match["prefix"] == self.prefix else None

    def renumbered(self, name: str, layer: int) -> str:
        """Return the name of the same tensor in another layer."""
        match = _LAYER.match(name)
        if match is None or match["prefix"] != self.prefix:
            raise ValueError(f"'{name}' is not inside a layer")
        return f"{self.prefix}{layer}.{match['rest']}"


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """How many numbers a model stores.

    Attributes:
        layers: in each layer.
        outside: in embeddings, final norm and head.
    """

    layers: tuple[int, ...]
    outside: int

    @classmethod
    def of(cls, layout: Layout, shape: Callable[[str], tuple[int, ...]]) -> ParameterCounts:
        """Count the tensors of a model by their shapes."""
        layers, outside = [0] * layout.n_layers, 0
        for name in layout.tensors:
            layer = layout.layer_of(name)
            if layer is None:
                outside += math.prod(shape(name))
            else:
                layers[layer] += math.prod(shape(name))
        return cls(tuple(layers), outside)


def part_of(name: str) -> Part:
    """Return the part of the decoder a tensor belongs to."""
    match = _LAYER.match(name)
    local = match["rest"] if match else name
    for part, pattern in _PARTS:
        if pattern.search(local):
            return part
    return "other"
