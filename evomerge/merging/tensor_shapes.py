"""The shape of a model that flat orders are made from, read off a checkpoint's headers."""

from __future__ import annotations

from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.model_config import text_section
from evomerge.merging.skeleton import weight_names
from evomerge.recipe.flat_layouts import TensorShapes

_HEADS = ("num_attention_heads", "n_head")


def tensor_shapes(checkpoint: Checkpoint) -> TensorShapes:
    """Return what a population's flat order is made from; no tensor is read.

    Tensors of integers and without elements count nothing, nor do the constants (causal masks,
    rotary frequencies) that merges leave out.

    Args:
        checkpoint: the base of the population.
    """
    shapes = {name: tuple(checkpoint.shape(name)) for name in weight_names(checkpoint)}
    floating = {
        name: shape
        for name, shape in shapes.items()
        if checkpoint.dtype(name).is_floating_point and 0 not in shape
    }
    config = text_section(dict(checkpoint.config))
    heads = next((int(config[key]) for key in _HEADS if config.get(key)), 0)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    return TensorShapes(checkpoint.layout, floating, kv_heads=kv_heads, heads=heads)
