import pytest
from hypothesis import given, settings

from evomerge.errors import RecipeError
from evomerge.recipe import COMPAT, Conditional, ModelRef, Recipe, Slice, Source, mergekit
from evomerge.recipe.vocabulary import METHODS
from tests.recipe.strategies import mergekit_recipes

EXAMPLE = """\
merge_method: slerp
base_model: {model: {path: a, revision: main}, lora: lora@v1}
slices:
- sources:
  - {model: a@main+lora@v1, layer_range: [0, 4]}
  - {model: b, layer_range: [4, 8]}
  parameters: {t: {filter: self_attn, value: [0, 1e-4]}}
parameters:
  t:
  - {filter: "*", value: 0.5}
dtype: torch.bfloat16
tokenizer: {source: {model: b}}
"""


def test_example():
    a = ModelRef(path="a", revision="main", adapter="lora", adapter_revision="v1")
    assert mergekit.loads(EXAMPLE) == Recipe(
        merge_method="slerp",
        base_model=a,
        slices=(
            Slice(
                sources=(
                    Source(model=a, layer_range=(0, 4)),
                    Source(model=ModelRef(path="b"), layer_range=(4, 8)),
                ),
                parameters={"t": (Conditional(value=(0, 0.0001), filter="self_attn"),)},
            ),
        ),
        parameters={"t": (Conditional(value=0.5),)},
        dtype="bfloat16",
        tokenizer_source="b",
        compat=COMPAT,
    )


@settings(max_examples=40, deadline=None)
@given(mergekit_recipes())
def test_round_trip(recipe):
    again = mergekit.loads(mergekit.dumps(recipe))
    assert again == recipe
    assert repr(again) == repr(recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "merge_method: tie\nmodels: []\n",
            "m.yml:1: merge_method: 'tie' is unknown; did you mean 'ties'?",
        ),
        ("merge_method: ties\nmodel: []\n", "m.yml:2: model: unknown key; did you mean 'models'?"),
        (
            "merge_method: ties\nmodels:\n- model: a\n  parameters: {wieght: 1}\n",
            "m.yml:4: models[0].parameters.wieght: unknown parameter; did you mean 'weight'?",
        ),
        (
            "merge_method: ties\nmodels:\n- model: a\n  parameters: {lambda: 1}\n",
            "m.yml:4: models[0].parameters.lambda: mergekit ignores this parameter beside an input",
        ),
        (
            "merge_method: ties\nmodels:\n- model: a\n  layer_range: [0, 2]\n",
            "m.yml:4: models[0].layer_range: mergekit ignores it beside a whole model",
        ),
        ("merge_method: ties\nmodules: {}\n", "m.yml:2: modules: merges of several modules"),
        (
            "merge_method: ties\nmodels: [{model: a}]\nchat_template: auto\n",
            "m.yml:3: chat_template: chat templates are not part",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\ntokenizer:\n  tokens: {}\n",
            "m.yml:4: tokenizer.tokens: embeddings of single tokens",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\ntokenizer:\n  pad_to_multiple_of: 8\n",
            "m.yml:4: tokenizer.pad_to_multiple_of: padding",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\ntokenizer: {}\ntokenizer_source: base\n",
            "m.yml:4: tokenizer_source: give 'tokenizer_source' or 'tokenizer', not both",
        ),
        (
            "merge_method: slerp\nslices:\n- residual_weight: 0.5\n  sources: []\n",
            "m.yml:3: slices[0].residual_weight: mergekit reads it and does nothing",
        ),
        (
            "merge_method: ties\nmodels: [{model: {model: a, override_architecture: X}}]\n",
            "m.yml:2: models[0].model.override_architecture: the architecture is read",
        ),
        (
            "merge_method: ties\nmodels: [{model: a@b@c}]\n",
            "m.yml:2: models[0].model: 'a@b@c' is not",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\nparameters:\n  density: [{filtr: x}]\n",
            "m.yml:4: parameters.density[0].filtr: unknown key; did you mean 'filter'?",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\nparameters: {density: []}\n",
            "m.yml:3: parameters.density: the list is empty",
        ),
        (
            "merge_method: ties\nmodels: [{model: a}]\ndtype: int64\n",
            "m.yml:3: dtype: expected 'float16', 'bfloat16', 'float32' or 'float64', got 'int64'",
        ),
        (
            "merge_method: linear\nslices:\n- sources:\n  - model: a\n",
            "m.yml:3: slices[0]: source 'a' of a slice needs a layer_range",
        ),
        ("merge_method: linear\n", "m.yml:1: give exactly one of 'models' and 'slices'"),
        ("- a\n", "m.yml:1: a recipe is a mapping"),
        ("", "m.yml:1: a recipe is a mapping"),
        (
            "merge_method: linear\nmerge_method: ties\n",
            "m.yml:2: key 'merge_method' stands here twice, first on line 1; keep one",
        ),
        (
            "merge_method: linear\nmodels: [{model: 3}]\n",
            "m.yml:2: models[0].model: expected a model's path",
        ),
        ("merge_method: linear\nmodels: [{model: ''}]\n", "m.yml:2: models[0].model"),
        ("merge_method: linear\nmodels: 3\n", "m.yml:2: models: expected a list, got 3"),
    ],
)
def test_what_mergekit_ignores_is_refused(text, message):
    with pytest.raises(RecipeError) as caught:
        mergekit.loads(text, source="m.yml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("method", "idle"),
    [("linear", ("int8_mask",)), ("slerp", ("normalize", "int8_mask", "weight"))],
)
def test_what_mergekit_evolve_writes_whatever_the_method_is_dropped(method, idle):
    """Its own files are read; what nothing reads is in no recipe."""
    assert not METHODS[method].all & METHODS[method].idle
    written = ", ".join(f"{name}: true" for name in idle)
    text = f"merge_method: {method}\nmodels: [{{model: a}}]\nparameters: {{{written}}}\n"
    assert mergekit.loads(text).parameters == {}
    with pytest.raises(RecipeError, match="unknown parameter"):
        mergekit.loads(text.replace("int8_mask", "int8_masc"))


def test_tokenizer_without_source_is_a_union():
    text = "merge_method: linear\nmodels: [{model: a}]\ntokenizer: {}\n"
    assert mergekit.loads(text).tokenizer_source == "union"


def test_null_means_absent():
    text = "merge_method: linear\nmodels: [{model: a, parameters: null}]\nslices: null\n"
    assert mergekit.loads(text).models == (Source(model=ModelRef(path="a")),)


def test_vocabulary_is_mergekits():
    methods = pytest.importorskip("mergekit.merge_methods")
    theirs = {
        method.spec.name: (
            {one.name for one in method.spec.input_parameters},
            {one.name for one in method.spec.shared_parameters},
        )
        for method in methods.registered_methods()
    }
    assert {name: (set(w.per_input), set(w.shared)) for name, w in METHODS.items()} == theirs
