"""Folded layer paths against a naive reading of the definition, branch by branch."""

from __future__ import annotations

import itertools

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from evomerge.merging.checkpoint import parameter_counts
from evomerge.merging.layer_path.shell import build_shell
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.model import LayerPath, ModelRef, Recipe
from tests.merging.tiny_decoders import (
    SETTINGS,
    TOKENS,
    Float64,
    apart,
    exact,
    logits,
    recipe_of,
    run_path,
)

DELTA = [[1, 2, 0.7], [0, 1, -0.5], [0, 1, 1.3], [1, 3, 0], [0, 3], [1, 0, 0.8]]
FULL = [[1, 2, 0.7], [0, 1, 0.5], [0, 1, 1.3], [1, 3, 1.7], [0, 3], [1, 0, 0.8]]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", SETTINGS)
def test_every_architecture(kind, tied, pair, engine):
    paths, donors = pair(kind, tie_word_embeddings=tied)
    # Divided by a scale, the state meets another eps in the norms; else the fold is exact.
    assert apart(engine, recipe_of(paths, DELTA), donors) <= (1e-5 if tied else 1e-12)
    assert apart(engine, recipe_of(paths, [[0, 0], *DELTA[1:]]), donors) <= 1e-12
    assert apart(engine, recipe_of(paths, FULL, "full"), donors) <= 1e-5


def test_every_block_is_tested():
    assert sorted(SETTINGS) == sorted(BLOCKS)


def test_the_reference_is_transformers_own_model(pair):
    for kind in SETTINGS:
        _, (model, _) = pair(kind, tie_word_embeddings=False)
        whole = LayerPath(hops=[[0, layer] for layer in range(4)])
        with torch.no_grad(), Float64():
            assert float((run_path([model], whole) - model(TOKENS).logits).abs().max()) <= 1e-12


def test_what_is_left_is_the_eps_of_the_norms(pair, engine):
    errors = [
        apart(engine, recipe_of(paths, FULL, "full"), donors)
        for paths, donors in (pair("llama", rms_norm_eps=eps) for eps in (1e-6, 1e-8, 1e-10))
    ]
    assert errors[0] <= 1e-4
    assert [round(a / b) for a, b in itertools.pairwise(errors)] == [100, 100]


layers = st.tuples(st.integers(0, 1), st.integers(0, 3))
some = st.lists(layers, min_size=1, max_size=8)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3_text"])
@settings(max_examples=20)
@given(data=st.data(), taken=some)
def test_any_path_under_delta(kind, data, taken, pair, engine):
    paths, donors = pair(kind, tie_word_embeddings=False)
    scales = data.draw(st.lists(st.floats(-2, 2), min_size=len(taken), max_size=len(taken)))
    scales[0] = scales[0] or 1.0
    hops = [[model, layer, s] for (model, layer), s in zip(taken, scales, strict=True)]
    assert apart(engine, recipe_of(paths, hops), donors) <= 1e-12 * max(1, 1 / abs(scales[0]))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
@settings(max_examples=20)
@given(data=st.data(), taken=some)
def test_any_path_under_full(kind, data, taken, pair, engine):
    paths, donors = pair(kind)
    scale = st.floats(0.8, 1.25)
    hops = [[model, layer, data.draw(scale)] for model, layer in taken]
    assert apart(engine, recipe_of(paths, hops, "full"), donors) <= 1e-5


@pytest.mark.parametrize("scaling", ["delta", "full"])
@pytest.mark.parametrize("kind", ["llama", "mixtral", "qwen2", "gemma2", "gpt2"])
def test_the_written_folder_loads_as_it_is(kind, scaling, pair, engine, tmp_path):
    paths, donors = pair(kind, torch.float32)
    recipe = recipe_of(paths, FULL, scaling)
    engine.write(recipe, tmp_path / "out")
    written = engine.open(ModelRef(path=str(tmp_path / "out")))
    merged = dict(engine.tensors(recipe))
    assert sorted(merged) == list(written.names)
    assert all(torch.equal(merged[name], written.tensor(name)) for name in merged)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype="auto", output_loading_info=True
    )
    assert not any(info.values())
    assert type(model) is type(donors[0])
    assert model.config.num_hidden_layers == len(FULL)
    with torch.no_grad():
        torch.testing.assert_close(
            model(TOKENS).logits, run_path(donors, recipe.path), rtol=1e-4, atol=2e-4
        )


@pytest.mark.parametrize("kind", ["llama", "qwen2_moe", "gpt2"])
def test_a_path_stores_what_its_hops_and_its_first_model_do(kind, pair, engine, tmp_path):
    paths, _ = pair(kind, torch.float32)
    recipe = recipe_of(paths, FULL)
    engine.write(recipe, tmp_path / "out")
    written = engine.open(ModelRef(path=str(tmp_path / "out")))
    stored = sum(written.tensor(name).numel() for name in written.names)
    models = [source.model for source in recipe.models]
    parts = [parameter_counts(engine.open(model)) for model in models]
    hops = recipe.path.hops
    assert stored == parts[0].outside + sum(parts[hop.model].layers[hop.layer] for hop in hops)
    assert parameter_counts(written).outside == parts[0].outside


