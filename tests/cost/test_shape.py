"""Counts from a configuration equal what transformers builds."""

from __future__ import annotations

import pytest

from evomerge.cost.shape import shape_of
from evomerge.errors import CheckpointError
from evomerge.recipe.blocks import BLOCKS
from tests.cost.families import build, tiny

VARIANTS = [
    *((kind, {}) for kind in BLOCKS),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("qwen3", {"attention_bias": True}),
    ("gemma2", {"attention_bias": True}),
    ("gemma3_text", {"tie_word_embeddings": False}),
    ("olmo2", {"attention_bias": True}),
    ("qwen2_moe", {"qkv_bias": False}),
    ("qwen2_moe", {"mlp_only_layers": [0], "decoder_sparse_step": 2}),
    ("qwen3_moe", {"mlp_only_layers": [1], "tie_word_embeddings": True}),
    ("gpt2", {"n_inner": 40}),
]


@pytest.mark.parametrize(("kind", "changes"), VARIANTS, ids=str)
def test_parameters_equal_those_of_the_model_transformers_builds(kind, changes):
    config = tiny(kind, **changes)
    model = build(config, device="meta")
    shape = shape_of(config.to_dict())
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    of_layers = [sum(p.numel() for p in layer.parameters()) for layer in _layers(model)]
    assert [layer.parameters for layer in shape.layers] == of_layers


def test_a_published_size_is_met():
    # Jiang et al. 2023, arXiv 2310.06825, table 1
    config = {
        "model_type": "mistral",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 32000,
        "dtype": "bfloat16",
    }
    shape = shape_of(config)
    assert shape.parameters == 7_241_732_096
    assert shape.bytes == 14_483_464_192
    assert shape.layers[0].parameters == 218_112_000


def test_an_exported_path_has_one_layer_a_hop():
    shape = shape_of(tiny("llama").to_dict())
    path = shape.with_layers([shape.layers[0]] * 5)
    built = build(tiny("llama", num_hidden_layers=5), device="meta")
    assert path.parameters == sum(p.numel() for p in built.parameters())


def test_the_dtype_decides_the_bytes():
    config = {**tiny("llama").to_dict(), "dtype": "float16"}
    shape = shape_of(config)
    assert shape.bytes == 2 * shape.parameters
    assert shape.with_dtype("float32").bytes == 4 * shape.parameters


def test_an_unknown_architecture_is_named():
    with pytest.raises(CheckpointError, match=r"donor 'a': no cost model for model_type 'bert'"):
        shape_of({"model_type": "bert"}, "donor 'a'")


def _layers(model):
    decoder = model.get_decoder()
    return decoder.h if hasattr(decoder, "h") else decoder.layers
