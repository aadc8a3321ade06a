"""Models that are no causal language models: the class comes from the configuration."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    MixtralConfig,
    MixtralForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.resident import build_module
from evomerge.recipe.model import ModelRef, Recipe

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_labels": 3,
}


def save(cls, config, folder, seed):
    torch.manual_seed(seed)
    model = cls(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_merged_classifier_equals_the_written_one(kind, tmp_path):
    if kind == "text":
        config = BertConfig(vocab_size=40, max_position_embeddings=32, **SMALL)
        cls, auto = BertForSequenceClassification, AutoModelForSequenceClassification
        batch = {"input_ids": torch.arange(12).view(2, 6)}
    else:
        config = ViTConfig(image_size=16, patch_size=8, **SMALL)
        cls, auto = ViTForImageClassification, AutoModelForImageClassification
        batch = {"pixel_values": torch.randn(2, 3, 16, 16)}
    base, a, b = (save(cls, config, tmp_path / str(seed), seed) for seed in range(3))
    recipe = Recipe.model_validate(
        {
            "merge_method": "ties",
            "base_model": base,
            "models": [{"model": a}, {"model": b}],
            "parameters": {"weight": 0.7, "density": 0.4},
        }
    )
    engine = MergeEngine()
    resident = load_resident(engine, recipe)
    assert type(resident.module) is cls
    assert resident.tokenizer is None
    engine.write(recipe, tmp_path / "out")
    loaded = auto.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(resident.module(**batch).logits, loaded(**batch).logits)


def test_experts_stored_one_by_one_are_merged_into_stacked_ones(tmp_path):
    config = MixtralConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=12,
        num_experts_per_tok=2,
    )
    base, a = (save(MixtralForCausalLM, config, tmp_path / str(seed), seed) for seed in range(2))
    recipe = Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": base,
            "models": [{"model": a}],
            "parameters": {"weight": [0.3, 0.8]},
        }
    )
    engine = MergeEngine()
    resident = load_resident(engine, recipe)
    engine.write(recipe, tmp_path / "out")
    names = engine.check(recipe).tensors
    assert any(".experts.11." in name for name in names)
    loaded = MixtralForCausalLM.from_pretrained(tmp_path / "out").eval()
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        assert torch.equal(resident.module(ids).logits, loaded(ids).logits)
    statistics = engine.delta_statistics(resident.module, ModelRef(path=base))
    assert statistics.elements == sum(p.numel() for p in resident.module.parameters())
    assert statistics.zeros < 0.01 * statistics.elements


def test_code_shipped_with_a_model_is_never_run():
    code = {"auto_map": {"AutoModel": "homemade.Homemade"}}
    with pytest.raises(CheckpointError, match=r"homemade' is unknown .* own code"):
        build_module({"model_type": "homemade", **code}, "cpu")
    with pytest.raises(CheckpointError, match=r"HomemadeLlama' is unknown .* another version"):
        build_module({"model_type": "llama", "architectures": ["HomemadeLlama"]}, "cpu")
