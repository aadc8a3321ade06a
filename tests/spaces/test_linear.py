"""`Domain.linear` against merged weights: the merge halfway between two is their mean, or not."""

import numpy as np
import pytest
import torch

from evomerge.merging import MergeEngine
from evomerge.recipe import ModelRef
from evomerge.spaces import SpaceContext, load_space
from tests.merging.tiny_models import llama

WEIGHT = {"range": [0.0, 1.5]}
GROUPS = {"layers": 1, "outside_layers": "separate", "modules": ["attention", "mlp", "rest"]}


def method(name, genes=None, **parameters):
    return {"merge_method": name, "genes": genes or {"weight": WEIGHT}, "parameters": parameters}


@pytest.fixture(scope="module")
def engine():
    return MergeEngine()


@pytest.fixture(scope="module")
def models(tmp_path_factory, engine):
    folder = tmp_path_factory.mktemp("models")
    base = llama(folder / "base", seed=0)
    for seed, name in enumerate(("math", "code"), 1):
        llama(folder / name, seed=seed, near=base, spread=0.1)
    donors = {name: ModelRef(path=str(folder / name)) for name in ("math", "code")}
    ref = ModelRef(path=str(base))
    return SpaceContext(ref, donors, engine.open(ref).layout, "float32", seed=3)


def bend(space, engine, seed):
    """How far the merge between two genotypes is from the mean of both merges, at most.

    As a share of the distance between them; weights of a merge that rounds are off by 1e-6 of it.
    """
    random = np.random.default_rng(seed)
    first, second = (space.domain.draw(random) for _ in range(2))
    middle = tuple((a + b) / 2 for a, b in zip(first, second, strict=True))
    a, b, m = (
        torch.cat([tensor.flatten() for _, tensor in engine.tensors(space.decode(genotype))])
        for genotype in (first, second, middle)
    )
    return float(((a + b) / 2 - m).abs().max() / (a - b).abs().max())


LINEAR = {
    "task_arithmetic": "task_arithmetic",
    "layerwise": "task_arithmetic_layerwise",
    "modules": "attention_mlp",
    "every layer and part": method("task_arithmetic", {"weight": {**WEIGHT, **GROUPS}}),
    "beyond one": method("task_arithmetic", {"weight": {"range": [-3.0, 3.0]}}, normalize=False),
    "fixed part": method("task_arithmetic", {"weight": {**WEIGHT, "fixed": {"norm": 1.0}}}),
    "one for all": method("task_arithmetic", {"weight": {**WEIGHT, "per": "all"}}),
    "logarithmic": method("task_arithmetic", {"weight": {"range": [0.1, 2.0], "scale": "log"}}),
    "fixed lambda": method("task_arithmetic", **{"lambda": 0.4}),
    "lambda by layer": method("task_arithmetic", **{"lambda": [0.2, 0.9]}),
}
BENT = {
    "normalised": method("task_arithmetic", normalize=True),
    "lambda": method("task_arithmetic", {"weight": WEIGHT, "lambda": {"range": [0.1, 2.0]}}),
    "ties": method("ties", normalize=False),
    "ties with densities": "ties",
    "dare_ties": method("dare_ties", density=0.5),
    "dare_ties with densities": "dare_ties",
    "mm_mo": "mm_mo",
    "dare_linear with densities": method(
        "dare_linear", {"weight": WEIGHT, "density": {"range": [0.1, 1.0]}}
    ),
    "average": "linear",
    "slerp": "slerp_layerwise",
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_called_linear_is(name, models, engine):
    space = load_space(LINEAR[name], models)
    assert space.domain.linear
    assert max(bend(space, engine, seed) for seed in range(3)) < 1e-5


@pytest.mark.parametrize("name", BENT)
def test_what_bends_is_not_called_linear(name, models, engine):
    space = load_space(BENT[name], models)
    assert not space.domain.linear
    assert max(bend(space, engine, seed) for seed in range(3)) > 1e-3


def test_genes_without_a_middle_are_not_called_linear(models):
    whole = {"weight": {"range": [0, 4], "kind": "integer"}}
    chosen = {"weight": {"choices": [0.0, 0.5, 1.0]}}
    for content in (method("task_arithmetic", whole), method("task_arithmetic", chosen)):
        assert not load_space(content, models).domain.linear
    for name in ("operators", "operators_layerwise", "depthwise"):
        assert not load_space(name, models).domain.linear
