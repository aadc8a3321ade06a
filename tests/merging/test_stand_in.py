"""A configuration in place of a model: the same names and shapes, and no weights."""

from __future__ import annotations

import json

import pytest
import torch

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.merging.stand_in import ConfigCheckpoint
from evomerge.merging.tokenizer import vocabulary
from evomerge.recipe.model import ModelRef, Recipe, Source
from tests.cost.families import build, tiny

KINDS = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text", "olmo2")


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_shapes_are_those_of_the_saved_model(tmp_path, kind):
    build(tiny(kind)).save_pretrained(tmp_path / "model")
    real = open_checkpoint(ModelRef(path=str(tmp_path / "model")))
    stand_in = ConfigCheckpoint(tmp_path / "model" / "config.json", "far away")
    assert stand_in.names == real.names
    assert [stand_in.shape(name) for name in real.names] == list(map(real.shape, real.names))
    assert {stand_in.dtype(name) for name in real.names} == {torch.float32}
    assert stand_in.layout == real.layout


def test_a_recipe_can_be_checked_and_not_merged(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(tiny("llama").to_dict()))
    engine = MergeEngine()
    refs = [ModelRef(path=f"far/{name}") for name in "ab"]
    for ref in refs:
        engine.stand_in(ref, ConfigCheckpoint(file, str(ref)))
    recipe = Recipe(
        merge_method="linear",
        models=tuple(Source(model=ref, parameters={"weight": 0.5}) for ref in refs),
    )
    assert engine.check(recipe).config["num_hidden_layers"] == 3
    with pytest.raises(CheckpointError, match=r"model 'far/a'.*only its configuration was given"):
        list(engine.tensors(recipe))
    with pytest.raises(CheckpointError, match=r"model 'far/a' has no digest"):
        engine.digest(refs[0])


def test_the_dtype_may_stand_under_its_old_key(tmp_path):
    file = tmp_path / "config.json"
    config = {**tiny("llama").to_dict(), "torch_dtype": "bfloat16"}
    del config["dtype"]
    file.write_text(json.dumps(config))
    stand_in = ConfigCheckpoint(file, "x")
    assert {stand_in.dtype(name) for name in stand_in.names} == {torch.bfloat16}


def test_tokens_are_shared_by_number(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(tiny("llama").to_dict()))
    assert sorted(vocabulary(ConfigCheckpoint(file, "x")).values()) == list(range(50))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": "unheard"}, "model_type 'unheard' is unknown"),
        ({"model_type": "llama", "hidden_size": "wide"}, "no model can be built from it"),
    ],
)
def test_a_configuration_that_means_no_model_is_refused(tmp_path, content, message):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        ConfigCheckpoint(file, "x")
