"""A trial as a checkpoint: plain transformers loads what was evaluated, or nothing is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from evomerge.errors import RunDirectoryError, VerificationError
from evomerge.merging import MergeEngine, PathExecutor, load_resident
from evomerge.recipe.files import load
from evomerge.recipe.model import Recipe, Source
from evomerge.release import export_checkpoint, exporting, read_subject, verification
from evomerge.release.samples import Samples, study_samples
from evomerge.release.task import task_of
from evomerge.release.verification import verify_checkpoint

PROMPTS = ("flip: 0110 =", "1101", "sort 3 1 2")
_ELSEWHERE = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    logits = [model(**tokenizer(text, return_tensors="pt")).logits for text in sys.argv[3:]]
save_file({str(i): one for i, one in enumerate(logits)}, sys.argv[2])
"""


def test_another_process_loads_the_evaluated_model_with_plain_transformers(exported, tmp_path):
    assert {path.name for path in exported.iterdir()} == {
        "README.md",
        "config.json",
        "evomerge_recipe.yaml",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    result = tmp_path / "logits.safetensors"
    subprocess.run([sys.executable, "-c", _ELSEWHERE, exported, result, *PROMPTS], check=True)
    evaluated = load_resident(MergeEngine(), load(exported / "evomerge_recipe.yaml"))
    for number, prompt in enumerate(PROMPTS):
        tokens = evaluated.tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            expected = evaluated.module(**tokens).logits
        assert torch.equal(load_file(result)[str(number)], expected)


def test_it_says_what_was_compared(zoo_run, tmp_path):
    contents = export_checkpoint(read_subject(zoo_run, 5), tmp_path / "out").contents
    assert contents.verification.startswith(
        "39 tensors and the logits of 7 samples (prompts of the study) equal the evaluated model "
        "bit for bit, reloaded with AutoModelForCausalLM in float16"
    )
    assert contents.n_parameters == 867_200


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def flip_one_bit(folder):
    """In the norm of the last layer: no file is malformed by it."""
    tensors = load_file(folder / "model.safetensors")
    bits = tensors["model.layers.3.input_layernorm.weight"].view(torch.int16)
    bits[7] ^= 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


def rename_a_token(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    path.write_text(json.dumps(content))


DAMAGES = {
    "a bit of a weight": (flip_one_bit, "tensor 'model.layers.3.input_layernorm.weight': 1 of 128"),
    "a short file": (truncate, "truncated"),
    "a setting": (
        lambda folder: edit_json(folder / "config.json", rms_norm_eps=1e-3),
        "the logits of prompt",
    ),
    "the dtype": (lambda folder: edit_json(folder / "config.json", dtype="float32"), "float32"),
    "the depth": (
        lambda folder: edit_json(folder / "config.json", num_hidden_layers=3),
        "unexpected keys",
    ),
    "the vocabulary": (rename_a_token, "the tokenizer has another vocabulary"),
    "a special token": (
        lambda folder: edit_json(folder / "tokenizer_config.json", eos_token="<unk>"),
        "special_tokens_map",
    ),
    "a chat template": (
        lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
        "another chat_template",
    ),
}


class Damaging(MergeEngine):
    """Writes a checkpoint that is damaged afterwards."""

    def write(self, recipe, directory, **options):
        super().write(recipe, directory, **options)
        self.damage(directory)


@pytest.mark.parametrize("what", DAMAGES)
def test_what_was_damaged_after_writing_is_told_and_not_kept(what, zoo_run, tmp_path, monkeypatch):
    damage, message = DAMAGES[what]
    monkeypatch.setattr(Damaging, "damage", staticmethod(damage), raising=False)
    monkeypatch.setattr(exporting, "MergeEngine", Damaging)
    with pytest.raises(VerificationError, match=message) as caught:
        export_checkpoint(read_subject(zoo_run, 5), tmp_path / "out")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


_KILLED = """
import os, signal, sys
from pathlib import Path
from evomerge.release import export_checkpoint, exporting, read_subject

def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

exporting.verify_checkpoint = killed
export_checkpoint(read_subject(Path(sys.argv[1]), 5), Path(sys.argv[2]), replace=True)
"""


def test_a_killed_export_leaves_what_stood_there(zoo_run, exported):
    (exported / "mark").write_text("earlier")
    command = [sys.executable, "-c", _KILLED, zoo_run, exported]
    killed = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (exported / "mark").read_text() == "earlier"
    assert [path.name for path in exported.parent.iterdir() if path.name[0] != "."] == ["exported"]


def test_an_export_is_replaced_when_asked_and_nothing_else_is(zoo_run, exported, tmp_path):
    subject = read_subject(zoo_run, 4)
    with pytest.raises(RunDirectoryError, match="say --force"):
        export_checkpoint(subject, exported)
    export_checkpoint(subject, exported, verify=False, replace=True)
    assert load(exported / "evomerge_recipe.yaml") == subject.recipe
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").touch()
    with pytest.raises(RunDirectoryError, match="is no export of evomerge"):
        export_checkpoint(subject, tmp_path / "photos", replace=True)
    assert (tmp_path / "photos" / "one.png").exists()
    assert not [path for path in tmp_path.iterdir() if path.name[0] == "."]


def test_a_layer_path_is_folded_and_its_distance_from_the_donors_is_told(path_run, tmp_path):
    subject = read_subject(path_run, 3)
    assert any(hop.scale != 1 for hop in subject.recipe.path.hops)
    found = export_checkpoint(subject, tmp_path / "out").contents.verification
    assert "bit for bit" in found
    assert "the path run on its donors: relative difference" in found
    assert "(at most 0.1)" in found


def test_a_fold_that_means_something_else_is_told(path_run, tmp_path, monkeypatch):
    class Wrong(PathExecutor):
        """Runs the path with its last hop left out."""

        def load(self, recipe):
            path = recipe.path.model_copy(update={"hops": recipe.path.hops[:-1]})
            return super().load(recipe.model_copy(update={"path": path}))

    monkeypatch.setattr(verification, "PathExecutor", Wrong)
    with pytest.raises(VerificationError, match="the path run on its donors"):
        export_checkpoint(read_subject(path_run, 3), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_prompts_are_those_of_the_study(zoo_run):
    subject = read_subject(zoo_run, 0)
    found = study_samples(subject.study)
    assert len(found.prompts) == 6
    assert found.origin == "prompts of the study"
    moved = replace(subject.study, folder=zoo_run)
    gone = {name: part.model_copy(update={"search": "gone.jsonl", "holdout": None})
            for name, part in moved.config.objectives.items()}  # fmt: skip
    moved = replace(moved, config=moved.config.model_copy(update={"objectives": gone}))
    assert study_samples(moved) == Samples()


def test_shards_are_read_back_too(exported, tmp_path):
    recipe, engine = load(exported / "evomerge_recipe.yaml"), MergeEngine()
    folder = tmp_path / "shards"
    engine.write(recipe, folder, shard_bytes=500_000)
    assert verify_checkpoint(engine, recipe, folder, Samples()).tensors == 39
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(VerificationError, match="values differ"):
        verify_checkpoint(engine, recipe, folder, Samples())


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_labels": 3,
}
CLASSIFIERS = {
    "text": (
        BertForSequenceClassification,
        BertConfig(vocab_size=40, max_position_embeddings=32, **SMALL),
        "AutoModelForSequenceClassification",
    ),
    "image": (
        ViTForImageClassification,
        ViTConfig(image_size=16, patch_size=8, **SMALL),
        "AutoModelForImageClassification",
    ),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classifiers_are_asked_what_they_take(kind, tmp_path):
    cls, config, loader = CLASSIFIERS[kind]
    for seed in (0, 1):
        torch.manual_seed(seed)
        cls(config).save_pretrained(tmp_path / str(seed))
    recipe = Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(tmp_path / "0"),
            "models": [{"model": str(tmp_path / "1"), "parameters": {"weight": 0.5}}],
        }
    )
    engine = MergeEngine()
    engine.write(recipe, tmp_path / "out")
    found = verify_checkpoint(engine, recipe, tmp_path / "out", Samples())
    assert (found.asked, found.loader) == (1, loader)
    assert task_of(engine.config(recipe)).tag == f"{kind}-classification"
    edit_json(tmp_path / "out" / "config.json", layer_norm_eps=0.1)
    with pytest.raises(VerificationError, match="the logits of"):
        verify_checkpoint(engine, recipe, tmp_path / "out", Samples())


def test_chat_templates_come_along_or_are_pointed_to(tmp_path, zoo_run):
    subject = read_subject(zoo_run, 5)
    chatty, out = tmp_path / "chatty", tmp_path / "out"
    shutil.copytree(subject.models["flip"].path, chatty)
    tokenizer = AutoTokenizer.from_pretrained(chatty)
    tokenizer.chat_template = {
        "default": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "tool_use": "{{ messages }}",
    }
    tokenizer.save_pretrained(chatty)
    flip = subject.models["flip"].model_copy(update={"path": str(chatty)})
    donor = replace(subject, models={**subject.models, "flip": flip})
    assert export_checkpoint(donor, out).chat.endswith(f"that of 'flip' has one: {chatty}")
    alone = Recipe(merge_method="passthrough", models=(Source(model=flip),))
    itself = replace(subject, recipe=alone, models={"flip": flip})
    assert export_checkpoint(itself, out, replace=True).chat is None
    assert (out / "chat_template.jinja").is_file()
    loaded = AutoTokenizer.from_pretrained(out)
    assert loaded.get_chat_template() == tokenizer.get_chat_template()
    assert loaded.chat_template == tokenizer.chat_template
