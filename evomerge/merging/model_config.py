"""config.json of a merged model: the reference model's, brought in line with what was merged."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evomerge.errors import RecipeError
from evomerge.merging.skeleton import Slot
from evomerge.merging.tokenizer import OutputTokenizer
from evomerge.recipe.layout import part_of

_DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# Lists with one entry a layer: attention kinds, position encodings, dense or sparse MLPs.
_PER_LAYER_KEYS = ("layer_types", "no_rope_layers", "mlp_layer_types")


def output_config(
    reference: Mapping[str, Any], slots: Sequence[Slot], tokenizer: OutputTokenizer
) -> dict[str, Any]:
    """Return the configuration of a merged model.

    Args:
        reference: config.json of the base, or of the first input.
        slots: the laid-out output tensors.
        tokenizer: of the output; it decides the vocabulary size and the special tokens.

    Raises:
        RecipeError: layers were rearranged and the configuration names no depth.
    """
    config = copy.deepcopy(dict(reference))
    config.pop("_name_or_path", None)
    if any(slot.stage.index is not None for slot in slots):
        _set_depth(config, slots)
    if tokenizer.alignment is not None:
        section = config if "vocab_size" in config else text_section(config)
        section["vocab_size"] = tokenizer.alignment.rows
    if tokenizer.owner is not None:
        config.update(
            {key: value for key, value in tokenizer.owner.config.items() if key in _SPECIAL_TOKENS}
        )
    head = any(part_of(slot.name) == "head" and slot.layer is None for slot in slots)
    if head and config.get("tie_word_embeddings"):
        config["tie_word_embeddings"] = False
    return config


def set_dtype(config: dict[str, Any], dtypes: Sequence[tuple[torch.dtype, int]]) -> None:
    """Record the dtype most elements have, given (dtype, number of elements) of every tensor."""
    totals: dict[torch.dtype, int] = {}
    for dtype, n in dtypes:
        if dtype.is_floating_point:
            totals[dtype] = totals.get(dtype, 0) + n
    if totals:
        config.pop("torch_dtype", None)
        config["dtype"] = str(max(totals, key=lambda dtype: totals[dtype])).removeprefix("torch.")


def text_section(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that describes the layers."""
    if any(key in config for key in _DEPTH_KEYS):
        return config
    section = config.get("text_config")
    return section if isinstance(section, dict) else config


def _set_depth(config: dict[str, Any], slots: Sequence[Slot]) -> None:
    section = text_section(config)
    key = next((key for key in _DEPTH_KEYS if key in section), None)
    if key is None:
        raise RecipeError(
            f"slices: config.json of the base names no depth (one of {', '.join(_DEPTH_KEYS)}); "
            "only whole models can be merged"
        )
    origin: dict[int, int] = {}
    for slot in slots:
        if slot.layer is not None and slot.layers[0] is not None:
            origin.setdefault(slot.layer, slot.layers[0])
    depth = section[key]
    section[key] = len(origin)
    for name in _PER_LAYER_KEYS:
        values = section.get(name)
        if isinstance(values, list) and len(values) == depth:
            section[name] = [values[origin[layer]] for layer in sorted(origin)]
