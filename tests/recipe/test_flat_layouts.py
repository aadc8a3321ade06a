"""Orders of decoder models, against index arrays written down head by head and unit by unit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evomerge.errors import RecipeError
from evomerge.recipe import Layout, TensorShapes, order_of

HIDDEN, INTER, HEADS, KV, DIM, VOCAB = 8, 6, 4, 2, 3, 5


def model(model_type, layer, outside, prefix="model.layers.", **heads):
    shapes = {f"{prefix}{i}.{name}": shape for i in range(2) for name, shape in layer.items()}
    shapes |= outside
    return TensorShapes(Layout.of(shapes, model_type), shapes, **heads)


NORMS = {"input_layernorm.weight": (HIDDEN,), "post_attention_layernorm.weight": (HIDDEN,)}
LLAMA_MLP = {
    "mlp.gate_proj.weight": (INTER, HIDDEN),
    "mlp.up_proj.weight": (INTER, HIDDEN),
    "mlp.down_proj.weight": (HIDDEN, INTER),
}
LLAMA_ATTENTION = {
    "self_attn.q_proj.weight": (HEADS * DIM, HIDDEN),
    "self_attn.k_proj.weight": (KV * DIM, HIDDEN),
    "self_attn.v_proj.weight": (KV * DIM, HIDDEN),
    "self_attn.o_proj.weight": (HIDDEN, HEADS * DIM),
}
QWEN_BIASES = {
    "self_attn.q_proj.bias": (HEADS * DIM,),
    "self_attn.k_proj.bias": (KV * DIM,),
    "self_attn.v_proj.bias": (KV * DIM,),
}
OUTSIDE = {
    "model.embed_tokens.weight": (VOCAB, HIDDEN),
    "model.norm.weight": (HIDDEN,),
    "lm_head.weight": (VOCAB, HIDDEN),
}
LLAMA = model("llama", NORMS | LLAMA_MLP | LLAMA_ATTENTION, OUTSIDE, kv_heads=KV, heads=HEADS)
QWEN2 = model(
    "qwen2",
    NORMS | LLAMA_MLP | LLAMA_ATTENTION | QWEN_BIASES,
    OUTSIDE,
    kv_heads=KV,
    heads=HEADS,
)
PHI3 = model(
    "phi3",
    NORMS
    | {
        "mlp.gate_up_proj.weight": (2 * INTER, HIDDEN),
        "mlp.down_proj.weight": (HIDDEN, INTER),
        "self_attn.qkv_proj.weight": ((HEADS + 2 * KV) * DIM, HIDDEN),
        "self_attn.o_proj.weight": (HIDDEN, HEADS * DIM),
    },
    OUTSIDE,
    kv_heads=KV,
    heads=HEADS,
)
GPT2 = model(
    "gpt2",
    {
        "ln_1.weight": (HIDDEN,),
        "ln_1.bias": (HIDDEN,),
        "attn.c_attn.weight": (HIDDEN, 3 * HIDDEN),
        "attn.c_attn.bias": (3 * HIDDEN,),
        "attn.c_proj.weight": (HIDDEN, HIDDEN),
        "attn.c_proj.bias": (HIDDEN,),
        "mlp.c_fc.weight": (HIDDEN, INTER),
        "mlp.c_fc.bias": (INTER,),
        "mlp.c_proj.weight": (INTER, HIDDEN),
        "mlp.c_proj.bias": (HIDDEN,),
    },
    {"transformer.wte.weight": (VOCAB, HIDDEN), "transformer.ln_f.weight": (HIDDEN,)},
    prefix="transformer.h.",
    kv_heads=HEADS,
    heads=HEADS,
)
MODELS = {"llama": LLAMA, "qwen2": QWEN2, "phi3": PHI3, "gpt2": GPT2}


def unit(model_type, layer):
    """Return which (tensor, part) every unit of attention and MLP of a layer holds, in order."""
    heads, mlp = [], []
    group = HEADS // KV * DIM
    p = f"model.layers.{layer}."
    if model_type in ("llama", "qwen2"):
        for h in range(KV):
            one = []
            for name, width in (("q", group), ("k", DIM), ("v", DIM)):
                rows = slice(h * width, (h + 1) * width)
                one.append((f"{p}self_attn.{name}_proj.weight", rows))
                if model_type == "qwen2":
                    one.append((f"{p}self_attn.{name}_proj.bias", rows))
            columns = (slice(None), slice(h * group, (h + 1) * group))
            heads.append([*one, (f"{p}self_attn.o_proj.weight", columns)])
        for i in range(INTER):
            mlp.append(
                [
                    (f"{p}mlp.gate_proj.weight", i),
                    (f"{p}mlp.up_proj.weight", i),
                    (f"{p}mlp.down_proj.weight", (slice(None), i)),
                ]
            )
    elif model_type == "phi3":
        qkv = f"{p}self_attn.qkv_proj.weight"
        for h in range(KV):
            k, v = HEADS * DIM + h * DIM, (HEADS + KV) * DIM + h * DIM
            columns = (slice(None), slice(h * group, (h + 1) * group))
            heads.append(
                [
                    (qkv, slice(h * group, (h + 1) * group)),
                    (qkv, slice(k, k + DIM)),
                    (qkv, slice(v, v + DIM)),
                    (f"{p}self_attn.o_proj.weight", columns),
                ]
            )
        for i in range(INTER):
            mlp.append(
                [
                    (f"{p}mlp.gate_up_proj.weight", i),
                    (f"{p}mlp.gate_up_proj.weight", INTER + i),
                    (f"{p}mlp.down_proj.weight", (slice(None), i)),
                ]
            )
    else:
        p, dim = f"transformer.h.{layer}.", HIDDEN // HEADS
        for h in range(HEADS):
            thirds = [slice(x * HIDDEN + h * dim, x * HIDDEN + (h + 1) * dim) for x in range(3)]
            heads.append(
                [
                    *((f"{p}attn.c_attn.weight", (slice(None), third)) for third in thirds),
                    *((f"{p}attn.c_attn.bias", third) for third in thirds),
                    (f"{p}attn.c_proj.weight", slice(h * dim, (h + 1) * dim)),
                ]
            )
        for i in range(INTER):
            mlp.append(
                [
                    (f"{p}mlp.c_fc.weight", (slice(None), i)),
                    (f"{p}mlp.c_fc.bias", i),
                    (f"{p}mlp.c_proj.weight", i),
                ]
            )
    return heads, mlp


def elements(shape, name, part):
    every = np.arange(math.prod(shape.shapes[name])).reshape(shape.shapes[name])
    return [(name, int(index)) for index in np.ravel(every[part])]


def flat(shape, order):
    found = []
    for block in order.blocks:
        for u in range(block.units):
            for member in block.members:
                every = np.arange(math.prod(member.shape)).reshape(member.shape)
                n = (member.end - member.first) // block.units
                run = range(member.first + u * n, member.first + (u + 1) * n)
                found += [(member.tensor, int(i)) for i in every.take(run, member.axis).ravel()]
    return found


@pytest.mark.parametrize("name", MODELS)
def test_units_are_heads_and_hidden_units(name):
    shape = MODELS[name]
    order = order_of(shape, "unit")
    expected = []
    in_layers = [n for n in sorted(shape.shapes) if shape.layout.layer_of(n) is not None]
    embedding = "transformer.wte.weight" if name == "gpt2" else "model.embed_tokens.weight"
    expected += elements(shape, embedding, slice(None))
    for layer in range(2):
        heads, mlp = unit(name, layer)
        held = {tensor for group in (*heads, *mlp) for tensor, _ in group}
        for group in (*heads, *mlp):
            for tensor, part in group:
                expected += elements(shape, tensor, part)
        for tensor in in_layers:
            if shape.layout.layer_of(tensor) == layer and tensor not in held:
                expected += elements(shape, tensor, slice(None))
    for tensor in ("transformer.ln_f.weight", "model.norm.weight", "lm_head.weight"):
        if tensor in shape.shapes:
            expected += elements(shape, tensor, slice(None))
    assert flat(shape, order) == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layout", ["storage", "depth", "unit"])
def test_every_element_once(name, layout):
    shape = MODELS[name]
    found = flat(shape, order_of(shape, layout))
    assert len(found) == len(set(found)) == sum(math.prod(s) for s in shape.shapes.values())


def test_storage_is_by_name_and_depth_by_layer():
    names = [block.members[0].tensor for block in order_of(LLAMA, "storage").blocks]
    assert names == sorted(LLAMA.shapes)
    depth = [block.members[0].tensor for block in order_of(LLAMA, "depth").blocks]
    assert depth[0] == "model.embed_tokens.weight"
    assert depth[-2:] == ["model.norm.weight", "lm_head.weight"]
    assert [LLAMA.layout.layer_of(name) for name in depth[1:-2]] == [0] * 9 + [1] * 9


def test_chromosomes_take_blocks_by_their_first_tensor():
    order = order_of(QWEN2, "unit", {"attention": "self_attn", "mlp": "mlp", "rest": "."})
    assert [one.name for one in order.chromosomes] == ["attention", "mlp", "rest"]
    tensors = {
        one.name: {
            member.tensor
            for block, start in zip(order.blocks, order.starts, strict=False)
            if one.start <= start < one.end
            for member in block.members
        }
        for one in order.chromosomes
    }
    assert tensors["attention"] == {name for name in QWEN2.shapes if "self_attn" in name}
    assert tensors["mlp"] == {name for name in QWEN2.shapes if "mlp" in name}


@pytest.mark.parametrize(
    ("shape", "layout", "chromosomes", "message"),
    [
        (
            TensorShapes(Layout.of(LLAMA.shapes, "mamba"), LLAMA.shapes),
            "unit",
            None,
            "'unit' does not know how a layer of model_type 'mamba' is made",
        ),
        (
            TensorShapes(LLAMA.layout, LLAMA.shapes, kv_heads=5),
            "unit",
            None,
            "5 units do not divide",
        ),
        (TensorShapes(Layout.of({}), {}), "depth", None, "no floating-point numbers"),
        (LLAMA, "depth", {"a": "attn"}, "'model.embed_tokens.weight' belongs to none of a"),
        (LLAMA, "depth", {"a": ".", "b": "mlp"}, "no tensor is left for 'b'"),
    ],
)
def test_what_has_no_order(shape, layout, chromosomes, message):
    with pytest.raises(RecipeError, match=message):
        order_of(shape, layout, chromosomes)
