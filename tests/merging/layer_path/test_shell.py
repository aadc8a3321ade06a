"""The model of a path: an ordinary module that computes the documented formulas on lent weights."""

from __future__ import annotations

import random

import pytest
import torch
import transformers

from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.layer_path.shell import build_shell
from evomerge.recipe.model import LayerPath, Recipe
from tests.merging.layer_path.families import FAMILIES, save
from tests.merging.layer_path.reference import logits, whole_model

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
IDENTITY = [(0, layer) for layer in range(4)]
IDS = torch.randint(3, 64, (2, 11), generator=torch.Generator().manual_seed(0))


def resident(folder):
    recipe = Recipe.model_validate(
        {"merge_method": "passthrough", "models": [{"model": str(folder)}]}
    )
    return load_resident(MergeEngine(), recipe).module


def random_hops(seed, scaling):
    draw = random.Random(seed)
    scales = [draw.choice([1.0, draw.uniform(0.5, 1.5)]) for _ in range(draw.randint(1, 7))]
    if scaling == "delta":  # with tied embeddings, only a positive first scale folds
        scales[1:] = [draw.choice([scale, -scale, 0.0]) for scale in scales[1:]]
    return [(draw.randrange(2), draw.randrange(4), scale) for scale in scales]


@EVERY_FAMILY
def test_all_layers_of_one_model_are_that_model_bit_for_bit(family, donors, run):
    module, whole = run(family, IDENTITY), resident(donors(family)[0])
    with torch.no_grad():
        assert torch.equal(module(IDS).logits, whole(IDS).logits)
    assert type(module) is type(whole)
    assert module.config.to_dict() == whole.config.to_dict()


@pytest.mark.parametrize("scaling", ["delta", "full"])
@EVERY_FAMILY
def test_random_paths_compute_the_formulas(family, scaling, donors, run):
    models = [whole_model(folder) for folder in donors(family)]
    for seed in range(4):
        hops = random_hops(seed, scaling)
        with torch.no_grad():
            got = run(family, hops, scaling)(IDS).logits
            expected = logits(models, hops, scaling, IDS)
        assert torch.allclose(got, expected, atol=1e-4), (hops, (got - expected).abs().max())


@EVERY_FAMILY
def test_no_weight_is_copied_and_no_donor_is_touched(family, donors):
    models = [resident(folder) for folder in donors(family)]
    before = [[dict(vars(part)) for part in model.modules()] for model in models]
    path = LayerPath(hops=[(1, 2, 0.5), (0, 3, 0.7), (1, 2, 1.2), (0, 0, 1.0)], scaling="full")
    shell = build_shell(models, path)
    with torch.no_grad():
        shell(IDS)
    owned = {p.data_ptr() for model in models for p in model.parameters()}
    assert {p.data_ptr() for p in shell.parameters()} <= owned
    assert [[dict(vars(part)) for part in model.modules()] for model in models] == before
    assert all(not part._forward_hooks for model in models for part in model.modules())


def test_each_hop_has_its_own_place_and_kind(run):
    module = run("gemma3_text", [(0, 1), (1, 0), (0, 0), (0, 3), (1, 0)])
    config = module.config
    kinds = ["full", "sliding", "sliding", "full", "sliding"]
    assert config.num_hidden_layers == 5
    assert config.layer_types == [f"{kind}_attention" for kind in kinds]
    attentions = [layer.self_attn for layer in module.model.layers]
    assert [attention.layer_idx for attention in attentions] == [0, 1, 2, 3, 4]
    assert [attention.is_sliding for attention in attentions] == [k == "sliding" for k in kinds]
    assert all(attention.config is config for attention in attentions)


def test_dense_layers_among_experts_are_named_by_hop(run):
    module = run("qwen2_moe", [(0, 0), (1, 1), (0, 2), (0, 1)])
    assert module.config.mlp_only_layers == [1, 3]
    assert module.config.decoder_sparse_step == 1


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_a_path_may_use_a_kind_of_layer_that_the_first_model_lacks(family, tmp_path):
    full = save(family, tmp_path / "full", seed=1, layer_types=["full_attention"] * 4)
    mixed = save(family, tmp_path / "mixed", seed=2)
    hops = [(0, 0, 1.0), (1, 0, 1.0), (1, 1, 1.0), (0, 3, 1.0)]
    shell = build_shell([resident(full), resident(mixed)], LayerPath(hops=hops))
    with torch.no_grad():
        expected = logits([whole_model(mixed), whole_model(mixed)], hops[1:3], "delta", IDS)
        got = shell(IDS).logits
        models = [whole_model(full), whole_model(mixed)]
        if family == "gemma3_text":  # its rotary embedding knows only the kinds of its own layers
            models[0].get_decoder().rotary_emb = whole_model(mixed).get_decoder().rotary_emb
        assert torch.allclose(got, logits(models, hops, "delta", IDS), atol=1e-4)
        assert not torch.allclose(got, expected, atol=1e-1)


def test_hidden_states_and_attentions_come_one_a_hop(run, donors):
    module = run("llama", [(0, 0), (0, 0), (1, 3)])
    module.set_attn_implementation("eager")
    with torch.no_grad():
        output = module(IDS, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 4
    assert [a.shape for a in output.attentions] == [(2, 4, 11, 11)] * 3
    again = run("llama", [(0, 0), (0, 0), (1, 3)])
    assert again.config._attn_implementation == "sdpa"
    assert isinstance(module, transformers.LlamaForCausalLM)


def test_the_first_scale_reaches_the_first_hidden_state(run):
    plain, scaled = (run("llama", [(0, 0, s), (0, 1)]) for s in (1.0, 0.5))
    with torch.no_grad():
        first, halved = (
            m(IDS, output_hidden_states=True).hidden_states[0] for m in (plain, scaled)
        )
    assert torch.equal(halved, 0.5 * first)
