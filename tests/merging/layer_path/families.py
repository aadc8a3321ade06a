"""Tiny random decoders of every architecture that a layer path supports."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from tests.merging.tiny_models import VOCABULARY, tokenizer

SMALL = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
WINDOW = 5
KINDS = ("sliding_attention", "full_attention")
EXPERTS = {"num_experts_per_tok": 2, "norm_topk_prob": True, "moe_intermediate_size": 24}

# family: (name in transformers, what differs from SMALL)
FAMILIES = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": 2}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "qwen2_moe": (
        "Qwen2Moe",
        {
            **EXPERTS,
            "num_experts": 4,
            "shared_expert_intermediate_size": 24,
            "mlp_only_layers": [1],
        },
    ),
    "qwen3_moe": ("Qwen3Moe", {**EXPERTS, "num_experts": 4, "head_dim": 8}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "phi3": ("Phi3", {"sliding_window": WINDOW}),
    "gemma": ("Gemma", {"head_dim": 8}),
    "gemma2": (
        "Gemma2",
        {"head_dim": 8, "sliding_window": WINDOW, "layer_types": 2, "query_pre_attn_scalar": 8},
    ),
    "gemma3_text": (
        "Gemma3",
        {"head_dim": 8, "sliding_window": WINDOW, "layer_types": 2, "query_pre_attn_scalar": 8},
    ),
    "olmo2": ("Olmo2", {}),
    "gpt2": ("GPT2", {}),
}


def config(family: str, **changes):
    """Return the configuration of a tiny model; layer kinds alternate where there are several."""
    name, extra = FAMILIES[family]
    if family == "gpt2":
        settings = {
            **{key: SMALL[key] for key in SMALL if key.endswith("_id") or key == "vocab_size"},
            **{"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64},
        }
    else:
        settings = {**SMALL, **extra}
    settings |= changes
    if settings.get("layer_types") == 2:
        depth = settings["num_hidden_layers"]
        settings["layer_types"] = [KINDS[layer % 2] for layer in range(depth)]
    kind = f"{name}TextConfig" if family == "gemma3_text" else f"{name}Config"
    return getattr(transformers, kind)(**settings)


def save(family: str, folder: Path, *, seed: int, dtype=torch.float32, **changes) -> Path:
    """Save a random model whose logits are far apart, so that rounding decides nothing."""
    name = FAMILIES[family][0]
    head = "GPT2LMHeadModel" if family == "gpt2" else f"{name}ForCausalLM"
    model = getattr(transformers, head)(config(family, **changes))
    generator = torch.Generator().manual_seed(seed)
    centre = 0.0 if family.startswith("gemma") else 1.0
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.ndim == 1 and not key.endswith("bias")
            parameter.copy_(noise * (0.1 if parameter.ndim == 1 else 0.3) + is_gain * centre)
    model.to(dtype).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