@pytest.mark.parametrize("scaling", ["delta", "full"])
@pytest.mark.parametrize("kind", ["llama", "qwen3_moe", "gemma3_text", "gpt2"])
def test_the_executor_computes_the_same(kind, scaling, pair, engine):
    paths, donors = pair(kind, tie_word_embeddings=False)
    recipe = recipe_of(paths, FULL if scaling == "full" else DELTA, scaling)
    shell = exact(build_shell(donors, recipe.path))
    with torch.no_grad(), Float64():
        executed = shell(TOKENS).logits
    difference = float((executed - logits(engine, recipe)).abs().max())
    assert difference <= (1e-5 if scaling == "full" else 1e-12)


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gemma2", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_path_through_the_first_model_is_that_model(kind, dtype, pair, engine, tmp_path):
    paths, _ = pair(kind, dtype)
    recipe = recipe_of(paths, [[0, layer] for layer in range(4)])
    engine.write(recipe, tmp_path / "out")
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "out", paths[0]))
    assert sorted(ours) == sorted(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == dtype
        assert torch.equal(ours[name].view(torch.uint8), tensor.view(torch.uint8)), name


def test_the_ends_are_the_first_models(pair, engine):
    paths, _ = pair("llama")
    recipe = recipe_of([paths[1], paths[0]], [[1, 0], [1, 1, 0.5]])
    plan = engine.check(recipe)
    assert plan.reference.folder == plan.tokenizer.folder == paths[1]
    merged = dict(engine.tensors(recipe))
    a, b = (load_file(path / "model.safetensors") for path in paths)
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
        assert torch.equal(merged[name], b[name])
    first = "model.layers.0.mlp.down_proj.weight"
    assert torch.equal(merged[first], a[first] * 0.5)


def test_factors_are_rounded_with_the_product_and_not_before(pair, engine):
    paths, _ = pair("llama", torch.bfloat16)
    name = "model.layers.1.mlp.down_proj.weight"
    merged = dict(engine.tensors(recipe_of(paths, [[0, 0], [0, 1], [0, 2, 0.7003]])))[name]
    stored = load_file(paths[0] / "model.safetensors")[name]
    assert merged.dtype == torch.bfloat16
    assert torch.equal(merged, (stored.double() * 0.7003).float().bfloat16())
    assert not torch.equal(merged, stored * torch.tensor(0.7003, dtype=torch.bfloat16))


def test_a_nested_recipe_lends_layers(pair, engine, tmp_path):
    paths, _ = pair("llama", torch.float32)
    mix = {
        "merge_method": "linear",
        "models": [{"model": str(p), "parameters": {"weight": 0.3}} for p in paths],
    }
    engine.write(Recipe.model_validate(mix), tmp_path / "mix")
    hops = [[0, 0, 0.9], [1, 1, 1.2], [0, 2], [0, 2, -0.4]]
    nested = dict(engine.tensors(recipe_of([mix, paths[1]], hops)))
    written = dict(engine.tensors(recipe_of([tmp_path / "mix", paths[1]], hops)))
    assert sorted(nested) == sorted(written)
    assert all(torch.equal(nested[name], written[name]) for name in written)


def test_a_path_is_an_input_like_any_other(pair, engine, tmp_path):
    paths, _ = pair("qwen2", torch.float32)
    inner = recipe_of(paths, DELTA[1:])
    engine.write(inner, tmp_path / "folded")
    outer = [[0, 4], [1, 0, 0.5], [0, 0]]
    nested = recipe_of([inner.model_dump(), paths[0]], outer)
    written = recipe_of([tmp_path / "folded", paths[0]], outer)
    assert engine.config(nested) == engine.config(written)
    a, b = (dict(engine.tensors(recipe)) for recipe in (nested, written))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.filterwarnings("ignore")  # PEFT's own warnings
def test_bare_adapters_sit_on_the_base(pair, engine, tmp_path):
    peft = pytest.importorskip("peft")
    paths, _ = pair("llama", torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(paths[0])
    lora = peft.LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, lora)
    adapted.save_pretrained(tmp_path / "adapter")
    whole = adapted.merge_and_unload().state_dict()
    recipe = recipe_of([paths[1], tmp_path / "adapter"], [[0, 0], [1, 2]], base_model=str(paths[0]))
    merged = dict(engine.tensors(recipe))
    name = "layers.{}.mlp.down_proj.weight"
    torch.testing.assert_close(merged["model." + name.format(1)], whole["model." + name.format(2)])
    of_first = load_file(paths[1] / "model.safetensors")
    assert torch.equal(merged["model.embed_tokens.weight"], of_first["model.embed_tokens.weight"])
