"""Exports as a user types them."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from evomerge.release import exporting
from evomerge.report.collect import collect_front


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test leaves its run for the others."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def ran(world, kept):
    if not kept.exists():
        assert world.run()[0] == 0
        shutil.copytree(world.folder / "run", kept)
    else:
        shutil.copytree(kept, world.folder / "run")
    world.member = collect_front(world.folder / "run").members[0].trial
    return world


def test_a_member_of_the_front_goes_home(ran):
    code, out, err = ran("export", "home", "--trial", ran.member, "--run", "run")
    assert (code, err) == (0, "")
    assert "wrote home: LlamaForCausalLM" in out
    assert "bit for bit" in out
    assert "licence   unknown: none of the models names one" in out
    assert "GGUF      not ready: tokenizer" in out
    code, _, err = ran("export", "home", "--trial", ran.member, "--run", "run")
    assert code == 2
    assert "home exists already" in err
    code, out, err = ran(
        "export", "home", "--trial", ran.member, "--run", "run", "--force", "--no-verify", "--json"
    )
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["verified"] is None
    assert document["license"] == {"license": "unknown"}
    assert document["license_unknown"] == ["base", "first", "second"]
    assert (document["form"], document["dtype"]) == ("checkpoint", "float32")
    code, _, err = ran("merge", "home/evomerge_recipe.yaml", "again")
    assert (code, err) == (0, "")
    models = [AutoModelForCausalLM.from_pretrained(ran.folder / n) for n in ("home", "again")]
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_damaged_export_ends_with_1_and_leaves_nothing(ran, monkeypatch):
    class Damaging(exporting.MergeEngine):
        def write(self, recipe, directory, **options):
            super().write(recipe, directory, **options)
            weights = directory / "model.safetensors"
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)

    monkeypatch.setattr(exporting, "MergeEngine", Damaging)
    code, out, err = ran("export", "home", "--trial", ran.member, "--run", "run")
    assert (code, out) == (1, "")
    assert err.startswith("evomerge: what was written is not the evaluated model: tensor '")
    assert err.count("\n") == 1
    assert not list(ran.folder.glob("*home*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--as", "adapter"), "--as adapter goes with --trial N"),
        (("--push-to-hub", "a/b"), "--push-to-hub goes with --trial N"),
        (("--no-verify",), "--no-verify goes with --trial N"),
        (("--trial", "1", "--rank", "4"), "--rank goes with --as adapter"),
        (("--trial", "1", "--private"), "--private goes with --push-to-hub REPO"),
        (("--trial", "1", "--push-to-hub", "a b"), "--push-to-hub a b: "),
        (("--trial", "1", "--push-to-hub", "a/b"), "HF_HUB_OFFLINE is set"),
        (("--trial", "99"), "there is no trial 99; it has 12 trials, from 0"),
        (("--trial", "1", "--as", "adapter"), "none of its donors is a LoRA adapter"),
    ],
)
def test_what_means_nothing_is_refused_in_a_line(options, message, ran):
    code, out, err = ran("export", "home", "--run", "run", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(ran.folder.glob("*home*"))


def test_force_replaces_exports_and_nothing_else(ran):
    assert ran("export", "front", "--run", "run")[0] == 0
    assert ran("export", "front", "--run", "run")[0] == 2
    assert ran("export", "front", "--run", "run", "--force")[0] == 0
    code, _, err = ran("export", "run", "--trial", "1", "--run", "run", "--force")
    assert code == 2
    assert "run is no export of evomerge; --force replaces nothing else" in err
    assert ran("status", "run")[0] == 0
