"""Lineages as mergekit YAML: run by mergekit 0.1.5 itself, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from evomerge.errors import RecipeError
from evomerge.merging import tensor_shapes
from evomerge.recipe import ModelRef, mergekit
from tests.merging.flat import assert_same, flat_order, lineage_recipe, merged

pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
from tests.merging.test_mergekit_parity import theirs

pytestmark = pytest.mark.filterwarnings("ignore")  # upstream's own warnings


def table(order, ends, *, seed, inputs=(0, 1, 2), **fields):
    rows = np.random.default_rng(seed).normal(size=(len(ends), len(inputs)))
    node = {"inputs": list(inputs), "ends": ends, "weights": rows.tolist()}
    return {"size": order.size, "nodes": [node], **fields}


def borders(order, n, seed):
    inner = order.starts[1:-1]
    random = np.random.default_rng(seed)
    chosen = random.choice(inner, min(n, len(inner)), replace=False)
    return [*sorted(chosen.tolist()), order.size]


def assert_within_one_step(mine, other):
    assert sorted(mine) == sorted(other)
    for name, a in mine.items():
        b = other[name]
        up = torch.nextafter(a, torch.full_like(a, torch.inf))
        down = torch.nextafter(a, torch.full_like(a, -torch.inf))
        assert ((b >= down) & (b <= up)).all(), name


@pytest.mark.parametrize("origin", ["base", "zero"])
@pytest.mark.parametrize("n", [0, 3, 1000])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_segments_of_whole_tensors(name, n, origin, family, engine, tmp_path):
    base, *donors = family(name)
    order = flat_order(engine, base, "depth").order
    lineage = table(order, borders(order, n, seed=1), seed=2, origin=origin)
    recipe = lineage_recipe(base, donors, lineage)
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    text = mergekit.dumps(recipe, shape=shape, dtype="float32")
    mine = merged(engine, recipe)
    assert_within_one_step(mine, theirs(yaml.safe_load(text), tmp_path / "out"))
    # read back, it is the same merge in our own engine
    assert_within_one_step(mine, merged(engine, mergekit.loads(text)))


@pytest.mark.parametrize("origin", ["base", "zero"])
@pytest.mark.parametrize("inputs", [(0,), (1,), (2, 0), (0, 1)])
def test_individuals_that_draw_on_some_donors_only(inputs, origin, family, engine, tmp_path):
    base, *donors = family("llama")
    order = flat_order(engine, base, "depth").order
    lineage = table(order, [order.size], seed=4, inputs=inputs, origin=origin)
    recipe = lineage_recipe(base, donors, lineage)
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    text = mergekit.dumps(recipe, shape=shape, dtype="float32")
    assert_within_one_step(merged(engine, recipe), theirs(yaml.safe_load(text), tmp_path / "out"))


def test_few_conditions_where_layers_are_alike(family, engine):
    """A cut between two layers of twelve is a few lines, not one for each tensor."""
    base, *donors = family("llama12")
    order = flat_order(engine, base, "depth").order
    layers = [block.layer for block in order.blocks]
    end = int(order.starts[layers.index(5)])
    recipe = lineage_recipe(base, donors, table(order, [end, order.size], seed=3))
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    data = yaml.safe_load(mergekit.dumps(recipe, shape=shape, dtype="bfloat16"))
    assert data["merge_method"] == "task_arithmetic"
    assert data["out_dtype"] == "bfloat16"
    assert all(len(one["parameters"]["weight"]) <= 14 for one in data["models"])


def test_several_generations_are_one_merge(family, engine, tmp_path):
    base, *donors = family("llama")
    order = flat_order(engine, base, "unit", {"attention": "attn", "rest": "."}).order
    ends = [order.chromosomes[0].end, order.size]
    whole = {"ends": [order.size]}
    lineage = {
        "layout": "unit",
        "chromosomes": {"attention": "attn", "rest": "."},
        "size": order.size,
        "nodes": [
            {"inputs": [0, 1], "ends": ends, "weights": [[0.2, 0.8], [0.7, 0.3]]},
            {"inputs": [2, {"node": 0}], **whole, "weights": [[0.4, 0.6]]},
        ],
    }
    recipe = lineage_recipe(base, donors, lineage)
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    text = mergekit.dumps(recipe, shape=shape, dtype="float32")
    assert_within_one_step(merged(engine, recipe), theirs(yaml.safe_load(text), tmp_path / "out"))


def test_whole_weights_of_a_donor_that_is_the_base(family, engine, tmp_path):
    base, *donors = family("gpt2")
    order = flat_order(engine, base, "depth").order
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    lineage = table(order, [order.size], seed=4, inputs=(0, 1), origin="zero")
    recipe = lineage_recipe(base, [donors[0], base], lineage)
    text = mergekit.dumps(recipe, shape=shape, dtype="float32")
    assert yaml.safe_load(text)["base_model"] == str(base)
    assert_within_one_step(merged(engine, recipe), theirs(yaml.safe_load(text), tmp_path / "out"))
    lineage = table(order, [order.size], seed=4, inputs=(0, 1), origin="base")
    recipe = lineage_recipe(base, [donors[0], base], lineage)
    text = mergekit.dumps(recipe, shape=shape, dtype="float32")
    assert len(yaml.safe_load(text)["models"]) == 1
    assert_same(merged(engine, recipe), merged(engine, mergekit.loads(text)))


def nodes_with(order, *, inputs=(0,), ends=None, more=()):
    ends = ends or [order.size]
    weights = [[0.5 + i] * len(inputs) for i in range(len(ends))]
    return [{"inputs": list(inputs), "ends": ends, "weights": weights}, *more]


REFUSED = {
    "inside a tensor": (lambda o: nodes_with(o, ends=[7, o.size]), r"embed_tokens.* is cut in two"),
    "Gaussian": (lambda o: nodes_with(o, inputs=(0, {"gaussian": 1})), "no Gaussian mutation"),
    "spectral": (
        lambda o: nodes_with(o, inputs=(0, {"spectral": 1, "donor": 0})),
        "no SVD mutation",
    ),
    "svd": (lambda o: nodes_with(o, more=[{"svd": 0, "key": 1, "scale": 1}]), "no SVD mutation"),
    "rebase": (lambda o: nodes_with(o, more=[{"rebase": 0}]), "no rebased ancestors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_mergekit_cannot_say(case, family, engine):
    base, *donors = family("llama")
    order = flat_order(engine, base, "depth").order
    build, message = REFUSED[case]
    recipe = lineage_recipe(base, donors, {"size": order.size, "nodes": build(order)})
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    with pytest.raises(RecipeError, match=message):
        mergekit.dumps(recipe, shape=shape, dtype="float32")
    with pytest.raises(RecipeError, match="pass the shape of the base"):
        mergekit.dumps(recipe, layout=shape.layout, dtype="float32")


def test_a_shape_of_another_model(family, engine):
    base, *donors = family("llama")
    order = flat_order(engine, base, "depth").order
    recipe = lineage_recipe(base, donors, table(order, [order.size], seed=1))
    shape = tensor_shapes(engine.open(ModelRef(path=str(family("gpt2")[0]))))
    with pytest.raises(RecipeError, match="pass the shape of the base that it was made with"):
        mergekit.dumps(recipe, shape=shape, dtype="float32")
