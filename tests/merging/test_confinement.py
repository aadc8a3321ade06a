"""What a model folder holds stays a model: no path leads out of it into a merge."""

import json
import shutil

import pytest

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, load_resident, open_checkpoint
from evomerge.recipe.model import ModelRef, Recipe
from evomerge.release.licences import inherited

SECRET = '{"secret": "the content of a file elsewhere"}'


@pytest.fixture
def model(family, tmp_path):
    return shutil.copytree(family("llama")[0], tmp_path / "model")


def alone(folder):
    return Recipe.model_validate(
        {"merge_method": "passthrough", "models": [{"model": str(folder)}]}
    )


@pytest.fixture
def elsewhere(tmp_path):
    path = tmp_path / "elsewhere.json"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", 7]
)
def test_an_index_does_not_lead_out_of_its_folder(model, shard):
    (model / "model.safetensors").rename(model.parent / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": shard}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(ModelRef(path=str(model)))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["generation_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.json"],
)
def test_a_link_to_a_file_elsewhere_is_not_carried_into_a_merge(model, elsewhere, name, tmp_path):
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(elsewhere)
    for use in (
        lambda: MergeEngine().write(alone(model), tmp_path / "merged"),
        lambda: load_resident(MergeEngine(), alone(model)),
    ):
        with pytest.raises(CheckpointError, match="outside of the model's folder; refused"):
            use()
    assert not (tmp_path / "merged").exists()


def test_a_folder_of_templates_that_is_a_link_is_not_followed(model, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.jinja").write_text(SECRET)
    (model / "additional_chat_templates").symlink_to(tmp_path / "templates")
    with pytest.raises(CheckpointError, match="outside of the model's folder"):
        MergeEngine().write(alone(model), tmp_path / "merged")


@pytest.mark.parametrize("name", ["LICENSE", "README.md"])
def test_nor_into_the_licences_of_an_export(model, elsewhere, name):
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="outside of the model's folder"):
        inherited({"base": ModelRef(path=str(model))})


def test_an_adapter_that_is_a_link_is_refused(model, elsewhere, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="outside of the model's folder"):
        open_checkpoint(ModelRef(path=str(model), adapter=str(adapter)))


def test_links_within_a_folder_and_within_the_hubs_cache_are_a_models_own(model, tmp_path):
    (model / "config.json").rename(model / "real.json")
    (model / "config.json").symlink_to("real.json")
    open_checkpoint(ModelRef(path=str(model)))
    linked = tmp_path / "linked"
    linked.symlink_to(model)
    open_checkpoint(ModelRef(path=str(linked)))

    repository = tmp_path / "models--a--b"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / ("0" * 40)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    load_resident(MergeEngine(), alone(snapshot))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(model / "real.json")
    with pytest.raises(CheckpointError, match="outside of the model's folder"):
        open_checkpoint(ModelRef(path=str(snapshot)))


def test_json_of_any_depth_is_an_error_in_one_line(model):
    (model / "config.json").write_text("[" * 200_000)
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(ModelRef(path=str(model)))


@pytest.mark.parametrize(
    "field",
    [
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 16]},
    ],
)
def test_a_header_does_not_lead_out_of_its_file(model, field):
    header = json.dumps({"w": field}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16)
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
        open_checkpoint(ModelRef(path=str(model)))
