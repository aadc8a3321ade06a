"""A layer path written out by hand: the documented formulas over whole models of transformers."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM

from tests.merging.layer_path.families import WINDOW


def whole_model(folder, dtype=torch.float32):
    """Load a checkpoint the way users do."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval().requires_grad_(False)


def logits(models, hops, scaling, ids):
    """Return the logits (n_rows, n_tokens, n_vocabulary) of a path; every row is unpadded."""
    first = models[0]
    decoder = first.get_decoder()
    positions = torch.arange(ids.shape[1])[None]
    x = _embed(decoder, ids, positions)
    scales = [scale for _, _, scale in hops] + [1.0]
    if scaling == "delta":
        x = scales[0] * x
    for k, (model, layer, _) in enumerate(hops):
        owner = models[model]
        if scaling == "full":
            x = scales[k] * x
        kind = _kind(owner.config, layer)
        attention, mlp = _branches(_layers(owner)[layer], owner.config.model_type)
        extra = {"attention_mask": _mask(ids.shape[1], kind, x.dtype)}
        if hasattr(decoder, "rotary_emb"):
            named = {"layer_type": kind} if owner.config.model_type == "gemma3_text" else {}
            extra["position_embeddings"] = decoder.rotary_emb(x, positions, **named)
        x = x + attention(x, extra)
        x = x + (scales[k + 1] if scaling == "delta" else 1.0) * mlp(x)
    norm = decoder.ln_f if hasattr(decoder, "ln_f") else decoder.norm
    result = first.lm_head(norm(x))
    cap = getattr(first.config, "final_logit_softcapping", None)
    return cap * torch.tanh(result / cap) if cap else result


def _embed(decoder, ids, positions):
    if hasattr(decoder, "wpe"):
        return decoder.wte(ids) + decoder.wpe(positions)
    return decoder.embed_tokens(ids)


def _layers(model):
    decoder = model.get_decoder()
    return decoder.h if hasattr(decoder, "h") else decoder.layers


def _kind(config, layer):
    if getattr(config, "layer_types", None):
        return config.layer_types[layer]
    window = getattr(config, "sliding_window", None)
    return "sliding_attention" if window else "full_attention"


def _mask(n, kind, dtype):
    query, key = torch.arange(n)[:, None], torch.arange(n)[None]
    seen = key <= query
    if kind == "sliding_attention":
        seen &= query - key < WINDOW
    return torch.zeros(n, n, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def _branches(layer, kind):
    """Return what attention and MLP add to the residual stream, by architecture."""
    if kind == "gpt2":
        return (
            lambda x, extra: layer.attn(layer.ln_1(x), **extra)[0],
            lambda x: layer.mlp(layer.ln_2(x)),
        )
    if kind == "olmo2":
        return (
            lambda x, extra: layer.post_attention_layernorm(layer.self_attn(x, **extra)[0]),
            lambda x: layer.post_feedforward_layernorm(layer.mlp(x)),
        )
    if kind in ("gemma2", "gemma3_text"):
        return (
            lambda x, extra: layer.post_attention_layernorm(
                layer.self_attn(layer.input_layernorm(x), **extra)[0]
            ),
            lambda x: layer.post_feedforward_layernorm(
                layer.mlp(layer.pre_feedforward_layernorm(x))
            ),
        )
    return (
        lambda x, extra: layer.self_attn(layer.input_layernorm(x), **extra)[0],
        lambda x: layer.mlp(layer.post_attention_layernorm(x)),
    )
