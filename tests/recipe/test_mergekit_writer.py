"""The written YAML means the same: by brute force over every tensor, and to mergekit itself."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import RecipeError
from evomerge.recipe import (
    COMPAT,
    Conditional,
    Layout,
    ModelRef,
    Recipe,
    Slice,
    Source,
    mergekit,
    part_of,
)
from evomerge.recipe.parameters import Place, resolve
from tests.recipe.layouts import LAYOUTS, llama
from tests.recipe.strategies import conditionals, layer_runs, mergekit_recipes

A, B = ModelRef(path="a"), ModelRef(path="b")
SCALARS = st.integers(0, 9) | st.floats(0, 2)


def ties(weight, **fields):
    source = Source(model=A, parameters={"weight": weight})
    fields = {"out_dtype": "bfloat16", **fields}
    return Recipe(merge_method="ties", base_model=B, models=(source,), **fields)


def place(layout: Layout, name: str, compat: bool) -> Place:
    """Where a whole-model merge looks a tensor up; after the layers the two modes differ."""
    layer = layout.layer_of(name)
    if layer is not None:
        return Place(name, layer, layer / (layout.n_layers - 1) if layout.n_layers > 1 else 1.0)
    return Place(name, None, 0.0 if compat or part_of(name) == "embedding" else 1.0)


def weight_of(recipe: Recipe, layout: Layout, name: str):
    scopes = (recipe.models[0].parameters, recipe.parameters)
    return resolve("weight", scopes, place(layout, name, recipe.compat == COMPAT))


@pytest.mark.parametrize("family", sorted(LAYOUTS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_tensor_resolves_alike(family, data):
    layout = LAYOUTS[family](data.draw(st.sampled_from([1, 2, 12])))
    conditions = conditionals(scalars=SCALARS, layers=st.none() | layer_runs())
    recipe = ties(
        tuple(data.draw(st.lists(conditions, min_size=1, max_size=4))),
        parameters={"weight": data.draw(SCALARS)},
        compat=data.draw(st.sampled_from([None, COMPAT])),
    )
    try:
        again = mergekit.loads(mergekit.dumps(recipe, layout=layout))
    except RecipeError as error:
        # only where a name that must fall through contains one that must not
        assert family == "awkward"
        assert "models[0].parameters.weight" in str(error)  # noqa: PT017
        return
    for name in layout.tensors:
        assert weight_of(again, layout, name) == weight_of(recipe, layout, name), name


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_gradient_keeps_its_native_ends(data):
    layout = llama(data.draw(st.sampled_from([1, 2, 12])))
    recipe = ties(tuple(data.draw(st.lists(SCALARS, min_size=1, max_size=4))))
    again = mergekit.loads(mergekit.dumps(recipe, layout=layout))
    for name in layout.tensors:
        assert weight_of(again, layout, name) == weight_of(recipe, layout, name), name


def test_layers_of_slices_are_those_of_the_names():
    """A filter sees the input's name: layer 9 of an input is layer 1 of the output."""
    layout = llama(10)
    first = Conditional(value=0.25, layers=(9, 10), filter="mlp")
    source = Source(
        model=A, layer_range=(8, 10), parameters={"weight": (first, Conditional(value=1))}
    )
    run = Slice(sources=(source, Source(model=B, layer_range=(0, 2))))
    recipe = Recipe(merge_method="ties", base_model=B, slices=(run,), compat=COMPAT)
    written = yaml.safe_load(mergekit.dumps(recipe, layout=layout))
    assert written["slices"][0]["sources"][0]["parameters"]["weight"] == [
        {"filter": "layers.9.mlp", "value": 0.25},
        {"value": 1},
    ]


def test_layer_1_is_not_layer_11():
    text = mergekit.dumps(
        ties((Conditional(value=2, layers=(1, 2)), Conditional(value=1))), layout=llama(12)
    )
    again = mergekit.loads(text)
    assert weight_of(again, llama(12), "model.layers.11.mlp.up_proj.weight") == 1
    assert "layers.1." in text


@settings(max_examples=15, deadline=None)
@given(mergekit_recipes())
def test_mergekit_accepts_what_is_written(recipe):
    config = pytest.importorskip("mergekit.config")
    read = config.MergeConfiguration.model_validate(yaml.safe_load(mergekit.dumps(recipe)))
    assert read.merge_method == recipe.merge_method


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_mergekit_evaluates_the_same_values(family, data):
    config = pytest.importorskip("mergekit.config")
    layout = LAYOUTS[family](data.draw(st.sampled_from([1, 3, 12])))
    conditions = conditionals(scalars=SCALARS, layers=st.none() | layer_runs())
    recipe = ties(
        tuple(data.draw(st.lists(conditions, min_size=1, max_size=3))),
        parameters={"weight": data.draw(SCALARS)},
    )
    theirs = config.MergeConfiguration.model_validate(
        yaml.safe_load(mergekit.dumps(recipe, layout=layout))
    )
    for name in layout.tensors:
        # the planner's rule: t runs over the layers, and is 0 before and after them
        t = place(layout, name, compat=True).t
        values = (
            config.evaluate_setting(name, scope["weight"], t, validate=float)
            for scope in (theirs.models[0].parameters or {}, theirs.parameters)
            if "weight" in scope
        )
        value = next(one for one in values if one is not None)
        assert value == pytest.approx(weight_of(recipe, layout, name), rel=1e-15), name


