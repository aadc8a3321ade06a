"""Merges of adapters as one adapter, against PEFT's own and the dense merge."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from evomerge.errors import RecipeError
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.merging.adapter_folder import write_adapter
from evomerge.merging.low_rank import low_rank_terms, low_rank_updates
from evomerge.recipe.model import ModelRef, Recipe

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own warnings

KINDS = {
    "one rank": ("llama", [{"r": 4, "target_modules": ["q_proj", "up_proj"]}] * 2),
    "several ranks": (
        "llama",
        [
            {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
            {"r": 2, "lora_alpha": 3, "use_rslora": True, "target_modules": "all-linear"},
        ],
    ),
    "embeddings": ("llama", [{"r": 2, "target_modules": ["embed_tokens", "o_proj"]}] * 2),
    "transposed": (
        "gpt2",
        [{"r": 4, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}] * 2,
    ),
}


@pytest.fixture(scope="module")
def adapters(family, tmp_path_factory):
    """Return (kind) -> base and two adapters with random factors."""
    built = {}

    def build(kind):
        if kind not in built:
            name, settings = KINDS[kind]
            base, *_ = family(name)
            folders = []
            for seed, own in enumerate(settings):
                torch.manual_seed(seed)
                model = AutoModelForCausalLM.from_pretrained(base)
                config = peft.LoraConfig(task_type="CAUSAL_LM", **copy.deepcopy(own))
                model = peft.get_peft_model(model, config)
                with torch.no_grad():
                    for name, parameter in model.named_parameters():
                        if "lora_" in name:
                            parameter.add_(torch.randn_like(parameter) * 0.1)
                folders.append(tmp_path_factory.mktemp("adapter"))
                model.save_pretrained(folders[-1])
            built[kind] = base, folders
        return built[kind]

    return build


def recipe_of(base, folders, weights, method="task_arithmetic", **parameters) -> Recipe:
    return Recipe.model_validate(
        {
            "merge_method": method,
            "base_model": str(base),
            "models": [
                {"model": f"{base}+{folder}", "parameters": {"weight": weight}}
                for folder, weight in zip(folders, weights, strict=True)
            ],
            "parameters": parameters,
        }
    )


def write(recipe, base, folder, rank=None):
    plan = MergeEngine().check(recipe)
    terms = low_rank_terms(plan)
    like = next(iter(terms.values()))[0][0].settings
    folder.mkdir()
    updates = low_rank_updates(plan, terms, rank)
    return write_adapter(folder, updates, ModelRef(path=str(base)), like)


@pytest.mark.parametrize("kind", KINDS)
def test_peft_merges_it_into_what_the_engine_merges(kind, adapters, tmp_path):
    base, folders = adapters(kind)
    recipe = recipe_of(base, folders, (0.7, -0.4))
    written = write(recipe, base, tmp_path / "one")
    assert written.is_exact
    model = AutoModelForCausalLM.from_pretrained(base)
    merged = peft.PeftModel.from_pretrained(model, tmp_path / "one").merge_and_unload().state_dict()
    origin = load_file(base / "model.safetensors")
    changed = 0
    for name, tensor in MergeEngine().tensors(recipe):
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)
        changed += not torch.equal(tensor, origin[name])
    assert changed == len(written.ranks)


def test_its_rank_is_the_sum_of_ranks_where_both_act(adapters, tmp_path):
    base, folders = adapters("several ranks")
    written = write(recipe_of(base, folders, (1.0, 1.0)), base, tmp_path / "one")
    ranks = {module.rpartition(".")[2]: rank for module, rank in written.ranks.items()}
    assert (ranks["q_proj"], ranks["v_proj"], ranks["up_proj"]) == (6, 6, 2)
    alone = write(recipe_of(base, folders, (1.0, 0.0)), base, tmp_path / "alone")
    assert set(alone.ranks.values()) == {4}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("task_arithmetic", {"normalize": True}),
        ("task_arithmetic", {"lambda": 0.3}),
        ("linear", {}),
    ],
)
def test_every_linear_method(method, parameters, adapters, tmp_path):
    base, folders = adapters("one rank")
    recipe = recipe_of(base, folders, (0.6, 1.1), method, **parameters)
    write(recipe, base, tmp_path / "one")
    ref = ModelRef(path=str(base), adapter=str(tmp_path / "one"))
    adapted = open_checkpoint(ref)
    for name, tensor in MergeEngine().tensors(recipe):
        torch.testing.assert_close(adapted.tensor(name), tensor, rtol=1e-5, atol=1e-6)


def test_a_truncation_is_the_best_of_its_rank_and_tells_its_error(adapters, tmp_path):
    base, folders = adapters("several ranks")
    recipe = recipe_of(base, folders, (0.7, -0.4))
    written = write(recipe, base, tmp_path / "low", rank=3)
    assert (written.rank, written.is_exact) == (3, False)
    origin = load_file(base / "model.safetensors")
    adapted = open_checkpoint(ModelRef(path=str(base), adapter=str(tmp_path / "low")))
    size = lost = 0.0
    for name, tensor in MergeEngine().tensors(recipe):
        delta = (tensor.double() - origin[name].double()).numpy()
        if not delta.any():
            continue
        u, sigma, vt = np.linalg.svd(delta, full_matrices=False)
        best = (u[:, :3] * sigma[:3]) @ vt[:3]
        got = (adapted.tensor(name).double() - origin[name].double()).numpy()
        np.testing.assert_allclose(got, best, atol=1e-6)
        size, lost = size + float((sigma**2).sum()), lost + float((sigma[3:] ** 2).sum())
    assert written.error == pytest.approx((lost / size) ** 0.5, rel=1e-4)
    assert write(recipe, base, tmp_path / "high", rank=6).error < 1e-12


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"merge_method": "ties"}, "'ties' is not linear in the weights"),
        ({"merge_method": "linear", "parameters": {"normalize": False}}, "sum to 1.7"),
        ({"compat": "mergekit-0.1.5"}, "rounds after every step"),
    ],
)
def test_what_is_no_adapter_is_refused_in_a_line(change, why, adapters):
    base, folders = adapters("one rank")
    content = recipe_of(base, folders, (0.6, 1.1)).model_dump(exclude_defaults=True)
    with pytest.raises(RecipeError, match=why) as caught:
        low_rank_terms(MergeEngine().check(Recipe.model_validate({**content, **change})))
    assert "\n" not in str(caught.value)


def test_donors_that_are_no_adapters_are_refused(adapters, family):
    base, folders = adapters("one rank")
    _, whole, *_ = family("llama")
    donors = [
        {"model": f"{base}+{folders[0]}", "parameters": {"weight": 1}},
        {"model": str(whole), "parameters": {"weight": 1}},
    ]
    content = {"merge_method": "task_arithmetic", "base_model": str(base), "models": donors}
    for models, why in ((donors, "is no LoRA adapter"), (donors[1:], "none of its donors")):
        recipe = Recipe.model_validate({**content, "models": models})
        with pytest.raises(RecipeError, match=why):
            low_rank_terms(MergeEngine().check(recipe))
    nothing = [{"model": f"{base}+{folders[0]}", "parameters": {"weight": 0}}]
    recipe = Recipe.model_validate({**content, "models": nothing})
    with pytest.raises(RecipeError, match="it is the base itself"):
        low_rank_terms(MergeEngine().check(recipe))


def test_tied_embeddings_are_refused(adapters):
    plan = MergeEngine().check(recipe_of(*adapters("embeddings"), (1.0, 1.0)))
    tied = replace(plan, config={**plan.config, "tie_word_embeddings": True})
    with pytest.raises(RecipeError, match="tied to the head, which PEFT leaves as it is"):
        low_rank_terms(tied)


def test_modules_stored_whole_are_refused(family, tmp_path):
    base, *_ = family("llama")
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=2, target_modules=["v_proj"], modules_to_save=["lm_head"])
    model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.1)
    model.save_pretrained(tmp_path / "adapter")
    recipe = recipe_of(base, [tmp_path / "adapter"], [1.0])
    with pytest.raises(RecipeError, match=r"stores 'lm_head\.weight' whole"):
        low_rank_terms(MergeEngine().check(recipe))
