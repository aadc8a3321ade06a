"""Models on nodes that do not see the driver's files."""

import os
import threading

import pytest

from evomerge.errors import CheckpointError
from evomerge.recipe import Recipe, fingerprint
from evomerge.recipe.model import ModelRef
from evomerge.workers.cluster import models
from evomerge.workers.cluster.models import ModelFolder, folders_of, read_piece, relocated


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "driver" / "math"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(os.urandom(100_000))
    (path / "config.json").write_text("{}")
    (path / "pytorch_model.bin").write_bytes(b"never read")
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Another node's temporary directory, and pieces so small that a file has many."""
    monkeypatch.setattr(models.tempfile, "gettempdir", lambda: str(tmp_path / "node"))
    monkeypatch.setattr(models, "PIECE_BYTES", 7_000)
    (tmp_path / "node").mkdir()


def test_the_same_files_at_the_same_place_are_read_there(folder):
    found = ModelFolder.of(folder, allow_pickle=False)
    assert [file.name for file in found.files] == ["config.json", "model.safetensors"]
    assert found.is_here()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    assert not found.is_here()


def test_a_copy_is_the_same_bytes_and_is_made_once(folder):
    found = ModelFolder.of(folder, allow_pickle=False)
    read = []

    def fetch(path, offset, length):
        read.append(offset)
        return read_piece(path, offset, length)

    copies = []
    workers = [
        threading.Thread(target=lambda: copies.append(found.copied(fetch))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    (copy,) = set(copies)
    for name in ("config.json", "model.safetensors"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    assert not (copy / "pytorch_model.bin").exists()
    assert len(read) == 15 + 1, "one worker copied for all"


def test_a_copy_that_broke_off_is_made_again(folder):
    found = ModelFolder.of(folder, allow_pickle=False)

    def breaks(path, offset, length):
        if offset:
            raise CheckpointError("the driver has gone")
        return read_piece(path, offset, length)

    with pytest.raises(CheckpointError):
        found.copied(breaks)
    copy = found.copied(read_piece)
    assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_recipe_moves_with_its_models_and_stays_the_same_merge(folder):
    recipe = Recipe.model_validate(
        {
            "merge_method": "linear",
            "tokenizer_source": "/driver/base",
            "models": [
                {
                    "model": {"path": "/driver/base", "sha256": "0" * 64},
                    "parameters": {"weight": 1.0},
                },
                {
                    "model": {
                        "path": "org/model",
                        "revision": "main",
                        "adapter": "/driver/lora",
                        "sha256": "1" * 64,
                    },
                    "parameters": {"weight": 0.5},
                },
            ],
        }
    )
    places = {
        ("/driver/base", None): "/node/1",
        ("org/model", "main"): "/node/2",
        ("/driver/lora", None): "/node/3",
    }
    moved = relocated(recipe, places)
    assert [str(source.model) for source in moved.models] == ["/node/1", "/node/2+/node/3"]
    assert moved.tokenizer_source == "/node/1"
    assert fingerprint(moved) == fingerprint(recipe)


def test_folders_of_models_and_their_adapters(folder):
    ref = ModelRef(path=str(folder), adapter=str(folder))
    (found,) = folders_of([ref], allow_pickle=True).values()
    assert "pytorch_model.bin" in [file.name for file in found.files]
