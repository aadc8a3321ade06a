"""Layer paths as mergekit YAML: what is written, and what is refused with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from evomerge.errors import RecipeError
from evomerge.recipe import mergekit
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.layout import Layout
from evomerge.recipe.unroll import unrolled
from tests.recipe.layouts import llama, qwen2
from tests.recipe.test_unroll import A, B, recipe_of

LLAMA = replace(llama(), model_type="llama")


def test_the_yaml():
    recipe = recipe_of([[0, 0, 0.5], [1, 1, 0.25], [0, 1]], out_dtype="bfloat16")
    text = mergekit.dumps(recipe, layout=LLAMA)
    assert yaml.safe_load(text) == {
        "merge_method": "passthrough",
        "base_model": A,
        "slices": [
            {
                "sources": [
                    {
                        "model": A,
                        "layer_range": [0, 1],
                        "parameters": {"scale": [{"filter": "down_proj", "value": 0.25}]},
                    }
                ]
            },
            {"sources": [{"model": B, "layer_range": [1, 2]}]},
            {"sources": [{"model": A, "layer_range": [1, 2]}]},
        ],
        "parameters": {"scale": [{"filter": "embed_tokens", "value": 0.5}]},
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }


@pytest.mark.parametrize("scaling", ["delta", "full"])
def test_it_reads_back_as_the_same_slices(scaling):
    recipe = recipe_of([[0, 0, 0.7], [1, 1, 1.1], [0, 1, 0.3]], scaling)
    back = mergekit.loads(mergekit.dumps(recipe, layout=LLAMA, dtype="float32"))
    folded = unrolled(recipe, BLOCKS["llama"], tied=False)
    assert back.slices == folded.slices
    assert back.parameters == folded.parameters
    assert back.base_model == folded.base_model


@pytest.mark.parametrize(
    ("hops", "scaling", "layout", "dtype", "told"),
    [
        ([[0, 0]], "delta", None, "float32", "path: not expressible as mergekit YAML: where a"),
        ([[0, 0]], "delta", llama(), "float32", "architecture ''"),
        ([[1, 0], [0, 0]], "delta", LLAMA, "float32", "hops[0]: not expressible as mergekit"),
        ([[0, 0], [1, 0]], "delta", LLAMA, "float32", f"final norm and head from the model of this "
         f"hop, '{B}'"),
        ([[0, 0, 0.5]], "full", LLAMA, "float16", "out_dtype"),
        ([[0, 0], [0, 1, 0.5]], "delta", "gemma2", "float32", "multiplies but does not add"),
        ([[0, 1], [0, 0]], "delta", "gemma3_text", "float32", "does not move layer_types"),
        ([[0, 0], [0, 1]], "delta", LLAMA, None, "out_dtype"),
    ],
)  # fmt: skip
def test_refusals(hops, scaling, layout, dtype, told):
    if isinstance(layout, str):
        layout = replace(llama(), model_type=layout)
    with pytest.raises(RecipeError) as caught:
        mergekit.dumps(recipe_of(hops, scaling), layout=layout, dtype=dtype)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_nested_recipe_is_refused():
    inner = {"merge_method": "linear", "models": [{"model": A, "parameters": {"weight": 1}}]}
    recipe = recipe_of([[0, 0], [1, 0], [0, 1]], models=[{"model": A}, {"model": inner}])
    with pytest.raises(RecipeError, match="nested recipe"):
        mergekit.dumps(recipe, layout=LLAMA, dtype="float32")


def test_float16_without_a_rescaled_hidden_state():
    text = mergekit.dumps(recipe_of([[0, 0, 0.5], [0, 1, 0.3]]), layout=LLAMA, dtype="float16")
    assert yaml.safe_load(text)["out_dtype"] == "float16"


def test_shift_is_refused_by_name():
    folded = unrolled(recipe_of([[0, 0], [0, 1, 0.5]]), BLOCKS["gemma2"], tied=True)
    with pytest.raises(RecipeError, match="shift"):
        mergekit.dumps(folded, layout=LLAMA, dtype="float32")


def test_a_note_where_mergekit_leaves_the_configuration_behind():
    layout = replace(qwen2(2), model_type="qwen2")
    deeper = mergekit.dumps(recipe_of([[0, 0], [0, 1], [0, 1]]), layout=layout, dtype="float32")
    assert "# mergekit leaves layer_types in config.json" in deeper
    same = mergekit.dumps(recipe_of([[0, 0], [0, 1]]), layout=layout, dtype="float32")
    assert "#" not in same


def test_the_model_type_decides_not_the_names():
    names = Layout.of(llama().tensors, "mixtral")
    text = mergekit.dumps(recipe_of([[0, 0], [0, 1, 3]]), layout=names, dtype="float32")
    assert "filter: w2" in text
