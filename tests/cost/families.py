"""Tiny configurations of every architecture whose size is known."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 24,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "sliding_window": 6,
}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 50}


def tiny(kind: str, **changes: Any) -> Any:
    """Build the configuration of a tiny model."""
    if kind == "gpt2":
        return CONFIG_MAPPING[kind](**{**_GPT2, **_TOKENS, **changes})
    known = {key: value for key, value in _SMALL.items() if hasattr(CONFIG_MAPPING[kind](), key)}
    return CONFIG_MAPPING[kind](**{**known, **_TOKENS, **changes})


def build(config: Any, *, device: str = "cpu") -> torch.nn.Module:
    """Build the model, with attention and experts as plain matrix products."""
    config._experts_implementation = "eager"
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.eval()
