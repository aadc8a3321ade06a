"""What a folded path keeps, and what cannot be folded: kinds of layers, dtypes, refusals."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.errors import CheckpointError, RecipeError
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.model import Recipe
from evomerge.recipe.unroll import unrolled
from tests.merging.tiny_decoders import apart, decoder, load, recipe_of


@pytest.mark.parametrize("kind", ["qwen2", "qwen2_moe", "gemma2", "gemma3_text"])
@pytest.mark.parametrize("listed", [True, False])
def test_layers_keep_their_kind_of_attention(kind, listed, engine, tmp_path):
    changes = {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": 4}
    if kind.startswith("gemma"):
        changes = {"layer_types": None, "sliding_window_pattern": 2}
    a = decoder(tmp_path / "a", kind, seed=0, **changes)
    config = json.loads((a / "config.json").read_text())
    types = config["layer_types"]
    assert len(set(types)) == 2
    if not listed:
        config.pop("layer_types")
        config |= {key: value for key, value in changes.items() if value is not None}
        (a / "config.json").write_text(json.dumps(config))
    hops = [3, 0, 1, 1, 2, 2, 2]
    recipe = recipe_of([a], [[0, layer] for layer in hops])
    assert engine.config(recipe)["layer_types"] == [types[layer] for layer in hops]
    assert apart(engine, recipe, [load(a)]) <= 1e-12


def test_layers_keep_their_kind_of_mlp(pair, engine):
    (a, b), donors = pair("qwen3_moe")
    recipe = recipe_of([a, b], [[0, 1], [0, 0], [1, 1], [1, 3]])
    config = engine.config(recipe)
    assert (config["mlp_only_layers"], config["decoder_sparse_step"]) == ([0, 2], 1)
    assert apart(engine, recipe, donors) <= 1e-12
    sparse = engine.config(recipe_of([a], [[0, 0], [0, 3], [0, 2]]))
    assert sparse["mlp_only_layers"] == []


def test_a_rule_for_every_second_layer_becomes_a_list(engine, tmp_path):
    a = decoder(tmp_path / "a", "qwen2_moe", seed=0, decoder_sparse_step=2)
    recipe = recipe_of([a], [[0, 1], [0, 2], [0, 2], [0, 3]])
    config = engine.config(recipe)
    assert (config["mlp_only_layers"], config["decoder_sparse_step"]) == ([1, 2], 1)
    assert apart(engine, recipe, [load(a)]) <= 1e-12


def test_slices_keep_kinds_too(engine, tmp_path):
    a = decoder(tmp_path / "a", "gemma2", seed=0)
    config = json.loads((a / "config.json").read_text())
    types = config.pop("layer_types")
    (a / "config.json").write_text(json.dumps(config))
    parts = [{"sources": [{"model": str(a), "layer_range": r}]} for r in ([0, 3], [2, 4])]
    recipe = Recipe.model_validate({"merge_method": "passthrough", "slices": parts})
    assert engine.config(recipe)["layer_types"] == [types[i] for i in (0, 1, 2, 2, 3)]


def test_float16_cannot_hold_a_divided_state(pair, engine):
    paths, _ = pair("llama", torch.float16)
    engine.check(recipe_of(paths, [[0, 0, 0.5], [0, 1, 0.5]]))
    with pytest.raises(RecipeError, match="float16 may not hold; set out_dtype"):
        engine.check(recipe_of(paths, [[0, 0, 0.5]], "full"))
    engine.check(recipe_of(paths, [[0, 0, 0.5]], "full", out_dtype="bfloat16"))
    engine.check(recipe_of(paths, [[0, 0]], "full"))


def refused(engine, recipe, error=CheckpointError) -> str:
    with pytest.raises(error) as caught:
        engine.check(recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals(pair, engine, tmp_path):
    (a, b), _ = pair("llama")
    text = refused(engine, recipe_of([a, b], [[0, 0], [1, 4]]))
    assert "hop 1" in text
    assert str(b) in text
    assert "0 to 3" in text
    wide = decoder(tmp_path / "wide", "llama", seed=0, hidden_size=64)
    text = refused(engine, recipe_of([a, wide], [[0, 0], [1, 0]]))
    assert all(part in text for part in ("hidden_size", "32", "64", str(a), str(wide)))
    heads = decoder(tmp_path / "heads", "llama", seed=0, num_key_value_heads=4)
    text = refused(engine, recipe_of([a, heads], [[0, 0], [1, 0]]))
    assert all(part in text for part in ("num_key_value_heads", str(a), str(heads)))
    strange = tmp_path / "strange"
    strange.mkdir()
    config = json.loads((a / "config.json").read_text()) | {"model_type": "bert"}
    (strange / "config.json").write_text(json.dumps(config))
    (strange / "model.safetensors").symlink_to(a / "model.safetensors")
    assert "'bert'" in refused(engine, recipe_of([strange], [[0, 0]]))
    (tied, _), _ = pair("llama", tie_word_embeddings=True)
    text = refused(engine, recipe_of([tied], [[0, 0, -0.5]]), RecipeError)
    assert "tied" in text
    assert "hops[0]" in text
    with pytest.raises(ValueError, match="the path is empty"):
        recipe_of([a], [])
    with pytest.raises(ValueError, match="hop 0: scale 0 "):
        recipe_of([a], [[0, 0, 0]], "full")


def test_weights_that_one_configuration_cannot_describe(pair, engine, tmp_path):
    (a, b), _ = pair("llama")
    for change, told in (("shape", "(48, 48)"), ("name", "gate_proj.bias")):
        odd = tmp_path / change
        odd.mkdir()
        (odd / "config.json").write_bytes((b / "config.json").read_bytes())
        tensors = load_file(b / "model.safetensors")
        if change == "shape":
            tensors["model.layers.1.mlp.down_proj.weight"] = torch.zeros(48, 48)
        else:
            tensors["model.layers.1.mlp.gate_proj.bias"] = torch.zeros(48)
        save_file(tensors, odd / "model.safetensors")
        text = refused(engine, recipe_of([a, odd], [[0, 0], [1, 1]]))
        assert told in text
        assert "layer 1" in text
        engine.check(recipe_of([a, odd], [[0, 0], [1, 2]]))


def test_shift_is_native_only(pair, engine):
    paths, _ = pair("llama")
    data = {
        "merge_method": "passthrough",
        "models": [{"model": str(paths[0]), "parameters": {"scale": 2.0, "shift": -0.5}}],
    }
    merged = dict(engine.tensors(Recipe.model_validate(data)))
    stored = load_file(paths[0] / "model.safetensors")
    assert torch.equal(merged["model.norm.weight"], stored["model.norm.weight"] * 2 - 0.5)
    compat = Recipe.model_validate({**data, "compat": "mergekit-0.1.5"})
    assert "'shift'" in refused(engine, compat, RecipeError)


def test_the_lowered_recipe_is_the_same_merge(pair, engine):
    paths, _ = pair("olmo2")
    recipe = recipe_of(paths, [[0, 1, 0.6], [1, 2, 1.4], [0, 3, 0.9]], "full")
    a = dict(engine.tensors(recipe))
    b = dict(engine.tensors(unrolled(recipe, BLOCKS["olmo2"], tied=False)))
    assert list(a) == list(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_layer_of_unknown_kind_is_refused(engine, tmp_path):
    a = decoder(tmp_path / "a", "llama", seed=0)
    b = decoder(tmp_path / "b", "llama", seed=1, num_hidden_layers=6)
    config = json.loads((a / "config.json").read_text())
    (a / "config.json").write_text(json.dumps({**config, "no_rope_layers": [1, 1, 0, 1]}))

    def slices(layer: int) -> Recipe:
        ranges = [(a, [0, 1]), (b, [layer, layer + 1])]
        parts = [{"sources": [{"model": str(m), "layer_range": r}]} for m, r in ranges]
        return Recipe.model_validate({"merge_method": "passthrough", "slices": parts})

    assert engine.config(slices(2))["no_rope_layers"] == [1, 0]
    text = refused(engine, slices(5), RecipeError)
    assert f"'{b}' does not say of which kind layer 5 is" in text
