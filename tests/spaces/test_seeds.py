"""Seeds are the models they are named after: merged by mergekit, compared with the donors."""

from dataclasses import replace

import pytest

from evomerge.errors import SpaceError
from evomerge.recipe import fingerprint, native
from evomerge.recipe.parameters import Place, resolve
from evomerge.recipe.vocabulary import METHODS
from evomerge.spaces import known_recipes, load_space, single_lambda
from tests.recipe.layouts import llama
from tests.spaces.models import context, shipped_with

LAYOUT = llama(5)


def merged(recipe, tensors, name):
    """Merge one tensor with mergekit, its parameters resolved by us."""
    merge_methods = pytest.importorskip("mergekit.merge_methods")
    words = METHODS[recipe.merge_method]
    refs = [source.model for source in recipe.models]
    bases = [recipe.base_model] if recipe.base_model and recipe.base_model not in refs else []
    place = Place(name, LAYOUT.layer_of(name), 0.0)
    scopes = [(source.parameters, recipe.parameters) for source in recipe.models]
    parameters = {}
    for parameter in words.per_input:
        values = [resolve(parameter, scope, place) for scope in scopes]
        if values[0] is not None:
            parameters[parameter] = values
    for parameter in words.shared:
        value = resolve(parameter, (recipe.parameters,), place)
        if value is not None:
            parameters[parameter] = {"l1": True, "none": False}.get(value, value)
    every = [*refs, *bases]
    return merge_methods.merge_tensors(
        [tensors[ref.path] for ref in every],
        recipe.merge_method,
        parameters=parameters,
        base_index=every.index(recipe.base_model) if recipe.base_model else None,
        name=name,
    )


def tensors(donors):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(3)
    return {f"./{name}": torch.randn(6, 4, generator=generator) for name in ("base", *donors)}


NAMES = ("model.embed_tokens.weight", "model.layers.4.mlp.up_proj.weight", "lm_head.weight")


@pytest.mark.parametrize("space", shipped_with("merge_method"))
def test_seeds_of_shipped_merge_spaces(space):
    models = context(LAYOUT, 2)
    built = load_space(space, models)
    seeds = {seed.name: built.decode(seed.genotype) for seed in built.domain.seeds}
    # no density of mm_mo is 1, so that something is always dropped
    assert ({"base"} if space == "mm_mo" else {*models.donors, "uniform"}) <= set(seeds)
    values = tensors(models.donors)
    mean = sum(values[f"./{name}"] for name in models.donors) / 2
    for name, recipe in seeds.items():
        for tensor in NAMES:
            result = merged(recipe, values, tensor)
            if name != "uniform":
                assert result.allclose(values[f"./{name}"], rtol=0, atol=1e-6), name
            elif recipe.merge_method == "task_arithmetic":
                assert result.allclose(mean, rtol=0, atol=1e-6)


def space_of(method, n_donors=2, **fields):
    fields.setdefault("genes", {"weight": {"range": [0, 1]}})
    return load_space({"merge_method": method, **fields}, context(LAYOUT, n_donors))


def names(space):
    return [seed.name for seed in space.domain.seeds]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["base", "math", "code", "uniform"]),
        # 1 and 0 out of bounds
        ({"genes": {"weight": {"range": [0.1, 0.9]}}}, ["uniform"]),
        ({"genes": {"weight": {"range": [0, 0.9]}}}, ["base", "uniform"]),
        # one weight for all cannot single out a donor
        ({"genes": {"weight": {"range": [0, 1], "per": "all"}}}, ["base", "uniform"]),
        # a part that keeps a weight of its own is never one donor
        ({"genes": {"weight": {"range": [0, 1], "fixed": {"norm": 0.5}}}}, ["uniform"]),
        ({"genes": {"weight": {"range": [0, 1], "fixed": {"norm": 0.0}}}}, ["base"]),
        ({"parameters": {"lambda": 0.5}}, ["base"]),
        ({"parameters": {"lambda": 1}}, ["base", "math", "code", "uniform"]),
        ({"parameters": {"density": 0.5}}, ["base"]),
        (
            {"genes": {"weight": {"range": [0, 1]}, "density": {"range": [0.1, 0.9]}}},
            ["base"],
        ),
        (
            {"genes": {"lambda": {"range": [0.5, 2]}, "weight": {"range": [0, 1]}}},
            ["base", "math", "code", "uniform"],
        ),
        # no weight is searched: nothing to reach
        ({"genes": {"lambda": {"range": [0.5, 2]}}, "parameters": {"weight": 0.5}}, ["uniform"]),
    ],
)
def test_only_what_the_bounds_allow(fields, expected):
    assert names(space_of("ties", **fields)) == expected


