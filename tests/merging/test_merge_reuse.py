"""One engine, many recipes: what is kept between merges never leaks into the next."""

import pytest
import torch

from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.compiler import Compiler
from evomerge.recipe.model import Recipe
from tests.merging.tiny_models import llama


@pytest.fixture
def recipe(tmp_path):
    base = llama(tmp_path / "base", seed=0)
    donors = [llama(tmp_path / f"donor-{i}", seed=i, near=base) for i in (1, 2)]

    def build(method, first, second, *, seed=0, sliced=False):
        sources = [
            {"model": str(donor), "parameters": {"weight": weight}}
            for donor, weight in zip(donors, (first, second), strict=True)
        ]
        data = {"merge_method": method, "base_model": str(base), "seed": seed, "dtype": "float32"}
        if sliced:
            sources.append({"model": str(base)})
            data["slices"] = [{"sources": [{**s, "layer_range": [0, 2]} for s in sources]}]
        else:
            data["models"] = sources
        if method.startswith("dare"):
            data["parameters"] = {"density": 0.5}
        return Recipe.model_validate(data)

    return build


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_ties"])
def test_the_second_recipe_of_one_structure_gets_its_own_parameters(recipe, method, sliced):
    engine = MergeEngine()
    variants = [(0.0, 0.0, 0), (0.0, 1.0, 0), (0.7, 0.2, 0), (0.7, 0.2, 9)]
    for first, second, seed in variants:
        one = recipe(method, first, second, seed=seed, sliced=sliced)
        expected = dict(MergeEngine().tensors(one))
        found = dict(engine.tensors(one))
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_applying_recipes_in_turn_equals_a_fresh_resident_model(recipe):
    engine = MergeEngine()
    resident = load_resident(engine, recipe("task_arithmetic", 0.0, 0.0))
    for weights in ((0.0, 1.0), (1.0, 0.0), (0.3, 0.4)):
        one = recipe("task_arithmetic", *weights)
        engine.apply(one, resident.module)
        fresh = load_resident(MergeEngine(), one).module.state_dict()
        assert all(torch.equal(fresh[k], v) for k, v in resident.module.state_dict().items())


def test_a_candidate_asked_about_and_then_merged_is_laid_out_once(recipe, monkeypatch):
    laid_out = []
    compile_recipe = Compiler.compile

    def counted(self, one):
        laid_out.append(one)
        return compile_recipe(self, one)

    monkeypatch.setattr(Compiler, "compile", counted)
    engine = MergeEngine()
    first, second = (recipe("linear", weight, 1.0) for weight in (0.2, 0.3))
    resident = load_resident(engine, first)
    for one in (first, second, first):
        engine.config(one)
        engine.apply(one, resident.module)
    assert laid_out == [first, second, first]
