"""Whatever is wrong with a recipe or a model is said in one line that names it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.errors import CheckpointError, PluginError, RecipeError
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.merging.method import merge_method
from evomerge.recipe.model import ModelRef, Recipe
from tests.merging.tiny_models import VOCABULARY, llama, qwen2


@pytest.fixture(scope="module")
def two(family):
    base, donor, *_ = family("llama")
    return str(base), str(donor)


def complain(error, recipe: dict) -> str:
    with pytest.raises(error) as caught:
        MergeEngine().check(Recipe.model_validate(recipe))
    return str(caught.value)


def arithmetic(two, **more) -> dict:
    return {
        "merge_method": "task_arithmetic",
        "base_model": two[0],
        "models": [{"model": two[1], "parameters": {"weight": 1.0}}],
        **more,
    }


def sliced(two, *ranges) -> dict:
    sources = [{"model": m, "layer_range": r} for m, r in zip(two, ranges, strict=True)]
    return {
        "merge_method": "slerp",
        "base_model": two[0],
        "slices": [{"sources": sources}],
        "parameters": {"t": 0.5},
    }


def test_unknown_method_and_parameter_name_their_neighbour(two):
    assert "'linear'" in complain(PluginError, arithmetic(two, merge_method="liner"))
    bad = arithmetic(two, models=[{"model": two[1], "parameters": {"wieght": 1.0}}])
    message = complain(RecipeError, bad)
    assert "models[0].parameters" in message
    assert "did you mean 'weight'?" in message


def test_several_problems_come_together(two):
    bad = arithmetic(two, parameters={"lamda": 1, "weigth": 2})
    message = complain(RecipeError, bad)
    assert "'lambda'" in message
    assert "'weight'" in message
    assert len(message.splitlines()) == 2


def test_a_global_parameter_beside_a_model_is_refused(two):
    bad = sliced(two, [0, 2], [0, 2])
    bad["slices"][0]["sources"][0]["parameters"] = {"t": 0.3}
    assert "slices[0].sources[0].parameters: 't'" in complain(RecipeError, bad)


def test_inert_names_are_for_mergekit_files_only(two):
    recipe = arithmetic(two, parameters={"int8_mask": True})
    assert "int8_mask" in complain(RecipeError, recipe)
    MergeEngine().check(Recipe.model_validate({**recipe, "compat": "mergekit-0.1.5"}))


def test_a_missing_required_parameter_names_model_and_tensor(two):
    bad = arithmetic(two, models=[{"model": two[1]}])
    message = complain(RecipeError, bad)
    assert two[1] in message
    assert "'model.embed_tokens.weight'" in message
    only_mlp = arithmetic(two, models=[{"model": two[1]}])
    only_mlp["parameters"] = {"weight": [{"filter": "mlp", "value": 1}]}
    assert "mlp" not in complain(RecipeError, only_mlp).splitlines()[0].split("for tensor")[1]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("weight", "heavy", "a number"), ("weight", True, "a number"), ("normalize", 0.5, "true or")],
)
def test_a_value_of_the_wrong_type(two, name, value, expected):
    bad = arithmetic(two, models=[{"model": two[1]}], parameters={"weight": 1.0, name: value})
    message = complain(RecipeError, bad)
    assert f"'{name}'" in message
    assert expected in message


def test_rescale_reads_mergekits_switch_and_names_its_choices(two):
    recipe = arithmetic(two, merge_method="ties", parameters={"rescale": "l2"})
    assert "none, l1, inverse_density" in complain(RecipeError, recipe)
    for value, meaning in ((True, "l1"), (False, "none"), ("inverse_density", "inverse_density")):
        recipe["parameters"] = {"rescale": value}
        plan = MergeEngine().check(Recipe.model_validate(recipe))
        assert plan.tensors["lm_head.weight"].arguments["rescale"] == meaning


def test_structure(two):
    twice = arithmetic(two)
    twice["models"] = twice["models"] * 2
    assert "listed twice" in complain(RecipeError, twice)
    orphan = arithmetic(two)
    del orphan["base_model"]
    assert "needs a base_model" in complain(RecipeError, orphan)
    assert "ends at 3" in complain(RecipeError, sliced(two, [0, 2], [1, 3]))
    unlisted = sliced(two, [0, 1], [0, 1])
    unlisted["base_model"] = two[1]
    del unlisted["slices"][0]["sources"][1]
    message = complain(RecipeError, unlisted)
    assert "not among the sources" in message
    assert "at least 2 inputs" in message
    crowd = {"merge_method": "passthrough", "models": [{"model": m} for m in two]}
    assert "at most 1" in complain(RecipeError, crowd)


def test_models_that_do_not_match(two, tmp_path):
    deep = str(llama(tmp_path / "deep", seed=0, layers=3))
    wide = str(llama(tmp_path / "wide", seed=0, hidden=64))
    other = str(qwen2(tmp_path / "other", seed=0))
    words = str(llama(tmp_path / "words", seed=0, vocabulary=[*VOCABULARY, "extra"]))
    for path, expected in (
        (deep, "3"),
        (wide, "hidden_size"),
        (other, "model_type"),
        (words, "vocab_size"),
    ):
        message = complain(CheckpointError, arithmetic((two[0], path)))
        assert expected in message
        assert path in message
        assert two[0] in message


def test_a_tensor_of_another_shape_or_missing(two, tmp_path):
    for change, expected in (("shape", "(48, 16)"), ("missing", "does not have it")):
        path = tmp_path / change
        shutil.copytree(two[1], path)
        tensors = load_file(path / "model.safetensors")
        name = "model.layers.1.mlp.up_proj.weight"
        tensors[name] = tensors[name][:, :16].contiguous()
        if change == "missing":
            del tensors[name]
        save_file(tensors, path / "model.safetensors")
        message = complain(CheckpointError, arithmetic((two[0], str(path))))
        assert name in message
        assert expected in message
        assert str(path) in message


def test_missing_files(two, tmp_path):
    assert "does not exist" in complain(CheckpointError, arithmetic((two[0], "/no/such/model")))
    (tmp_path / "empty").mkdir()
    message = complain(CheckpointError, arithmetic((two[0], str(tmp_path / "empty"))))
    assert "config.json is missing" in message
    (tmp_path / "empty" / "config.json").write_text("{}")
    message = complain(CheckpointError, arithmetic((two[0], str(tmp_path / "empty"))))
    assert "no weights" in message


def test_a_hub_id_offline_is_one_line(two):
    message = complain(CheckpointError, arithmetic((two[0], "nobody/nothing-here")))
    assert "nobody/nothing-here" in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", ["short", "header", "empty", "text", "offsets"])
def test_damaged_weights_name_their_file(two, tmp_path, damage):
    path = tmp_path / "damaged"
    shutil.copytree(two[1], path)
    file = path / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["lm_head.weight"]["data_offsets"][1] -= 4
    text = json.dumps(header).encode()
    text += b" " * (length - len(text))
    damaged = {
        "short": content[:-100],
        "header": (1 << 60).to_bytes(8, "little") + content[8:],
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\n",
        "offsets": content[:8] + text[:length] + content[8 + length :],
    }
    file.write_bytes(damaged[damage])
    message = complain(CheckpointError, arithmetic((two[0], str(path))))
    assert str(file) in message
    assert "\n" not in message


def test_shards_stay_inside_the_folder(two, tmp_path):
    path = tmp_path / "escape"
    path.mkdir()
    shutil.copy(f"{two[1]}/config.json", path)
    index = {"weight_map": {"w": f"../../{two[1]}/model.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "outside the folder" in complain(CheckpointError, arithmetic((two[0], str(path))))


def test_a_missing_shard_is_named(two, tmp_path):
    path = llama(tmp_path / "sharded", seed=0, shard_size="20KB")
    shard = sorted(path.glob("*.safetensors"))[1]
    shard.unlink()
    assert shard.name in complain(CheckpointError, arithmetic((two[0], str(path))))


def test_pickles_are_refused_and_read_without_running_code(two, tmp_path):
    path = tmp_path / "pickled"
    path.mkdir()
    shutil.copy(f"{two[1]}/config.json", path)
    tensors = load_file(f"{two[1]}/model.safetensors")
    torch.save(tensors, path / "pytorch_model.bin")
    ref = ModelRef(path=str(path))
    with pytest.raises(CheckpointError, match="pickle"):
        open_checkpoint(ref)
    opened = open_checkpoint(ref, allow_pickle=True)
    assert opened.digest() == open_checkpoint(ModelRef(path=two[1])).digest()
    torch.save({"w": torch.nn.Linear(2, 2)}, path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="weights-only"):
        open_checkpoint(ref, allow_pickle=True)


def test_a_quantised_model_is_refused(two, tmp_path):
    path = tmp_path / "quantised"
    shutil.copytree(two[1], path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": "gptq"}})
    )
    assert "quantised" in complain(CheckpointError, arithmetic((two[0], str(path))))


def test_a_method_of_the_wrong_kind_is_refused_when_it_is_defined(tmp_path, two):
    def strange(group, *, weight: dict):
        return group.inputs[0]

    with pytest.raises(PluginError, match="weight"):
        merge_method(base="ignored")(strange)
    (tmp_path / "plain.py").write_text("def mine(group):\n    return group.inputs[0]\n")
    bad = arithmetic(two, merge_method=f"{tmp_path / 'plain.py'}:mine")
    assert "@merge_method" in complain(PluginError, bad)
