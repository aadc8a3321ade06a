"""Decoder blocks by architecture: where a layer's branches end, and how a factor folds into them.

A pre-norm block computes x <- x + attention(norm(x)); x <- x + mlp(norm(x)). A layer path with
scales multiplies what a branch adds (see `evomerge.recipe.model.LayerPath`), and the product folds
into the last linear map of the branch; where a norm follows that map ("sandwich" and post-norm
blocks), into the norm's gain instead, since the norm would undo any other place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Block:
    """One kind of decoder layer.

    Attributes:
        mlp: module of a layer, as transformers names it, whose output the MLP branch adds.
        attention_out: substring of the names of the tensors that a factor on the attention branch
            multiplies, biases and experts included.
        mlp_out: the same for the MLP branch.
        gain_offset: where those tensors are norm gains: what the norm adds to the stored gain
            before it multiplies (1 in Gemma); a factor f makes f * (offset + g) - offset of g.
        inputs: substrings of the tensors that read the residual stream without a norm before
            them; empty in blocks that begin with a norm.
        embeddings: substrings of the tensors whose sum enters the first layer.
        layer_types: what the configuration says of the attention of single layers, listed or
            derived from the layer's index: nothing, that it is full nearly always ('uniform'), or
            that full and sliding ones take turns.
        norms: how many a layer has, beside those of queries and keys.
    """

    mlp: str
    attention_out: str
    mlp_out: str
    gain_offset: float = 0.0
    inputs: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ("embed_tokens",)
    layer_types: Literal["none", "uniform", "alternating"] = "none"
    norms: int = 2


_PRE_NORM = Block("mlp", "o_proj", "down_proj")
_QWEN = replace(_PRE_NORM, layer_types="uniform")
_POST_NORMS = ("post_feedforward_layernorm", "post_attention_layernorm")
_SANDWICH = Block(
    _POST_NORMS[0],
    _POST_NORMS[1],
    _POST_NORMS[0],
    gain_offset=1.0,
    layer_types="alternating",
    norms=4,
)
_POST_NORM = Block(
    _POST_NORMS[0],
    _POST_NORMS[1],
    _POST_NORMS[0],
    inputs=("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"),
)

BLOCKS: Mapping[str, Block] = {
    "llama": _PRE_NORM,
    "mistral": _PRE_NORM,
    "mixtral": Block("mlp", "o_proj", "w2"),
    "qwen2": _QWEN,
    "qwen2_moe": _QWEN,
    "qwen3": _QWEN,
    "qwen3_moe": _PRE_NORM,
    "phi3": _PRE_NORM,
    "gemma": _PRE_NORM,
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
    "olmo2": _POST_NORM,
    "gpt2": Block("mlp", "attn.c_proj", "mlp.c_proj", embeddings=("wte", "wpe")),
}
"""By model_type of transformers."""


def is_dense(config: Mapping[str, Any], layer: int) -> bool:
    """Tell whether a layer has one MLP, by the rule of Qwen's mixtures of experts.

    Args:
        config: in the words of config.json; what it leaves out makes layers sparse.
        layer: number of the layer.
    """
    every = config.get("decoder_sparse_step", 1)
    sparse = config.get("num_experts", 1) > 0 and (layer + 1) % every == 0
    return layer in (config.get("mlp_only_layers") or ()) or not sparse
