"""A trial as one LoRA adapter, read back by PEFT and by the formula."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge import zoo
from evomerge.errors import CheckpointError, RecipeError, VerificationError
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.recipe import ModelRef, rewritten
from evomerge.release import export_adapter, exporting, read_subject, verification

BASE = zoo.path() / "models" / "base"


def adapted(folder):
    return open_checkpoint(ModelRef(path=str(BASE), adapter=str(folder)))


def merged(recipe):
    return MergeEngine().tensors(recipe.model_copy(update={"out_dtype": "float32"}))


def test_base_and_adapter_are_the_evaluated_model(lora_run, tmp_path):
    subject = read_subject(lora_run, 5)
    contents = export_adapter(subject, tmp_path / "out").contents
    assert "loaded by peft in float32" in contents.verification
    assert set(contents.adapter.ranks.values()) == {8 + 4 + 3}
    checkpoint = adapted(tmp_path / "out")
    for name, tensor in merged(subject.recipe):
        torch.testing.assert_close(checkpoint.tensor(name).float(), tensor, rtol=1e-5, atol=1e-6)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "LICENSE",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "evomerge_recipe.yaml",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_without_peft_the_formula_is_applied(lora_run, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "find_spec", lambda name: None)
    contents = export_adapter(read_subject(lora_run, 5), tmp_path / "out").contents
    assert "loaded by evomerge, by LoRA's formula, in float32" in contents.verification


def test_an_individual_that_was_split_between_units_is_an_adapter_too(lora_population, tmp_path):
    subject = read_subject(lora_population, 9)
    (node,) = subject.recipe.lineage.nodes
    assert len(node.ends) > 1  # coefficients differ along the rows of some tensor
    contents = export_adapter(subject, tmp_path / "out").contents
    assert contents.is_exact
    checkpoint = adapted(tmp_path / "out")
    for name, tensor in merged(subject.recipe):
        torch.testing.assert_close(checkpoint.tensor(name).float(), tensor, rtol=1e-5, atol=1e-6)


def test_a_truncated_one_tells_its_error_and_claims_no_scores(lora_run, tmp_path):
    subject = read_subject(lora_run, 5)
    contents = export_adapter(subject, tmp_path / "out", rank=5).contents
    assert "at most" not in contents.verification
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**It is an approximation**" in card
    assert f"a relative error of {contents.adapter.error:.3g}" in card
    assert "model-index" not in card
    assert "## Scores" not in card
    origin = load_file(BASE / "model.safetensors")
    checkpoint, apart, size = adapted(tmp_path / "out"), 0.0, 0.0
    for name, tensor in merged(subject.recipe):
        apart += float((checkpoint.tensor(name).double() - tensor.double()).square().sum())
        size += float((tensor.double() - origin[name].double()).square().sum())
    assert contents.adapter.error == pytest.approx(np.sqrt(apart / size), rel=1e-3)


@pytest.mark.parametrize("damage", ["a factor", "alpha"])
def test_a_damaged_adapter_is_told_and_not_kept(damage, lora_run, tmp_path, monkeypatch):
    write = exporting.write_adapter

    def damaged(folder, *arguments):
        written = write(folder, *arguments)
        if damage == "alpha":
            path = folder / "adapter_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 14}))
        else:
            path = folder / "adapter_model.safetensors"
            tensors = load_file(path)
            tensors[sorted(tensors)[5]][0, 0] += 0.5
            save_file(tensors, path)
        return written

    monkeypatch.setattr(exporting, "write_adapter", damaged)
    with pytest.raises(VerificationError, match=r"tensor '.*' is off by"):
        export_adapter(read_subject(lora_run, 5), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_is_no_adapter_is_refused_before_anything_is_written(zoo_run, path_run, tmp_path):
    for run, number, why in (
        (zoo_run, 5, "is no LoRA adapter on the base"),
        (path_run, 3, "rearranges layers"),
    ):
        with pytest.raises(RecipeError, match=why):
            export_adapter(read_subject(run, number), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_donors_that_changed_since_the_study_are_refused(lora_run, tmp_path):
    subject = read_subject(lora_run, 5)
    moved = tmp_path / "two"
    shutil.copytree(subject.models["two"].adapter, moved)
    tensors = load_file(moved / "adapter_model.safetensors")
    tensors[min(tensors)][0, 0] += 1
    save_file(tensors, moved / "adapter_model.safetensors")

    def change(ref):
        own = ref.adapter == subject.models["two"].adapter
        return ref.model_copy(update={"adapter": str(moved)}) if own else ref

    changed = replace(subject, recipe=rewritten(subject.recipe, change))
    with pytest.raises(CheckpointError, match="the recipe pins"):
        export_adapter(changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
