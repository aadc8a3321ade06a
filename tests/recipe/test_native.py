import pytest
from hypothesis import given, settings

from evomerge.errors import RecipeError
from evomerge.recipe import Conditional, ModelRef, Recipe, Source, native
from tests.recipe.strategies import native_recipes


@settings(max_examples=40, deadline=None)
@given(native_recipes())
def test_round_trip_is_exact(recipe):
    text = native.dumps(recipe)
    again = native.loads(text)
    assert again == recipe
    # == takes 1, 1.0 and true for the same; their text does not
    assert repr(again) == repr(recipe)
    assert native.dumps(again) == text


def test_text_is_readable():
    recipe = Recipe(
        merge_method="ties",
        base_model=ModelRef(path="base"),
        models=(
            Source(
                model=ModelRef(path="org/math", revision="main"),
                parameters={
                    "weight": (Conditional(value=0.1, layers=(0, 4)), Conditional(value=1))
                },
            ),
        ),
        dtype="bfloat16",
    )
    assert native.dumps(recipe) == (
        "evomerge_recipe: 1\n"
        "merge_method: ties\n"
        "base_model: base\n"
        "models:\n"
        "- model: org/math@main\n"
        "  parameters:\n"
        "    weight:\n"
        "    - {value: 0.1, layers: [0, 4]}\n"
        "    - {value: 1}\n"
        "dtype: bfloat16\n"
    )


@pytest.mark.parametrize("number", [0.1, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3, 1e22])
def test_floats_come_back_bit_for_bit(number):
    recipe = Recipe(
        merge_method="m", models=(Source(model=ModelRef(path="a")),), parameters={"x": number}
    )
    again = native.loads(native.dumps(recipe)).parameters["x"]
    assert isinstance(again, float)
    assert again.hex() == number.hex()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("merge_method: ties\n", "r.yml:1: not a native recipe"),
        ("evomerge_recipe: 2\nmerge_method: m\n", "r.yml:1: evomerge_recipe: version 2"),
        (
            "evomerge_recipe: 1\nmerge_method: m\nmodels:\n- modl: a\n",
            "r.yml:4: models[0].modl: unknown key; did you mean 'model'?",
        ),
        (
            "evomerge_recipe: 1\nmerge_method: m\nmodels:\n- model: a\ndtype: bf16\n",
            "r.yml:5: dtype: expected 'float16', 'bfloat16', 'float32' or 'float64', got 'bf16'; "
            "did you mean 'bfloat16'?",
        ),
        ("evomerge_recipe: 1\n- a\n", "r.yml:2: not YAML"),
    ],
)
def test_errors_name_line_and_key(text, message):
    with pytest.raises(RecipeError) as caught:
        native.loads(text, source="r.yml")
    assert any(line.startswith(message) for line in str(caught.value).splitlines())


def test_all_problems_at_once_each_on_one_line():
    text = (
        "evomerge_recipe: 1\n"
        "merge_metod: m\n"
        "models:\n"
        "- model: {pth: a}\n"
        "- model: b\n"
        "  parameters: {w: {filer: mlp, value: 1}}\n"
        "seed: -1\n"
    )
    with pytest.raises(RecipeError) as caught:
        native.loads(text, source="r.yml")
    assert str(caught.value).splitlines() == [
        "r.yml:1: merge_method: this key is required and missing",
        "r.yml:2: merge_metod: unknown key; did you mean 'merge_method'?",
        "r.yml:4: models[0].model.path: this key is required and missing",
        "r.yml:4: models[0].model.pth: unknown key; did you mean 'path'?",
        "r.yml:6: models[1].parameters.w.filer: unknown key; did you mean 'filter'?",
        "r.yml:7: seed: expected greater than or equal to 0, got -1",
    ]
