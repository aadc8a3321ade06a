"""Which models' layers may follow one another in a path.

A layer fits behind another when both belong to one architecture and the configuration that shapes
a layer is the same. What shapes embeddings, head and positions only is the first model's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.merging.settings import filled
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.model import LayerPath

# Keys of a configuration that no layer reads when it runs.
_OUTSIDE_LAYERS = frozenset(
    {
        *("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"),
        *("max_position_embeddings", "n_positions", "n_ctx", "final_logit_softcapping"),
        *("use_cache", "initializer_range", "pretraining_tp"),
        *("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop"),
        *("summary_type", "summary_use_proj", "summary_activation"),
        *("summary_proj_to_labels", "summary_first_dropout"),
        *("output_router_logits", "router_aux_loss_coef", "router_jitter_noise"),
    }
)
# Keys that say how many layers there are and of which kind each is: every hop brings its own kind.
_LAYER_BY_LAYER = frozenset(
    {
        *("num_hidden_layers", "n_layer", "layer_types", "mlp_layer_types"),
        *("use_sliding_window", "max_window_layers", "_sliding_window_pattern"),
        *("sliding_window_pattern", "decoder_sparse_step", "mlp_only_layers"),
    }
)
_REFUSED = {
    "scale_attn_by_inverse_layer_idx": (
        "its attention divides by the number of the layer, which a path changes"
    ),
    "use_bidirectional_attention": "it is no decoder: its attention looks ahead",
    "add_cross_attention": "its layers attend to an encoder, which a path does not have",
}


def require_compatible(
    configs: Sequence[tuple[str, Mapping[str, Any], int]], path: LayerPath
) -> None:
    """Check that a path can run through the layers of models.

    Args:
        configs: label, content of config.json and number of layers of each model of the recipe, in
            the recipe's order; the first lends embeddings, norm and head.
        path: hops into these models.

    Raises:
        CheckpointError: an architecture is not supported, two models differ in what shapes a
            layer, or a hop names a layer that does not exist; every problem found, one a line.
    """
    problems = [text for label, config, _ in configs for text in _unsupported(label, config)]
    if not problems:
        first, first_config, _ = configs[0]
        expected = _shape_of_layers(first, first_config)
        for label, config, _ in configs[1:]:
            problems += _differences(first, expected, label, _shape_of_layers(label, config))
    for position, hop in enumerate(path.hops):
        label, _, n_layers = configs[hop.model]
        if hop.layer >= n_layers:
            problems.append(
                f"hop {position}: model '{label}' has no layer {hop.layer}; its {n_layers} layers "
                f"are numbered from 0 to {n_layers - 1}"
            )
    if problems:
        raise CheckpointError("\n".join(dict.fromkeys(problems)))


def _unsupported(label: str, config: Mapping[str, Any]) -> list[str]:
    kind = config.get("model_type")
    if kind not in BLOCKS:
        return [
            f"model '{label}': no layer path through model_type {kind!r}; supported are decoders "
            f"of type {', '.join(sorted(BLOCKS))}"
        ]
    return [
        f"model '{label}': no layer path through a model with {key}: {reason}"
        for key, reason in _REFUSED.items()
        if config.get(key)
    ]


def _differences(
    first: str, expected: Mapping[str, Any], label: str, found: Mapping[str, Any]
) -> list[str]:
    if expected["model_type"] != found["model_type"]:
        keys = ["model_type"]
    else:
        keys = [key for key in expected if expected[key] != found.get(key)]
    return [
        f"model '{label}' has {key} {found.get(key)!r} and model '{first}' {expected[key]!r}; "
        "layers of one path must agree in it"
        for key in keys
    ]


def _shape_of_layers(label: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what shapes a layer, with the values that a configuration leaves to its defaults."""
    kind = config["model_type"]
    settings = filled(config, f"model '{label}'").to_dict()
    shape = {key: settings.get(key) for key in _layer_keys(kind)}
    if shape.get("head_dim", 0) is None:
        shape["head_dim"] = shape["hidden_size"] // shape["num_attention_heads"]
    if "n_embd" in shape and shape["n_inner"] is None:
        shape["n_inner"] = 4 * shape["n_embd"]
    return {"model_type": kind, **shape}


@cache
def _layer_keys(kind: str) -> tuple[str, ...]:
    """Return the keys of an architecture's configuration that shape a layer.

    Only keys that the architecture knows: files carry notes of the tools that wrote them, too.
    """
    from transformers import CONFIG_MAPPING, PretrainedConfig  # noqa: PLC0415 -- seconds to import

    known = set(CONFIG_MAPPING[kind]().to_dict()) - set(PretrainedConfig().to_dict())
    return tuple(sorted(known - _OUTSIDE_LAYERS - _LAYER_BY_LAYER))
