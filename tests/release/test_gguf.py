"""What llama.cpp's converter needs: there, or named."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from evomerge.merging import MergeEngine
from evomerge.recipe.files import load
from evomerge.release.gguf import gguf_findings, gguf_summary


def missing(folder):
    return {one.what: one.missing for one in gguf_findings(folder) if one.missing}


def byte_level(folder):
    """Give a folder a tokenizer of the kind that llama.cpp reads."""
    vocabulary = {token: i for i, token in enumerate(pre_tokenizers.ByteLevel.alphabet()[:50])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def ready(exported):
    byte_level(exported)
    return exported


def test_the_shipped_models_lack_a_tokenizer_that_it_knows(exported):
    assert list(missing(exported)) == ["tokenizer"]
    assert gguf_summary(gguf_findings(exported)).startswith("not ready: tokenizer: tokenizer.json")


def test_everything_is_there(ready):
    assert missing(ready) == {}
    assert gguf_summary(gguf_findings(ready)).startswith("ready for convert_hf_to_gguf.py")


def test_shards_with_an_index(ready, tmp_path):
    recipe = load(ready / "evomerge_recipe.yaml")
    MergeEngine().write(recipe, tmp_path / "shards", shard_bytes=500_000)
    byte_level(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    assert missing(tmp_path / "shards") == {}
    (tmp_path / "shards" / "model-extra.safetensors").touch()
    assert "model-extra.safetensors" in missing(tmp_path / "shards")["weights"]


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("architecture", lambda f: edit(f / "config.json", architectures=[])),
        ("layers", lambda f: edit(f / "config.json", num_hidden_layers=5)),
        ("head", lambda f: edit(f / "config.json", tie_word_embeddings=True)),
        ("vocabulary", lambda f: edit(f / "config.json", vocab_size=54)),
        ("tokenizer", lambda f: (f / "tokenizer.json").unlink()),
        ("files", lambda f: (f / "modeling_own.py").touch()),
        (
            "numbers",
            lambda f: change_tensors(
                f, lambda t: t.update({"lm_head.weight": t["lm_head.weight"].double()})
            ),
        ),
        (
            "vocabulary",
            lambda f: change_tensors(
                f, lambda t: t.update({"model.embed_tokens.weight": torch.zeros(49, 128)})
            ),
        ),
    ],
)
def test_what_is_missing_is_named(what, damage, ready):
    damage(ready)
    assert list(missing(ready)) == [what]


def test_a_token_beyond_the_vocabulary_is_named(ready):
    content = json.loads((ready / "tokenizer.json").read_text())
    content["added_tokens"] = [
        {"id": 55, "content": "<new>", "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
    ]  # fmt: skip
    content["model"]["vocab"] |= {f"t{n}": n for n in range(50, 55)}
    (ready / "tokenizer.json").write_text(json.dumps(content))
    assert missing(ready) == {"vocabulary": "token 55 is beyond vocab_size 55"}
