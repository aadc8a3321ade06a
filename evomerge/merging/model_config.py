"""config.json of a merged model: the reference model's, brought in line with what was merged."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch

from evomerge.errors import RecipeError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.skeleton import Slot
from evomerge.merging.tokenizer import OutputTokenizer
from evomerge.recipe.blocks import BLOCKS, is_dense
from evomerge.recipe.layout import part_of

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# Lists with one entry a layer: attention kinds, position encodings, dense or sparse MLPs.
_PER_LAYER_KEYS = ("layer_types", "no_rope_layers", "mlp_layer_types")
# Which input's which layer each output layer is, or is foremost made of.
_Origins: TypeAlias = Sequence[tuple[Checkpoint, int]]


def output_config(
    reference: Mapping[str, Any], slots: Sequence[Slot], tokenizer: OutputTokenizer
) -> dict[str, Any]:
    """Return the configuration of a merged model.

    Args:
        reference: config.json of the base, or of the first input.
        slots: the laid-out output tensors.
        tokenizer: of the output; it decides the vocabulary size and the special tokens.

    Layers that were rearranged keep their kind: where the reference configuration derives the kind
    from the layer's number, it is written out.

    Raises:
        RecipeError: layers were rearranged and the configuration names no depth.
    """
    config = copy.deepcopy(dict(reference))
    config.pop("_name_or_path", None)
    config.pop("auto_map", None)  # names code files, which are never written
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
    if any(key in config for key in DEPTH_KEYS):
        return config
    section = config.get("text_config")
    return section if isinstance(section, dict) else config


def _set_depth(config: dict[str, Any], slots: Sequence[Slot]) -> None:
    section = text_section(config)
    key = next((key for key in DEPTH_KEYS if key in section), None)
    if key is None:
        raise RecipeError(
            f"slices: config.json of the base names no depth (one of {', '.join(DEPTH_KEYS)}); "
            "only whole models can be merged"
        )
    found: dict[int, tuple[Checkpoint, int]] = {}
    for slot in slots:
        if slot.layer is not None and slot.layers[0] is not None:
            owner = slot.stage.checkpoints[slot.members[0]]
            found.setdefault(slot.layer, (owner, slot.layers[0]))
    origins = [found[layer] for layer in sorted(found)]
    depth = section[key]
    section[key] = len(origins)
    for name in _PER_LAYER_KEYS:
        _arrange(section, name, depth, origins)
    _arrange_experts(section, origins)


def _arrange(section: dict[str, Any], name: str, depth: int, origins: _Origins) -> None:
    """Give a list with one entry a layer the entries of the layers taken."""
    given = section.get(name)
    listed = given if isinstance(given, list) and len(given) == depth else None
    derived = name == "layer_types" and _derives_layer_types(section)
    if listed is None and not derived:
        return
    entries = []
    for owner, layer in origins:
        of_owner = text_section(dict(owner.config))
        own = of_owner.get(name) or (_layer_types(of_owner) if derived else listed)
        if not isinstance(own, list) or layer >= len(own):
            raise RecipeError(
                f"config.json of '{owner.label}' does not say of which kind layer {layer} is; "
                f"add it to '{name}'"
            )
        entries.append(own[layer])
    section[name] = entries


def _derives_layer_types(section: Mapping[str, Any]) -> bool:
    block = BLOCKS.get(str(section.get("model_type")))
    return block is not None and block.layer_types != "none"


def _layer_types(config: Mapping[str, Any]) -> list[str]:
    """Return the layer_types that transformers derives from the layers' numbers."""
    from transformers import CONFIG_MAPPING  # noqa: PLC0415 -- seconds to import

    settings = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    return list(settings.layer_types)


def _arrange_experts(section: dict[str, Any], origins: _Origins) -> None:
    """Name the dense layers of a mixture of experts where a rule no longer finds them."""
    if not {"decoder_sparse_step", "mlp_only_layers"} & set(section):
        return
    dense = [
        k
        for k, (owner, layer) in enumerate(origins)
        if is_dense(text_section(dict(owner.config)), layer)
    ]
    if dense != [k for k in range(len(origins)) if is_dense(section, k)]:
        section["mlp_only_layers"] = dense
        section["decoder_sparse_step"] = 1