def test_other_families():
    assert names(space_of("slerp", genes={"t": {"range": [0, 0.5]}})) == ["math", "uniform"]
    assert names(space_of("linear")) == ["math", "code", "uniform"]
    assert names(space_of("linear", base="input")) == ["base", "math", "code", "uniform"]
    assert names(space_of("nearswap", 1, genes={"t": {"range": [0, 1]}})) == ["base"]
    assert names(space_of("ties", 1)) == ["base", "math"]
    assert names(space_of("sce", genes={"select_topk": {"range": [0, 1]}})) == []


def test_known_recipes_are_the_models():
    models = context(LAYOUT, 3, dtype="bfloat16", seed=4)
    values = tensors(models.donors)
    mean = sum(values[f"./{name}"] for name in models.donors) / 3
    expected = {"uniform": mean, "base": values["./base"]}
    expected |= {name: values[f"./{name}"] for name in models.donors}
    recipes = known_recipes(models)
    assert list(recipes) == ["base", "uniform", "math", "code", "chat"]
    for name, recipe in recipes.items():
        assert (recipe.dtype, recipe.seed) == ("bfloat16", 4)
        result = merged(recipe, values, NAMES[0])
        assert result.allclose(expected[name], rtol=0, atol=1e-6), name
    assert merged(recipes["base"], values, NAMES[0]).equal(values["./base"])


def test_single_lambda():
    models = context(LAYOUT, 2)
    values = tensors(models.donors)
    recipes = single_lambda(models, (0.3, 1))
    assert list(recipes) == ["lambda=0.3", "lambda=1"]
    base = values["./base"]
    expected = base + 0.3 * sum(values[f"./{name}"] - base for name in models.donors)
    assert merged(recipes["lambda=0.3"], values, NAMES[0]).allclose(expected, atol=1e-6)


def test_models_of_different_depth_are_known_as_they_are():
    models = context(LAYOUT, 2, depths={"code": 7}, dtype="bfloat16")
    recipes = known_recipes(models)
    assert list(recipes) == ["base", "math", "code"]
    for name, recipe in recipes.items():
        assert (recipe.merge_method, recipe.dtype) == ("passthrough", "bfloat16")
        assert [source.model.path for source in recipe.models] == [f"./{name}"]
    assert single_lambda(models, (0.3, 1)) == {}
    with pytest.raises(SpaceError, match="'code' has 7 layers and the base 5"):
        load_space("ties", models)


def test_a_donor_may_be_a_recipe():
    models = context(LAYOUT, 2)
    inner = load_space("dare_ties", models).decode((0.5, 0.6, 1.0, 0.9))
    staged = replace(models, donors={"first": inner, "code": models.donors["code"]})
    for name in shipped_with("merge_method"):
        space = load_space(name, staged)
        recipe = space.decode(space.domain.initial)
        assert recipe.models[0].model == inner
        assert fingerprint(native.loads(native.dumps(recipe))) == fingerprint(recipe)
    assert load_space("slerp_layerwise", staged).decode((0.5,) * 2).base_model == inner
    assert known_recipes(staged)["first"].models[0].model == inner
