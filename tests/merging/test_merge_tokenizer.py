"""Models with different vocabularies, aligned as mergekit aligns them."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.alignment import align
from evomerge.recipe.model import Recipe
from tests.merging.tiny_models import VOCABULARY, llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mergekit_merge = pytest.importorskip("mergekit.merge")
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions

WORDS = VOCABULARY[3:]
SPECIAL = VOCABULARY[:3]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Base, one model with other tokens in another order, one that lacks and adds some."""
    folder = tmp_path_factory.mktemp("vocabularies")
    shuffled = [*SPECIAL, *reversed(WORDS[:50]), "left", "both"]
    fewer = [*SPECIAL, *WORDS[10:55], "both"]
    return [
        str(llama(folder / "base", seed=0)),
        str(llama(folder / "shuffled", seed=1, vocabulary=shuffled)),
        str(llama(folder / "fewer", seed=2, vocabulary=fewer)),
    ]


def recipe_of(models, source, method="linear") -> dict:
    recipe = {
        "merge_method": method,
        "models": [{"model": m, "parameters": {"weight": 0.5}} for m in models[1:]],
        "tokenizer_source": source,
        "dtype": "float32",
    }
    if method == "linear":
        recipe["models"].append({"model": models[0], "parameters": {"weight": 0.2}})
    recipe["base_model"] = models[0]
    return recipe


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
@pytest.mark.parametrize("source", ["base", "model", "union"])
def test_every_token_has_the_row_mergekit_gives_it(models, source, method, tmp_path):
    recipe = recipe_of(models, models[2] if source == "model" else source, method)
    engine = MergeEngine()
    engine.write(Recipe.model_validate(recipe), tmp_path / "ours")
    config = MergeConfiguration.model_validate(recipe)
    mergekit_merge.run_merge(config, str(tmp_path / "theirs"), MergeOptions(quiet=True))
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("ours", "theirs"))
    a, b = (AutoTokenizer.from_pretrained(tmp_path / n).get_vocab() for n in ("ours", "theirs"))
    assert a.keys() == b.keys()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            for token, row in a.items():
                torch.testing.assert_close(tensor[row], theirs[name][b[token]])
        else:
            torch.testing.assert_close(tensor, theirs[name])


def test_the_union_loads_and_equals_the_resident_model(models, tmp_path):
    recipe = Recipe.model_validate(recipe_of(models, "union"))
    engine = MergeEngine()
    resident = load_resident(engine, recipe)
    engine.write(recipe, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = resident.tokenizer("left w3 both", return_tensors="pt")["input_ids"]
    assert resident.tokenizer.convert_ids_to_tokens(tokens[0].tolist()) == ["left", "w3", "both"]
    assert loaded.config.vocab_size == len(resident.tokenizer) == len(VOCABULARY) + 2
    assert torch.equal(resident.module(tokens).logits, loaded(tokens).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()["left"] == 64


def test_the_tokenizer_of_a_nested_union_is_handed_on(models, tmp_path):
    union = recipe_of(models, "union")
    hops = {"hops": [[0, 1, 0.5], [1, 0], [0, 0]]}
    # The second model has fewer tokens, and lends a layer only.
    inputs = [{"model": union}, {"model": models[2]}]
    path = {"merge_method": "passthrough", "models": inputs, "path": hops}
    engine = MergeEngine()
    engine.write(Recipe.model_validate(path), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.get_vocab()["left"] == 64
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.vocab_size == 66
    scaled = {"merge_method": "passthrough", "models": [{"model": union}]}
    engine.write(Recipe.model_validate(scaled), tmp_path / "scaled")
    assert AutoTokenizer.from_pretrained(tmp_path / "scaled").get_vocab() == tokenizer.get_vocab()


def test_equal_vocabularies_are_left_alone(family):
    base, donor, *_ = map(str, family("llama"))
    for source in ("base", "union", donor):
        recipe = {
            "merge_method": "linear",
            "models": [{"model": m} for m in (base, donor)],
            "parameters": {"weight": 1},
            "tokenizer_source": source,
        }
        plan = MergeEngine().check(Recipe.model_validate(recipe))
        assert plan.tokenizer.alignment is None
        assert all(merge.positions is None for merge in plan.tensors.values())


def test_without_a_tokenizer_source_both_sizes_are_named(models):
    recipe = recipe_of(models, None)
    with pytest.raises(CheckpointError, match=r"vocab_size (55|49|64).*tokenizer_source"):
        MergeEngine().check(Recipe.model_validate(recipe))


def test_rows_of_missing_tokens():
    a, b, c = (torch.full((2, 1), float(v)) for v in (1, 2, 4))
    #        both a and b | only b | only c | a, b and c | nobody
    places = [
        torch.tensor([0, -1, -1, 1, -1]),
        torch.tensor([1, 0, -1, 1, -1]),
        torch.tensor([-1, -1, 1, 0, -1]),
    ]
    without_base = align([a, b, c], places, None)
    assert torch.cat(without_base, dim=1).tolist() == [
        [1, 2, 1.5],
        [2, 2, 2],
        [4, 4, 4],
        [1, 2, 4],
        [0, 0, 0],
    ]
    with_base = align([a, b, c], places, 1)
    assert torch.cat(with_base, dim=1)[0].tolist() == [1, 2, 2]
