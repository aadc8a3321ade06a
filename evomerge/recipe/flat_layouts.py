"""Flat orders of decoder models: as stored, by depth, or by hidden unit and attention head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from evomerge.errors import RecipeError, nearest
from evomerge.recipe.layout import Layout, part_of
from evomerge.recipe.order import Block, Member, Order

LayoutName: TypeAlias = Literal["storage", "depth", "unit"]
"""storage: tensors in the order of their names, as files hold them, row by row.
depth: embedding, layers in order, final norm and head; row by row.
unit: as depth, but each MLP hidden unit by hidden unit (incoming rows, their biases, the outgoing
column) and each attention by key/value head (its query, key and value rows, its output columns)."""


@dataclass(frozen=True, slots=True)
class TensorShapes:
    """What a model's flat orders are made from.

    Attributes:
        layout: its layer structure.
        shapes: of every tensor of floating-point numbers, by name.
        kv_heads: key/value heads of an attention; 0 where the configuration names none.
        heads: query heads of an attention; 0 where the configuration names none.
    """

    layout: Layout
    shapes: Mapping[str, tuple[int, ...]]
    kv_heads: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True)
class _Units:
    """Tensors of a layer whose units belong together: (end of the name, axis of the units)."""

    mlp: tuple[tuple[str, int], ...]
    attention: tuple[tuple[str, int], ...]


_LLAMA_MLP = (("gate_proj.weight", 0), ("up_proj.weight", 0), ("down_proj.weight", 1))
_LLAMA_ATTENTION = (
    ("q_proj.weight", 0),
    ("q_proj.bias", 0),
    ("k_proj.weight", 0),
    ("k_proj.bias", 0),
    ("v_proj.weight", 0),
    ("v_proj.bias", 0),
    ("o_proj.weight", 1),
)
_LLAMA = _Units(_LLAMA_MLP, _LLAMA_ATTENTION)
_UNITS: Mapping[str, _Units] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "olmo2",
        ),
        _LLAMA,
    ),
    "phi3": _Units(
        (("gate_up_proj.weight", 0), ("down_proj.weight", 1)),
        (("qkv_proj.weight", 0), ("o_proj.weight", 1)),
    ),
    # GPT-2 stores (inputs, outputs): rows and columns change places.
    "gpt2": _Units(
        (("c_fc.weight", 1), ("c_fc.bias", 0), ("mlp.c_proj.weight", 0)),
        (("c_attn.weight", 1), ("c_attn.bias", 0), ("attn.c_proj.weight", 0)),
    ),
}
"""By model_type of transformers."""

_FUSED_QKV = ("qkv_proj", "c_attn")
_FUSED_GATE_UP = "gate_up_proj"


def order_of(
    shape: TensorShapes, layout: LayoutName, chromosomes: Mapping[str, str] | None = None
) -> Order:
    """Lay a model out flat.

    Args:
        shape: of the model.
        layout: which order.
        chromosomes: name to regular expression over tensor names; a block belongs to the first
            that is found in the name of its first tensor. One chromosome without them.

    Raises:
        RecipeError: the order does not know the architecture, or a tensor belongs to no
            chromosome, or a chromosome has none.
    """
    blocks = list(_blocks(shape, layout))
    if not blocks:
        raise RecipeError("the models hold no floating-point numbers to merge")
    if not chromosomes:
        return Order([("all", blocks)])
    groups: dict[str, list[Block]] = {name: [] for name in chromosomes}
    for block in blocks:
        tensor = block.members[0].tensor
        name = next((n for n, pattern in chromosomes.items() if re.search(pattern, tensor)), None)
        if name is None:
            raise RecipeError(
                f"chromosomes: tensor '{tensor}' belongs to none of {', '.join(chromosomes)}; add "
                "one for the rest, e.g. rest: '.'"
            )
        groups[name].append(block)
    empty = [name for name, own in groups.items() if not own]
    if empty:
        raise RecipeError(
            f"chromosomes: no tensor is left for '{empty[0]}' ({chromosomes[empty[0]]!r}); change "
            "its expression or remove it"
        )
    return Order(list(groups.items()))


def _blocks(shape: TensorShapes, layout: LayoutName) -> Iterator[Block]:
    names = sorted(shape.shapes)
    if layout == "storage":
        for name in names:
            yield _rows(shape, name)
        return
    by_layer: dict[int, list[str]] = {}
    before, after = [], []
    for name in names:
        layer = shape.layout.layer_of(name)
        if layer is not None:
            by_layer.setdefault(layer, []).append(name)
        elif part_of(name) == "embedding" or ("embed" in name and part_of(name) != "head"):
            before.append(name)
        else:
            after.append(name)
    after.sort(key=lambda name: part_of(name) == "head")
    for name in before:
        yield _rows(shape, name)
    for layer in sorted(by_layer):
        if layout == "depth":
            yield from (_rows(shape, name) for name in by_layer[layer])
        else:
            yield from _units(shape, layer, by_layer[layer])
    for name in after:
        yield _rows(shape, name)


def _rows(shape: TensorShapes, name: str) -> Block:
    """Return a tensor row by row; a vector element by element."""
    size = shape.shapes[name]
    rows = size[0] if size else 1
    return Block((Member.whole(name, size),), rows, shape.layout.layer_of(name))


def _units(shape: TensorShapes, layer: int, names: list[str]) -> Iterator[Block]:
    """Group the tensors of a layer by attention head and hidden unit."""
    kind = shape.layout.model_type
    if kind not in _UNITS:
        raise RecipeError(
            f"layout: 'unit' does not know how a layer of model_type '{kind}' is made; "
            f"{nearest(kind, _UNITS)} Use layout 'depth'"
        )
    known = _UNITS[kind]
    groups = (
        (_members(shape, names, known.attention), shape.kv_heads),
        (_members(shape, names, known.mlp), 0),
    )
    grouped = {member.tensor for members, _ in groups for member in members}
    for members, heads in groups:
        if not members:
            raise RecipeError(
                f"layout: layer {layer} has no tensors of an MLP or attention that 'unit' knows "
                f"in model_type '{kind}'; use layout 'depth'"
            )
        units = heads or members[0].end - members[0].first
        if any((member.end - member.first) % units for member in members):
            raise RecipeError(
                f"layout: {units} units do not divide '{members[0].tensor}' and its companions in "
                f"layer {layer}; use layout 'depth'"
            )
        yield Block(tuple(members), units, layer)
    for name in names:
        if name not in grouped:
            yield _rows(shape, name)


def _members(
    shape: TensorShapes, names: list[str], ends: tuple[tuple[str, int], ...]
) -> list[Member]:
    members: list[Member] = []
    for end, axis in ends:
        for name in names:
            if name.endswith(end):
                members += _parts(shape, name, axis)
    return members


def _parts(shape: TensorShapes, name: str, axis: int) -> Iterator[Member]:
    """Yield the pieces of a fused projection, each of which has units of its own."""
    size = shape.shapes[name]
    length = size[axis]
    if any(f"{part}." in name for part in _FUSED_QKV):
        heads, kv_heads = shape.heads or shape.kv_heads, shape.kv_heads
        per_head = length // max(heads + 2 * kv_heads, 1)
        borders = [0, heads * per_head, (heads + kv_heads) * per_head, length]
    elif f"{_FUSED_GATE_UP}." in name:
        borders = [0, length // 2, length]
    else:
        borders = [0, length]
    for first, end in pairwise(borders):
        yield Member(name, size, axis, first, end)
