"""Tensor names of the decoder families that recipes and spaces are tested with."""

from evomerge.recipe import Layout

LLAMA_LAYER = (
    "input_layernorm.weight",
    "mlp.down_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "post_attention_layernorm.weight",
    "self_attn.k_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_proj.weight",
    "self_attn.v_proj.weight",
)
QWEN2_LAYER = (
    *LLAMA_LAYER,
    "self_attn.k_proj.bias",
    "self_attn.q_proj.bias",
    "self_attn.v_proj.bias",
)
QWEN3_LAYER = (*LLAMA_LAYER, "self_attn.k_norm.weight", "self_attn.q_norm.weight")
GPT2_LAYER = tuple(
    f"{module}.{kind}"
    for module in ("attn.c_attn", "attn.c_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
)


def _decoder(
    prefix: str, layer: tuple[str, ...], n_layers: int, outside: tuple[str, ...]
) -> Layout:
    inside = [f"{prefix}{i}.{name}" for i in range(n_layers) for name in layer]
    return Layout.of([*inside, *outside])


def llama(n_layers: int = 12) -> Layout:
    outside = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
    return _decoder("model.layers.", LLAMA_LAYER, n_layers, outside)


def qwen2(n_layers: int = 12) -> Layout:
    """Biases inside attention, and a tied head."""
    return _decoder(
        "model.layers.", QWEN2_LAYER, n_layers, ("model.embed_tokens.weight", "model.norm.weight")
    )


def qwen3(n_layers: int = 12) -> Layout:
    """Norms inside attention: a part that no single substring cuts out."""
    outside = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
    return _decoder("model.layers.", QWEN3_LAYER, n_layers, outside)


def gpt2(n_layers: int = 12) -> Layout:
    outside = (
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.ln_f.weight",
        "transformer.ln_f.bias",
    )
    return _decoder("transformer.h.", GPT2_LAYER, n_layers, outside)


def awkward(n_layers: int = 12) -> Layout:
    """Names inside one another: a final 'norm.weight' that every layer norm ends in."""
    layer = ("norm.weight", "mlp.norm.weight", "mlp.w", "mlp.w.lora", "attn.w")
    return _decoder("layers.", layer, n_layers, ("embed.weight", "norm.weight", "weight"))


LAYOUTS = {"llama": llama, "qwen2": qwen2, "qwen3": qwen3, "gpt2": gpt2, "awkward": awkward}
