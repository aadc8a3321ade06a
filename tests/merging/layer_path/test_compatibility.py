"""Which models' layers may follow one another, and what is said where they may not."""

from __future__ import annotations

import pytest

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging import MergeEngine, PathExecutor
from evomerge.merging.layer_path import require_compatible
from evomerge.recipe.model import LayerPath, Recipe
from tests.merging.layer_path.conftest import path_recipe
from tests.merging.layer_path.families import FAMILIES, config, save

PATH = LayerPath(hops=[(0, 0), (1, 0)])


def check(first, second, path=PATH, depths=(4, 4)):
    require_compatible([("mine", first, depths[0]), ("yours", second, depths[1])], path)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_only_the_first_model_lends_may_differ(family):
    mine = config(family).to_dict()
    yours = config(family, vocab_size=99, tie_word_embeddings=False, eos_token_id=7).to_dict()
    yours["torch_dtype"], yours["note_of_some_tool"] = "bfloat16", {"version": 1}
    check(mine, yours)
    assert mine["vocab_size"] != yours["vocab_size"]


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("llama", "hidden_size", 64),
        ("llama", "num_attention_heads", 8),
        ("llama", "num_key_value_heads", 4),
        ("llama", "head_dim", 16),
        ("llama", "intermediate_size", 50),
        ("llama", "rms_norm_eps", 1e-5),
        ("llama", "hidden_act", "gelu"),
        ("llama", "attention_bias", True),
        ("llama", "mlp_bias", True),
        ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": 5e5}),
        ("mistral", "sliding_window", 9),
        ("qwen3_moe", "num_experts_per_tok", 1),
        ("qwen3_moe", "norm_topk_prob", False),
        ("gemma2", "attn_logit_softcapping", 10.0),
        ("gemma3_text", "query_pre_attn_scalar", 16),
        ("gpt2", "n_embd", 64),
        ("gpt2", "n_inner", 50),
        ("gpt2", "layer_norm_epsilon", 1e-6),
    ],
)
def test_what_shapes_a_layer_must_agree(family, key, value):
    mine, yours = config(family).to_dict(), config(family, **{key: value}).to_dict()
    with pytest.raises(CheckpointError) as caught:
        check(mine, yours)
    line = next(line for line in str(caught.value).splitlines() if f" {key} " in line)
    assert "model 'yours' has" in line
    assert repr(yours[key]) in line
    assert f"model 'mine' {mine[key] if key != 'n_inner' else 128!r}" in line


def test_a_default_and_its_value_spelled_out_agree():
    mine, yours = config("mixtral").to_dict(), config("mixtral", head_dim=8).to_dict()
    assert mine["head_dim"] != yours["head_dim"]
    check(mine, yours)
    check(config("gpt2").to_dict(), config("gpt2", n_inner=128).to_dict())
    short = {key: value for key, value in config("llama").to_dict().items() if key != "head_dim"}
    check(config("llama").to_dict(), short)


def test_architectures_must_agree():
    with pytest.raises(CheckpointError, match=r"'yours' has model_type 'mistral'.*'mine' 'llama'"):
        check(config("llama").to_dict(), config("mistral", sliding_window=None).to_dict())


@pytest.mark.parametrize("kind", ["bert", "t5", "mamba", None])
def test_other_architectures_are_refused_with_those_that_are_supported(kind):
    with pytest.raises(CheckpointError, match=rf"'mine'.*{kind}.*gemma, gemma2, gemma3_text, gpt2"):
        require_compatible([("mine", {"model_type": kind}, 4)], LayerPath(hops=[(0, 0)]))


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("gpt2", "scale_attn_by_inverse_layer_idx"),
        ("gpt2", "add_cross_attention"),
        ("gemma3_text", "use_bidirectional_attention"),
    ],
)
def test_models_whose_layers_cannot_move_are_refused(family, key):
    odd = config(family, **{key: True}).to_dict()
    with pytest.raises(CheckpointError, match=f"'mine'.*{key}"):
        require_compatible([("mine", odd, 4)], LayerPath(hops=[(0, 0)]))


def test_every_missing_layer_is_named():
    same = config("llama").to_dict()
    path = LayerPath(hops=[(0, 3), (1, 3), (0, 9)])
    with pytest.raises(CheckpointError) as caught:
        check(same, same, path, depths=(4, 2))
    first, second = str(caught.value).splitlines()
    assert first.startswith("hop 1: model 'yours' has no layer 3; its 2 layers")
    assert second.startswith("hop 2: model 'mine' has no layer 9; its 4 layers")


def test_a_configuration_that_cannot_be_read_is_named():
    broken = {"model_type": "llama", "hidden_size": "wide"}
    with pytest.raises(CheckpointError, match=r"'yours'.*config\.json.*hidden_size"):
        check(config("llama").to_dict(), broken)


def test_the_executor_refuses_before_it_loads(tmp_path):
    small = save("llama", tmp_path / "small", seed=1)
    large = save("llama", tmp_path / "large", seed=1, hidden_size=64)
    executor = PathExecutor(MergeEngine())
    with pytest.raises(CheckpointError, match=r"large' has hidden_size 64 and model .*small' 32"):
        executor.load(path_recipe([small, large], [(0, 0)]))
    with pytest.raises(CheckpointError, match=r"hop 1: model .*small' has no layer 4"):
        executor.load(path_recipe([small], [(0, 0), (0, 4)]))
    with pytest.raises(CheckpointError, match=r"'./nowhere'"):
        executor.load(path_recipe(["./nowhere"], [(0, 0)]))
    with pytest.raises(RecipeError, match=r"only a recipe with a path"):
        executor.load(
            Recipe.model_validate(
                {"merge_method": "passthrough", "models": [{"model": str(small)}]}
            )
        )
