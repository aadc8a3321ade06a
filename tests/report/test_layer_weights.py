"""Weights by layer, read off recipes whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.recipe import Layout, ModelRef, Recipe
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.report.layer_weights import layer_weights

BASE, MATH, CODE = (ModelRef(path=f"/{name}") for name in ("base", "math", "code"))
NAMES = {BASE: "base", MATH: "math", CODE: "code"}
SHAPES = {
    "model.embed_tokens.weight": (8, 4),
    "model.norm.weight": (4,),
    "lm_head.weight": (8, 4),
    **{
        f"model.layers.{layer}.{rest}": shape
        for layer in range(3)
        for rest, shape in (
            ("self_attn.q_proj.weight", (4, 4)),
            ("mlp.up_proj.weight", (6, 4)),
            ("input_layernorm.weight", (4,)),
        )
    },
}
SHAPE = TensorShapes(Layout.of(SHAPES, "llama"), SHAPES)


def merge(method, math, code, **more):
    sources = [
        {"model": MATH, "parameters": math},
        {"model": CODE, "parameters": code},
    ]
    return Recipe.model_validate(
        {"merge_method": method, "base_model": BASE, "models": sources, **more}
    )


def found_in(recipe):
    found = layer_weights(recipe, BASE, SHAPE, NAMES)
    return found, dict(zip(found.rows, found.values.tolist(), strict=True))


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_ties"])
def test_values_stand_where_the_recipe_says(method):
    weight = [
        {"value": 0.9, "filter": "self_attn", "layers": [0, 1]},
        {"value": 0.3, "filter": "self_attn"},
        {"value": 0.5},
    ]
    found, rows = found_in(merge(method, {"weight": weight}, {"weight": 0.25}))
    assert found.parameter == "weight"
    assert found.columns == ("in", "0", "1", "2", "out")
    nan = float("nan")
    expected = {
        ("math", "attention"): [nan, 0.9, 0.3, 0.3, nan],
        ("math", "mlp"): [nan, 0.5, 0.5, 0.5, nan],
        ("math", "norm"): [nan, 0.5, 0.5, 0.5, 0.5],
        ("math", "embedding, head"): [0.5, nan, nan, nan, 0.5],
        ("code", "attention"): [nan, 0.25, 0.25, 0.25, nan],
    }
    for row, values in expected.items():
        np.testing.assert_allclose(rows[row], values)


def test_a_gradient_is_interpolated_over_the_layers():
    _, rows = found_in(merge("task_arithmetic", {"weight": [0.0, 1.0]}, {"weight": 1.0}))
    np.testing.assert_allclose(rows["math", "mlp"][1:4], [0.0, 0.5, 1.0])


def test_a_normalized_average_shows_what_counts():
    _, rows = found_in(merge("linear", {"weight": 1.0}, {"weight": 3.0}))
    np.testing.assert_allclose(rows["math", "mlp"][1:4], 0.25)
    np.testing.assert_allclose(rows["code", "mlp"][1:4], 0.75)


def test_slerp_shows_t():
    recipe = Recipe.model_validate(
        {
            "merge_method": "slerp",
            "base_model": MATH,
            "models": [{"model": CODE}],
            "parameters": {"t": [{"filter": "mlp", "value": 0.75}, {"value": 0.5}]},
        }
    )
    found, rows = found_in(recipe)
    assert found.parameter == "t"
    np.testing.assert_allclose(rows["", "mlp"][1:4], 0.75)
    np.testing.assert_allclose(rows["", "attention"][1:4], 0.5)


def test_a_layer_path_has_no_weights():
    recipe = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": MATH}, {"model": CODE}],
            "path": {"hops": [[0, 0], [1, 1]]},
        }
    )
    assert layer_weights(recipe, BASE, SHAPE, NAMES) is None
