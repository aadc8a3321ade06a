"""Layer paths as ordinary recipes: the factors against arithmetic on one number."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.errors import RecipeError
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.fingerprint import fingerprint
from evomerge.recipe.model import LayerPath, Recipe
from evomerge.recipe.parameters import Place, resolve
from evomerge.recipe.unroll import folding, has_head, unrolled
from tests.recipe.layouts import gpt2, llama, qwen2

A, B = "models/a", "models/b"


def recipe_of(hops, scaling="delta", **fields) -> Recipe:
    data = {
        "merge_method": "passthrough",
        "models": [{"model": A}, {"model": B}],
        "path": {"hops": hops, "scaling": scaling},
        **fields,
    }
    return Recipe.model_validate(data)


def value(recipe: Recipe, k: int, tensor: str, name: str = "scale") -> float | None:
    """Look a parameter up for a tensor of hop k, as a merge would."""
    source = recipe.slices[k].sources[0]
    place = Place(f"model.layers.{source.layer_range[0]}.{tensor}", source.layer_range[0], 1.0)
    return resolve(name, (source.parameters, recipe.parameters), place)


def outside(recipe: Recipe, tensor: str) -> float | None:
    return resolve("scale", (recipe.parameters,), Place(tensor, None, 0.0))


positive = st.floats(0.8, 1.25)
branches = st.floats(0.1, 5)


@given(
    hops=st.lists(st.tuples(positive, branches, branches), min_size=1, max_size=15),
    start=branches,
    scaling=st.sampled_from(["delta", "full"]),
    tied=st.booleans(),
)
def test_the_folded_path_differs_from_the_path_by_its_last_factor_only(hops, start, scaling, tied):
    """The hidden state is one positive number, which a norm turns to 1 before each branch."""
    path = LayerPath.model_validate({"hops": [[0, 0, s] for s, _, _ in hops], "scaling": scaling})
    scales = [s for s, _, _ in hops]
    x = start * (scales[0] if scaling == "delta" else 1)
    for k, (s, attention, mlp) in enumerate(hops):
        following = scales[k + 1] if k + 1 < len(hops) else 1
        if scaling == "full":
            x, following = x * s, 1
        x = x + attention
        x = x + following * mlp
    factors = folding(path, tied=tied)
    z = start * factors.embeddings
    for k, (_, attention, mlp) in enumerate(hops):
        z = z + factors.attention[k] * attention
        z = z + factors.mlp[k] * mlp
    assert math.isclose(z * factors.residual[-1], x, rel_tol=1e-12)
    assert not (tied and factors.embeddings != 1)


@given(scales=st.lists(st.floats(-3, 3), min_size=2, max_size=9))
def test_delta_scales_the_branch_before_the_hop(scales):
    assume(scales[0] != 0)
    folded = unrolled(recipe_of([[1, 3, s] for s in scales]), BLOCKS["llama"], tied=False)
    for k in range(len(scales)):
        following = scales[k + 1] if k + 1 < len(scales) else 1
        expected = None if following == 1 else following
        assert value(folded, k, "mlp.down_proj.weight") == expected
        assert value(folded, k, "self_attn.o_proj.weight") is None
    first = None if scales[0] == 1 else scales[0]
    assert outside(folded, "model.embed_tokens.weight") == first
    assert outside(folded, "model.norm.weight") is outside(folded, "lm_head.weight") is None


def test_the_slices_of_a_path():
    recipe = recipe_of([[1, 7], [0, 2, 0.5], [0, 2]], seed=4, out_dtype="bfloat16")
    folded = unrolled(recipe, BLOCKS["mistral"], tied=True)
    ranges = [(str(s.sources[0].model), s.sources[0].layer_range) for s in folded.slices]
    assert ranges == [(B, (7, 8)), (A, (2, 3)), (A, (2, 3))]
    assert folded.path is folded.models is None
    assert str(folded.base_model) == A
    assert (folded.merge_method, folded.seed, folded.out_dtype) == ("passthrough", 4, "bfloat16")
    assert [bool(s.sources[0].parameters) for s in folded.slices] == [True, False, False]


def test_full_divides_both_branches_by_the_product_so_far():
    folded = unrolled(recipe_of([[0, 0, 0.5], [0, 1, 4]], "full"), BLOCKS["qwen3"], tied=True)
    for tensor in ("mlp.down_proj.weight", "self_attn.o_proj.weight"):
        assert [value(folded, k, tensor) for k in (0, 1)] == [2, 0.5]
    for tensor in ("mlp.up_proj.weight", "self_attn.q_proj.weight", "input_layernorm.weight"):
        assert [value(folded, k, tensor) for k in (0, 1)] == [None, None]
    assert outside(folded, "model.embed_tokens.weight") is None


def test_tied_embeddings_stay_and_every_branch_is_divided():
    folded = unrolled(recipe_of([[0, 0, 0.5], [0, 1, 3]]), BLOCKS["llama"], tied=True)
    assert [value(folded, k, "mlp.down_proj.weight") for k in (0, 1)] == [6, 2]
    assert [value(folded, k, "self_attn.o_proj.weight") for k in (0, 1)] == [2, 2]
    assert outside(folded, "model.embed_tokens.weight") is None


def test_experts_biases_and_positions_are_scaled_along():
    moe = unrolled(recipe_of([[0, 0], [0, 1, 3]]), BLOCKS["qwen2_moe"], tied=False)
    for tensor in ("mlp.experts.5.down_proj.weight", "mlp.shared_expert.down_proj.weight"):
        assert value(moe, 0, tensor) == 3
    assert value(moe, 0, "mlp.gate.weight") is None
    mixtral = unrolled(recipe_of([[0, 0], [0, 1, 3]]), BLOCKS["mixtral"], tied=False)
    names = [f"block_sparse_moe.experts.1.w{i}.weight" for i in (1, 2, 3)]
    assert [value(mixtral, 0, name) for name in names] == [None, 3, None]
    gpt = unrolled(recipe_of([[0, 0, 2], [0, 1, 3]]), BLOCKS["gpt2"], tied=False)
    assert value(gpt, 0, "mlp.c_proj.bias") == value(gpt, 0, "mlp.c_proj.weight") == 3
    assert value(gpt, 0, "attn.c_proj.weight") is value(gpt, 0, "mlp.c_fc.weight") is None
    assert outside(gpt, "wte.weight") == outside(gpt, "wpe.weight") == 2


@given(factor=st.floats(-2, 2), gain=st.floats(-3, 3))
def test_a_gain_stored_with_an_offset_is_scaled_as_a_whole(factor, gain):
    folded = unrolled(recipe_of([[0, 0], [0, 1, factor]]), BLOCKS["gemma2"], tied=True)
    scale = value(folded, 0, "post_feedforward_layernorm.weight")
    shift = value(folded, 0, "post_feedforward_layernorm.weight", "shift")
    stored = gain if factor == 1 else scale * gain + shift
    assert math.isclose(1 + stored, factor * (1 + gain), abs_tol=1e-12)
    assert value(folded, 0, "post_attention_layernorm.weight", "shift") is None
    assert value(folded, 0, "mlp.down_proj.weight") is None


def test_without_a_norm_before_it_a_branch_reads_a_scaled_state():
    folded = unrolled(recipe_of([[0, 0, 0.5], [0, 1, 4]], "full"), BLOCKS["olmo2"], tied=False)
    for tensor in ("self_attn.q_proj.weight", "self_attn.v_proj.weight", "mlp.gate_proj.weight"):
        assert [value(folded, k, tensor) for k in (0, 1)] == [0.5, 2]
    for tensor in ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight"):
        assert [value(folded, k, tensor) for k in (0, 1)] == [2, 0.5]
    assert value(folded, 0, "mlp.down_proj.weight") is None


@pytest.mark.parametrize(
    ("hops", "scaling", "tied", "told"),
    [
        ([[0, 0, -0.5]], "delta", True, "hops[0]: scale -0.5 cannot be folded: the embeddings"),
        ([[0, 0, 0.01]], "delta", True, "hops[0]: the hidden state is scaled by 0.01"),
        ([[0, 0, 0.2], [0, 1, 0.2], [0, 1, 0.2]], "full", False, "hops[2]: the hidden state is"),
        ([[0, 0, 65.0]], "full", False, "between 0.015625 and 64, or use scaling 'delta'"),
        ([[0, 0, 1e-200], [0, 0, 1e-200]], "full", False, "hops[0]"),
    ],
)
def test_scales_that_do_not_fold(hops, scaling, tied, told):
    with pytest.raises(RecipeError) as caught:
        unrolled(recipe_of(hops, scaling), BLOCKS["llama"], tied=tied)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scales_at_the_bound_fold():
    hops = [[0, 0, 64.0], [0, 1, 1 / 4096]]
    assert folding(LayerPath(hops=hops, scaling="full"), tied=True).residual == (64, 1 / 64)


def test_a_recipe_without_a_path():
    with pytest.raises(ValueError, match="no path"):
        unrolled(
            Recipe(merge_method="passthrough", models=[{"model": A}]), BLOCKS["llama"], tied=True
        )


def test_what_it_returns_is_a_value_like_any_recipe():
    recipe = recipe_of([[0, 0], [1, 1, 0.5], [0, 1]])
    folded = unrolled(recipe, BLOCKS["llama"], tied=False)
    assert Recipe.model_validate(folded.model_dump()) == folded
    assert fingerprint(folded) != fingerprint(recipe)


def test_a_head_of_its_own():
    assert has_head(llama())
    assert not has_head(qwen2())
    assert not has_head(gpt2())
    assert has_head(replace(gpt2(), tensors=(*gpt2().tensors, "lm_head.weight")))


def test_a_path_that_is_too_long_is_refused():
    assert len(recipe_of([[0, 0]] * 10_000).path.hops) == 10_000
    with pytest.raises(
        ValidationError, match="the path is too long: 10,001 hops of at most 10,000"
    ):
        recipe_of([[0, 0]] * 10_001)


@pytest.mark.parametrize(
    ("hops", "message"),
    [([], "the path is empty"), ([[0, 0, 1.0, 2]], r"\[model, layer, scale\]")],
)
def test_hops_that_mean_nothing_are_refused_in_words(hops, message):
    with pytest.raises(ValueError, match=message):
        LayerPath.model_validate({"hops": hops})
