"""Tiny random decoders of every kind of block, and a naive reading of what a layer path means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode

from evomerge.merging import MergeEngine
from evomerge.merging.resident import build_module
from evomerge.recipe.model import LayerPath, Recipe

_COMMON = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-8,
}
_MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_SLIDING = {"sliding_window": 4, "query_pre_attn_scalar": 8}
SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "phi3": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    "qwen2_moe": {**_MOE, "num_experts": 3, "shared_expert_intermediate_size": 24},
    "qwen3": {},
    "qwen3_moe": {**_MOE, "num_experts": 3, "mlp_only_layers": [1]},
    "gemma": {},
    "gemma2": _SLIDING,
    "gemma3_text": {**_SLIDING, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "olmo2": {},
    "gpt2": {
        **{"n_embd": 32, "n_head": 4, "n_positions": 64, "vocab_size": 40},
        **{"bos_token_id": 1, "eos_token_id": 1, "layer_norm_epsilon": 1e-8},
    },
}
N_LAYERS = 4


def decoder(folder: Path, kind: str, *, seed: int, dtype=torch.float64, **changes: Any) -> Path:
    """Save a random decoder of a model_type."""
    depth = "n_layer" if kind == "gpt2" else "num_hidden_layers"
    settings = {depth: N_LAYERS, **({} if kind == "gpt2" else _COMMON), **SETTINGS[kind], **changes}
    config = transformers.AutoConfig.for_model(kind, **settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            gain = parameter.ndim == 1 and name.endswith("weight") and "gemma" not in kind
            embedding = any(piece in name for piece in ("embed_tokens", "wte", "wpe"))
            # Biases are not 0: they must be scaled along with their matrices.
            parameter.copy_(noise * (1.0 if embedding else 0.15) + gain)
    model.to(dtype).save_pretrained(folder)
    return folder


def load(folder: Path) -> Any:
    """Load a checkpoint in its own dtype."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", attn_implementation="eager"
    )
    return exact(model.eval())


def exact(model: Any) -> Any:
    """Let experts run one by one: the grouped kernel knows no float64."""
    model.config._experts_implementation = "eager"
    return model


class Float64(TorchFunctionMode):
    """Leave float64 tensors as they are where transformers computes in float32."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float or (func is Tensor.to and torch.float32 in args[1:]):
                return args[0]
            if kwargs.get("dtype") == torch.float32:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


TOKENS = torch.tensor([[3, 17, 5, 9, 31, 22, 8, 14, 2, 37], [6, 7, 28, 11, 3, 3, 19, 30, 12, 4]])


@torch.no_grad()
def run_path(donors: Sequence[Any], path: LayerPath) -> Tensor:
    """Return the logits of a path, written down from the definitions, branch by branch."""
    first, body = donors[0], donors[0].get_decoder()
    x = _embedded(first, body)
    scales = [hop.scale for hop in path.hops]
    if path.scaling == "delta":
        x = x * scales[0]
    for k, hop in enumerate(path.hops):
        on_mlp = 1.0
        if path.scaling == "full":
            x = x * scales[k]
        elif k + 1 < len(scales):
            on_mlp = scales[k + 1]
        x = _layer(donors[hop.model], hop.layer, x, on_mlp)
    norm = body.ln_f if first.config.model_type == "gpt2" else body.norm
    logits = first.lm_head(norm(x))
    cap = getattr(first.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _embedded(model: Any, body: Any) -> Tensor:
    if model.config.model_type == "gpt2":
        return body.wte(TOKENS) + body.wpe(torch.arange(TOKENS.shape[1]))[None]
    x = body.embed_tokens(TOKENS)
    if model.config.model_type in ("gemma", "gemma2"):
        # Gemma 3 multiplies inside its embedding.
        scaled = type(body.embed_tokens).__name__ != "Embedding"
        return x if scaled else x * torch.tensor(model.config.hidden_size**0.5, dtype=x.dtype)
    return x


def _layer(model: Any, index: int, x: Tensor, on_mlp: float) -> Tensor:
    kind, config = model.config.model_type, model.config
    if kind == "gpt2":
        block = model.get_decoder().h[index]
        x = x + block.attn(block.ln_1(x), attention_mask=_mask(x, None))[0]
        return x + on_mlp * block.mlp(block.ln_2(x))
    layer = model.get_decoder().layers[index]
    types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if types is not None and types[index] != "sliding_attention":
        window = None
    rotary = model.get_decoder().rotary_emb
    positions = torch.arange(x.shape[1])[None]
    angles = rotary(x, positions, types[index]) if kind == "gemma3_text" else rotary(x, positions)

    def attention(state: Tensor) -> Tensor:
        return layer.self_attn(
            hidden_states=state, position_embeddings=angles, attention_mask=_mask(x, window)
        )[0]

    def mlp(state: Tensor) -> Tensor:
        out = layer.mlp(state)
        return out[0] if isinstance(out, tuple) else out

    if kind in ("gemma2", "gemma3_text"):
        x = x + layer.post_attention_layernorm(attention(layer.input_layernorm(x)))
        branch = layer.post_feedforward_layernorm(mlp(layer.pre_feedforward_layernorm(x)))
    elif kind == "olmo2":
        x = x + layer.post_attention_layernorm(attention(x))
        branch = layer.post_feedforward_layernorm(mlp(x))
    else:
        x = x + attention(layer.input_layernorm(x))
        branch = mlp(layer.post_attention_layernorm(x))
    return x + on_mlp * branch


def _mask(x: Tensor, window: int | None) -> Tensor:
    n = x.shape[1]
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    seen = distance >= 0
    if window is not None:
        seen &= distance < window
    return torch.zeros(n, n, dtype=x.dtype).masked_fill(~seen, torch.finfo(x.dtype).min)[None, None]


def recipe_of(paths, hops, scaling="delta", **fields) -> Recipe:
    return Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": path if isinstance(path, dict) else str(path)} for path in paths],
            "path": {"hops": hops, "scaling": scaling},
            **fields,
        }
    )


@torch.no_grad()
def logits(engine: MergeEngine, recipe: Recipe) -> torch.Tensor:
    module = exact(build_module(engine.config(recipe), "cpu"))
    engine.apply(recipe, module)
    with Float64():
        return module(TOKENS).logits


def apart(engine: MergeEngine, recipe: Recipe, donors) -> float:
    with Float64():
        expected = run_path(donors, recipe.path)
    return float((logits(engine, recipe) - expected).abs().max())
