"""Shipped models merged by a genotype, and by mergekit from what mergekit-evolve makes of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evomerge import zoo
from evomerge.merging import MergeEngine
from evomerge.recipe import ModelRef
from evomerge.spaces import SpaceContext, load_space

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # upstream's own, while it is imported
    pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
    from mergekit.evo.genome import ModelGenome, ModelGenomeDefinition
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # upstream's own warnings

ROOT = zoo.path() / "models"
ENGINE = MergeEngine()


def model(name):
    return ModelRef(path=str(ROOT / name))


def merged_both_ways(keys, tmp_path, seed=0, density=None):
    """Return our tensors, mergekit's, and the recipe of a genotype drawn at random."""
    names = keys.get("models", ["flip", "filter", "quarter"])
    donors = {name: model(name) for name in ("flip", "filter", "quarter")}
    context = SpaceContext(model("base"), donors, ENGINE.open(model("base")).layout, "bfloat16")
    space = load_space({"genome": "mergekit-evolve", "models": names, **keys}, context)
    definition = dict(keys, models=[str(ROOT / name) for name in names])
    if keys["merge_method"] not in ("linear", "slerp") or keys.get("base_model"):
        definition["base_model"] = str(ROOT / "base")
    else:
        definition["base_model"] = None
    if keys.get("tokenizer_source") in donors:
        definition["tokenizer_source"] = str(ROOT / keys["tokenizer_source"])
    genome = ModelGenome(ModelGenomeDefinition.model_validate(definition))
    genotype = np.random.default_rng(seed).normal(0.4, 0.4, len(space.domain))
    for index, gene in enumerate(space.domain.genes):
        if density is not None and gene.name.startswith("density"):
            genotype[index] = density
    config = genome.genotype_merge_config(genotype)
    run_merge(config, str(tmp_path), MergeOptions(quiet=True, random_seed=0))
    theirs: dict[str, torch.Tensor] = {}
    for shard in tmp_path.glob("*.safetensors"):
        theirs |= load_file(shard)
    recipe = space.decode(tuple(genotype))
    mine = {name: tensor.clone() for name, tensor in ENGINE.tensors(recipe)}
    assert sorted(mine) == sorted(theirs)
    assert {tensor.dtype for tensor in (*mine.values(), *theirs.values())} == {torch.bfloat16}
    return mine, theirs, recipe


@pytest.mark.parametrize(
    "keys",
    [
        {"merge_method": "linear", "layer_granularity": 1, "normalize": False},
        {"merge_method": "linear", "models": ["filter", "base"], "base_model": True},
        {"merge_method": "linear", "tokenizer_source": "flip"},
        {
            "merge_method": "task_arithmetic",
            "layer_granularity": 1,
            "smooth": True,
            "filters": ["mlp"],
            "normalize": True,
        },
        {"merge_method": "ties", "models": ["base", "flip", "quarter"]},
        {
            "merge_method": "dare_ties",
            "layer_granularity": 2,
            "filters": ["self_attn", "norm"],
            "allow_negative_weights": True,
        },
    ],
)
def test_to_the_last_bit(keys, tmp_path):
    """Densities beyond 1 mean 1: nothing is dropped, so that no random number and no tie counts."""
    mine, theirs, _ = merged_both_ways(keys, tmp_path, density=-1.2)
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(
    "keys",
    [
        {"merge_method": "slerp", "layer_granularity": 1},
        {"merge_method": "slerp", "layer_granularity": 2, "tokenizer_source": "union"},
        {"merge_method": "slerp", "models": ["flip", "base", "filter"], "base_model": True},
    ],
)
def test_slerp_to_one_step_of_rounding(keys, tmp_path):
    """The angle's last bits differ; a different pair or t would be far off."""
    mine, theirs, _ = merged_both_ways(keys, tmp_path)
    for name, tensor in mine.items():
        other = theirs[name]
        steps = (tensor.view(torch.int16).int() - other.view(torch.int16).int()).abs()
        tiny = (tensor.float() - other.float()).abs() < 1e-6
        assert int(steps.masked_fill(tiny, 0).max()) <= 1, name


def test_ties_differs_only_where_magnitudes_tie_at_the_threshold(tmp_path):
    """Which of equal magnitudes are kept is an accident of mergekit's unstable sort."""
    mine, theirs, recipe = merged_both_ways(
        {"merge_method": "ties", "layer_granularity": 2}, tmp_path, density=-0.3
    )
    layout = ENGINE.open(model("base")).layout
    base = load_file(ROOT / "base" / "model.safetensors")
    donors = [source.model.path for source in recipe.slices[0].sources[:3]]
    weights = [load_file(f"{path}/model.safetensors") for path in donors]
    compared = 0
    for name, tensor in mine.items():
        off_edge = torch.ones(tensor.numel(), dtype=torch.bool)
        for own in weights:
            delta = own[name].bfloat16() - base[name].bfloat16()
            sizes = delta.abs().float().flatten()
            k = max(1, int(0.3 * sizes.numel()))
            off_edge &= sizes != sizes.sort(descending=True).values[k - 1]
        same = tensor.flatten() == theirs[name].flatten()
        assert bool(same[off_edge].all()), (name, layout.layer_of(name))
        compared += int(off_edge.sum())
    assert compared > 0.5 * sum(tensor.numel() for tensor in mine.values())


@pytest.mark.parametrize(
    ("method", "message"),
    [("linear", "Missing required parameter weight"), ("slerp", "requires exactly 2 inputs")],
)
def test_a_base_that_is_not_merged_fails_in_mergekit_as_we_say(method, message, tmp_path):
    """Why such a configuration is refused: mergekit-evolve would fail at its first candidate."""
    definition = {
        "merge_method": method,
        "models": [str(ROOT / name) for name in ("flip", "filter")],
        "base_model": str(ROOT / "base"),
    }
    genome = ModelGenome(ModelGenomeDefinition.model_validate(definition))
    config = genome.genotype_merge_config(np.array([0.3, 0.6]))
    with pytest.raises((RuntimeError, ValueError), match=message):
        run_merge(config, str(tmp_path), MergeOptions(quiet=True))