def test_native_arithmetic_is_float32_with_one_rounding():
    written = yaml.safe_load(mergekit.dumps(ties(1.0, dtype="float16", out_dtype=None)))
    assert (written["dtype"], written["out_dtype"]) == ("float32", "float16")
    written = yaml.safe_load(mergekit.dumps(ties(1.0, out_dtype=None), dtype="bfloat16"))
    assert (written["dtype"], written["out_dtype"]) == ("float32", "bfloat16")


def test_rescale_is_a_switch_in_mergekit():
    for ours, theirs in (("l1", True), ("none", False), (True, True)):
        recipe = ties(1.0, parameters={"rescale": ours})
        assert yaml.safe_load(mergekit.dumps(recipe))["parameters"]["rescale"] is theirs


def test_comments_tell_digests_and_random_masks():
    pinned = ModelRef(path="a", sha256="0" * 64)
    recipe = Recipe(
        merge_method="dare_ties",
        base_model=B,
        models=(Source(model=pinned, parameters={"weight": 1}),),
        seed=5,
        dtype="bfloat16",
    )
    comments = mergekit.dumps(recipe).splitlines()[:2]
    assert comments[0].startswith("# dare_ties draws random numbers")
    assert comments[1] == f"# sha256 of 'a': {'0' * 64}"


@pytest.mark.parametrize(
    "ref",
    [
        ModelRef(path="a@b"),
        ModelRef(path="a+b", revision="r@1"),
        ModelRef(path="a b", adapter="c+d", adapter_revision="x"),
        ModelRef(path='a"b', revision="main"),
    ],
)
def test_awkward_model_names(ref):
    common = pytest.importorskip("mergekit.common")
    recipe = ties(1.0, compat=COMPAT).model_copy(update={"models": (Source(model=ref),)})
    text = mergekit.dumps(recipe)
    assert mergekit.loads(text) == recipe
    theirs = common.ModelReference.model_validate(yaml.safe_load(text)["models"][0]["model"])
    assert (theirs.model.path, theirs.model.revision) == (ref.path, ref.revision)
    assert (theirs.lora.path if theirs.lora else None) == ref.adapter


def linear(**fields):
    return Recipe(merge_method="linear", out_dtype="float32", **fields)


RUN = Source(model=A, layer_range=(0, 2))
OTHER = Source(model=B, layer_range=(0, 2))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(merge_method="magic", models=(Source(model=A),)), "merge_method: "),
        (linear(models=(Source(model=linear(models=(Source(model=A),))),)), "models[0].model: "),
        (linear(models=(Source(model=A),), base_model=B), "base_model: "),
        (ties(1.0, out_dtype=None), "out_dtype: "),
        (ties((0.0, 1.0)), "models[0].parameters.weight: "),
        (ties((Conditional(value=1, layers=(0, 2)),)), "models[0].parameters.weight: "),
        (ties(1.0, parameters={"rescale": "inverse_density"}), "parameters.rescale: "),
        (ties(1.0, parameters={"densty": 1}), "parameters.densty: "),
        (ties("big"), "models[0].parameters.weight: "),
        (
            linear(models=(Source(model=A, parameters={"normalize": True}),)),
            "models[0].parameters.normalize: ",
        ),
        (
            linear(slices=(Slice(sources=(RUN,)), Slice(sources=(RUN, OTHER)))),
            "slices[1].sources: ",
        ),
        (
            Recipe(merge_method="ties", base_model=B, slices=(Slice(sources=(RUN,)),)),
            "slices[0].sources: ",
        ),
        (
            Recipe(merge_method="sce", base_model=B, models=(Source(model=A),), dtype="float32"),
            "merge_method: ",
        ),
        (
            Recipe(merge_method="slerp", base_model=ModelRef(path="c"), models=(Source(model=A),)),
            "base_model: ",
        ),
        (
            linear(models=(Source(model=ModelRef(path="a", adapter_revision="x")),)),
            "models[0].model: ",
        ),
    ],
)
def test_what_mergekit_cannot_say_is_refused_by_name(recipe, message):
    with pytest.raises(RecipeError) as caught:
        mergekit.dumps(recipe)
    assert str(caught.value).startswith(f"{message}not expressible as mergekit YAML: ")
    assert "\n" not in str(caught.value)
