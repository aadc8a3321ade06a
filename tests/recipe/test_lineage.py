"""Recipes with a lineage: what is valid, their text, their fingerprint."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from evomerge.errors import RecipeError
from evomerge.recipe import Lineage, ModelRef, Recipe, Source, fingerprint, native, rewritten
from tests.recipe.lineages import N_DONORS, lineages

BASE = ModelRef(path="base")
MODELS = tuple(Source(model=ModelRef(path=f"d{i}")) for i in range(N_DONORS))
ONE = {"inputs": [0], "ends": [12], "weights": [[1.0]]}


def recipe(lineage, **fields):
    return Recipe(
        **{
            "merge_method": "lineage",
            "base_model": BASE,
            "models": MODELS,
            "lineage": lineage,
            **fields,
        }
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(lineages())
def test_round_trips_as_yaml_and_json(lineage):
    whole = recipe(lineage)
    text = native.dumps(whole)
    again = native.loads(text)
    assert again == whole
    assert native.dumps(again) == text
    assert fingerprint(again) == fingerprint(whole)
    assert Recipe.model_validate_json(whole.model_dump_json()) == whole
    moved = rewritten(whole, lambda ref: ref.model_copy(update={"path": f"/x/{ref.path}"}))
    assert moved.lineage == lineage


def test_the_text_is_short():
    lineage = {
        "layout": "unit",
        "size": 12,
        "nodes": [
            {
                "inputs": [0, 2, {"gaussian": 7}, {"spectral": 3, "donor": 1, "symmetric": True}],
                "ends": [5, 12],
                "weights": [[0.5, 0.5, 0.01, 0.1], [1.0, 0.0, 0.01, 0.1]],
            },
            {"svd": 0, "key": 4, "scale": 1.5},
            {"rebase": 1},
            {"inputs": [{"node": 2}, 1], "ends": [12], "weights": [[0.75, 0.25]]},
        ],
    }
    assert native.dumps(recipe(lineage)) == (
        "evomerge_recipe: 1\n"
        "merge_method: lineage\n"
        "base_model: base\n"
        "models:\n"
        "- model: d0\n"
        "- model: d1\n"
        "- model: d2\n"
        "lineage:\n"
        "  layout: unit\n"
        "  size: 12\n"
        "  nodes:\n"
        "  - inputs:\n"
        "    - 0\n"
        "    - 2\n"
        "    - {gaussian: 7}\n"
        "    - {spectral: 3, donor: 1, symmetric: true}\n"
        "    ends: [5, 12]\n"
        "    weights:\n"
        "    - [0.5, 0.5, 0.01, 0.1]\n"
        "    - [1.0, 0.0, 0.01, 0.1]\n"
        "  - {svd: 0, key: 4, scale: 1.5}\n"
        "  - {rebase: 1}\n"
        "  - inputs:\n"
        "    - {node: 2}\n"
        "    - 1\n"
        "    ends: [12]\n"
        "    weights:\n"
        "    - [0.75, 0.25]\n"
    )


def test_fingerprints_tell_lineages_apart():
    plain = recipe({"size": 12, "nodes": [ONE]})
    others = [
        recipe({"size": 12, "nodes": [{**ONE, "weights": [[0.5]]}]}),
        recipe({"size": 12, "nodes": [{**ONE, "inputs": [{"gaussian": 0}]}]}),
        recipe({"size": 12, "nodes": [ONE], "origin": "zero"}),
        recipe({"size": 12, "nodes": [ONE], "layout": "unit"}),
        recipe({"size": 12, "nodes": [ONE]}, seed=1),
    ]
    assert len({fingerprint(one) for one in (plain, *others)}) == 6


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "nodes: a lineage needs at least one"),
        ([{**ONE, "inputs": []}], "a mix needs at least one"),
        ([{**ONE, "ends": [0, 12]}], r"ends must increase from above 0, got \[0, 12\]"),
        ([{**ONE, "ends": [6, 6, 12]}], "ends must increase"),
        ([{**ONE, "ends": [5, 12]}], "2 segments need as many rows"),
        ([{**ONE, "weights": [[1, 2]]}], "each row of weights needs 1 numbers"),
        ([{**ONE, "weights": [[float("inf")]]}], "finite"),
        ([{**ONE, "ends": [11]}], r"nodes\[0\]: its segments end at 11, the model has 12"),
        ([{**ONE, "inputs": [{"node": 0}]}], r"nodes\[0\]: node 0 does not come before it"),
        ([{"rebase": 0}], r"nodes\[0\]: node 0 does not come before it"),
        ([ONE, {"svd": 0, "key": 1, "scale": 0}], "greater than 0"),
        ([{**ONE, "inputs": [{"gaussian": 1, "donor": 0}]}], "Extra inputs"),
    ],
)
def test_what_is_no_lineage(nodes, message):
    with pytest.raises(ValidationError, match=message):
        Lineage.model_validate({"size": 12, "nodes": nodes})


@pytest.mark.parametrize(
    "node", [{**ONE, "inputs": [{"spectral": 1, "donor": 0}]}, {"svd": 0, "key": 1, "scale": 1}]
)
def test_singular_values_are_those_of_task_vectors(node):
    with pytest.raises(
        ValidationError, match=r"nodes\[1\]: .* need.? origin: base|it needs origin"
    ):
        Lineage.model_validate({"size": 12, "origin": "zero", "nodes": [ONE, node]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_model": None}, "needs 'models' and 'base_model'"),
        ({"merge_method": "linear"}, "'merge_method: lineage' and 'lineage' go together"),
        ({"compat": "mergekit-0.1.5"}, "neither compat nor tokenizer_source"),
        ({"tokenizer_source": "base"}, "neither compat nor tokenizer_source"),
        ({"parameters": {"weight": 1}}, "takes no parameters"),
        ({"models": MODELS[:1]}, "there is no model 2; models are numbered from 0 to 0"),
    ],
)
def test_what_goes_with_no_lineage(fields, message):
    lineage = {"size": 12, "nodes": [{**ONE, "inputs": [2]}]}
    with pytest.raises(ValidationError, match=message):
        recipe(lineage, **fields)


def test_a_file_says_where_it_is_wrong():
    text = native.dumps(recipe({"size": 12, "nodes": [ONE]}))
    with pytest.raises(RecipeError) as error:
        native.loads(text.replace("- 0\n", "- {gausian: 0}\n").replace("[0]", "[{gausian: 0}]"))
    assert "lineage.nodes[0].inputs[0].gausian: unknown key" in str(error.value)
