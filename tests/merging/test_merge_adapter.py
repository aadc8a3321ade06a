"""LoRA adapters against PEFT's own merge."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.recipe.model import ModelRef, Recipe

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own warnings

CASES = {
    "plain": ("llama", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"]}),
    "stabilised": (
        "llama",
        {"r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"},
    ),
    "patterns": (
        "llama",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "rank_pattern": {"layers.1.self_attn.q_proj": 6, "down_proj": 2},
            "alpha_pattern": {"q_proj": 3, r".*\.0\..*v_proj": 5},
        },
    ),
    "whole modules": (
        "llama",
        {"r": 2, "target_modules": ["v_proj"], "modules_to_save": ["lm_head"]},
    ),
    "embedding": ("llama", {"r": 2, "target_modules": ["embed_tokens", "o_proj"]}),
    "transposed": (
        "gpt2",
        {"r": 4, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
    ),
}


def train(base, folder, settings) -> torch.nn.Module:
    """Save an adapter with random factors; return the model with it merged in by PEFT."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model.merge_and_unload()


@pytest.mark.parametrize("case", CASES)
def test_equals_merge_and_unload(case, family, tmp_path):
    name, settings = CASES[case]
    base, *_ = family(name)
    expected = train(base, tmp_path / "adapter", settings).state_dict()
    opened = open_checkpoint(ModelRef(path=str(base), adapter=str(tmp_path / "adapter")))
    origin = load_file(base / "model.safetensors")
    changed = 0
    for tensor in opened.names:
        torch.testing.assert_close(opened.tensor(tensor), expected[tensor], rtol=1e-5, atol=1e-6)
        changed += not torch.equal(opened.tensor(tensor), origin[tensor])
    assert changed >= 2


def test_an_adapter_folder_sits_on_the_recipes_base(family, tmp_path):
    base, donor, *_ = family("llama")
    train(base, tmp_path / "adapter", CASES["plain"][1])
    results = []
    for node in (str(tmp_path / "adapter"), f"{base}+{tmp_path / 'adapter'}"):
        recipe = {
            "merge_method": "ties",
            "base_model": str(base),
            "models": [{"model": node}, {"model": str(donor)}],
            "parameters": {"weight": 0.7, "density": 0.5},
        }
        results.append(dict(MergeEngine().tensors(Recipe.model_validate(recipe))))
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name])
    with pytest.raises(CheckpointError, match="base_model"):
        open_checkpoint(ModelRef(path=str(tmp_path / "adapter")))


def test_the_digest_tells_base_factors_and_scale_apart(family, tmp_path):
    base, other, *_ = family("llama")
    folder = tmp_path / "adapter"
    train(base, folder, CASES["plain"][1])
    first = open_checkpoint(ModelRef(path=str(base), adapter=str(folder))).digest()
    shutil.copytree(folder, tmp_path / "copy")
    copied = ModelRef(path=str(base), adapter=str(tmp_path / "copy"))
    assert open_checkpoint(copied).digest() == first
    assert open_checkpoint(ModelRef(path=str(other), adapter=str(folder))).digest() != first
    settings = json.loads((tmp_path / "copy" / "adapter_config.json").read_text())
    settings["lora_alpha"] = 99
    (tmp_path / "copy" / "adapter_config.json").write_text(json.dumps(settings))
    assert open_checkpoint(copied).digest() != first
    bare = MergeEngine().digest(ModelRef(path=str(folder)), base=ModelRef(path=str(base)))
    assert bare == first


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"r": 5}, "rank 4"),
    ],
)
def test_what_is_not_a_plain_lora_is_refused(change, expected, family, tmp_path):
    base, *_ = family("llama")
    train(base, tmp_path / "adapter", CASES["plain"][1])
    where = tmp_path / "adapter" / "adapter_config.json"
    where.write_text(json.dumps({**json.loads(where.read_text()), **change}))
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(ModelRef(path=str(base), adapter=str(tmp_path / "adapter")))


def test_an_adapter_of_another_model_is_refused(family, tmp_path):
    base, *_ = family("llama12")
    train(base, tmp_path / "adapter", CASES["plain"][1])
    shallow, *_ = family("llama")
    with pytest.raises(CheckpointError, match="is it the adapter's base"):
        open_checkpoint(ModelRef(path=str(shallow), adapter=str(tmp_path / "adapter")))
