"""Compat mode against mergekit 0.1.5, tensor by tensor, and native mode in plain float32 cases."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from evomerge.merging import MergeEngine
from evomerge.merging.method import Group, load_method
from evomerge.merging.random import Stream
from evomerge.recipe import mergekit
from evomerge.recipe.model import Recipe
from tests.merging.tiny_models import llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # upstream's own, while it is imported
    pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.merge_methods import merge_tensors
    from mergekit.options import MergeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # upstream's own warnings

GRADIENT = [0.1, 0.9, 0.4]
FILTERED = [
    {"filter": "self_attn", "value": [0.2, 0.8]},
    {"filter": "mlp", "value": 0.7},
    {"value": 0.45},
]


def ours(recipe: dict) -> dict[str, torch.Tensor]:
    built = Recipe.model_validate({**recipe, "compat": "mergekit-0.1.5"})
    return {name: tensor.clone() for name, tensor in MergeEngine().tensors(built)}


def theirs(recipe: dict, out: Path) -> dict[str, torch.Tensor]:
    config = MergeConfiguration.model_validate(recipe)
    run_merge(config, str(out), MergeOptions(random_seed=0, quiet=True, copy_tokenizer=False))
    merged: dict[str, torch.Tensor] = {}
    for shard in sorted(out.glob("*.safetensors")):
        merged |= load_file(shard)
    return merged


def assert_close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert sorted(a) == sorted(b)
    for name, x in a.items():
        y = b[name]
        assert x.dtype == y.dtype, name
        assert x.shape == y.shape, name
        if x.dtype == torch.float32:
            torch.testing.assert_close(
                x, y, rtol=1e-6, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
            )
        else:
            # Neighbouring bfloat16 of one sign are neighbouring integers.
            steps = (x.view(torch.int16).int() - y.view(torch.int16).int()).abs()
            tiny = (x.float() - y.float()).abs() < 1e-6
            assert int(steps.masked_fill(tiny, 0).max()) <= 1, name


def recipe_of(method: str, paths: list[Path], form: str) -> dict:
    base, *donors = map(str, paths)
    value = {"scalar": 0.6, "gradient": GRADIENT, "filtered": FILTERED}[form]
    other = {"scalar": 0.3, "gradient": [0.7, 0.2], "filtered": [{"filter": "mlp", "value": 0.9}]}
    if method == "passthrough":
        return {
            "merge_method": method,
            "models": [{"model": donors[0], "parameters": {"scale": value}}],
        }
    if method == "slerp":
        return {
            "merge_method": method,
            "base_model": base,
            "models": [{"model": donors[0]}, {"model": base}],
            "parameters": {"t": value},
        }
    second = {"weight": other[form]}
    recipe = {
        "merge_method": method,
        "models": [
            {"model": donors[0], "parameters": {"weight": value}},
            {"model": donors[1], "parameters": second},
            {"model": donors[2], "parameters": {"weight": -0.2}},
        ],
        "parameters": {"weight": 0.5},
    }
    if method != "linear":
        recipe["base_model"] = base
        recipe["parameters"] = {"weight": 0.5, "lambda": 0.8, "int8_mask": True}
    if method == "ties":
        recipe["parameters"]["density"] = value
        recipe["parameters"]["rescale"] = form == "scalar"
    return recipe


@pytest.mark.parametrize("form", ["scalar", "gradient", "filtered"])
@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "passthrough"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_float32(name, method, form, family, tmp_path):
    recipe = recipe_of(method, family(name), form)
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "passthrough"])
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_bfloat16(name, method, dtype, family, tmp_path):
    recipe = recipe_of(method, family(name, torch.bfloat16), "gradient")
    recipe["dtype"] = dtype
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


def test_ties_in_bfloat16_differs_at_the_threshold_only(family, tmp_path):
    """Equal magnitudes at the threshold: their order is upstream's accident, the count is not."""
    base, donor, *_ = family("llama", torch.bfloat16)
    density = 0.3
    recipe = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [{"model": str(donor)}],
        "parameters": {"weight": 1.0, "density": density, "normalize": False},
        "dtype": "bfloat16",
    }
    a, b = ours(recipe), theirs(recipe, tmp_path / "out")
    origin, target = (load_file(path / "model.safetensors") for path in (base, donor))
    for name in a:
        delta = target[name] - origin[name]
        magnitudes = delta.abs().float().flatten()
        k = max(1, int(density * magnitudes.numel()))
        edge = magnitudes.sort(descending=True).values[k - 1]
        off_edge = (delta.abs().float() != edge).flatten()
        assert torch.equal(a[name].flatten()[off_edge], b[name].flatten()[off_edge]), name
        kept = (magnitudes > edge) | (
            (magnitudes == edge) & (a[name].flatten() != origin[name].flatten())
        )
        assert int(kept.sum()) <= k


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_dare_under_one_mask(name, method, rescale, dtype, family, tmp_path, monkeypatch):
    """With masks that are a function of the task vector alone, both draw the same."""
    monkeypatch.setattr(Stream, "words", lambda self, a, b, device="cpu": _words(a, b, device))
    plain = Stream(0, "shared", "tensor")

    def bernoulli(probabilities: torch.Tensor) -> torch.Tensor:
        density = float(probabilities.float().flatten()[0])
        mask = plain.mask(probabilities.numel(), density)
        return mask.view(probabilities.shape).to(probabilities.dtype)

    monkeypatch.setattr(torch, "bernoulli", bernoulli)
    recipe = recipe_of("task_arithmetic", family(name, dtype), "gradient")
    # Densities that bfloat16 holds exactly: upstream draws with the rounded one.
    recipe |= {"merge_method": method}
    recipe["parameters"] |= {"density": 0.5, "rescale": rescale}
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


def _words(start: int, end: int, device) -> torch.Tensor:
    index = torch.arange(start, end, dtype=torch.int64, device=device)
    return (index * 2654435761) & 0xFFFFFFFF


def test_slices(family, tmp_path):
    base, *donors = map(str, family("llama12"))
    recipe = {
        "merge_method": "ties",
        "base_model": base,
        "slices": [
            {
                "sources": [
                    {"model": donors[0], "layer_range": [0, 5], "parameters": {"weight": GRADIENT}},
                    {"model": base, "layer_range": [0, 5]},
                    {"model": donors[1], "layer_range": [2, 7]},
                ],
                "parameters": {"density": [0.9, 0.2], "weight": 0.3},
            },
            {
                "sources": [
                    {"model": base, "layer_range": [11, 12]},
                    {
                        "model": donors[2],
                        "layer_range": [11, 12],
                        "parameters": {"weight": [{"filter": "layers.11.", "value": 0.8}]},
                    },
                ],
            },
            {
                "sources": [
                    {"model": base, "layer_range": [3, 9]},
                    {"model": donors[1], "layer_range": [6, 12]},
                ],
            },
        ],
        "parameters": {
            "weight": [{"filter": "mlp", "value": [0.2, 0.5, 0.1]}, {"value": 0.6}],
            "density": 0.5,
            "lambda": [{"filter": "layers.5.", "value": 0.5}, {"value": 1.1}],
        },
    }
    a, b = ours(recipe), theirs(recipe, tmp_path / "out")
    assert_close(a, b)
    assert any(name.startswith("model.layers.11.") for name in a)


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_slices_of_every_family(name, method, family, tmp_path):
    base, *donors = map(str, family(name))
    donors = donors[: 1 if method == "slerp" else 3]

    def part(first, end, value):
        sources = [{"model": base, "layer_range": [first, end]}]
        sources += [{"model": donor, "layer_range": [first, end]} for donor in donors]
        return {"sources": sources, "parameters": {"t" if method == "slerp" else "weight": value}}

    recipe = {
        "merge_method": method,
        # As many layers as before: upstream cannot write Qwen2's layer_types for another depth.
        "slices": [part(0, 1, FILTERED), part(1, 2, GRADIENT)],
    }
    if method != "linear":
        recipe["base_model"] = base
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


def test_layer_stacking(family, tmp_path):
    base, donor, *_ = map(str, family("llama12"))
    recipe = {
        "merge_method": "passthrough",
        "dtype": "bfloat16",
        "slices": [
            {"sources": [{"model": base, "layer_range": [0, 8]}]},
            {
                "sources": [
                    {
                        "model": donor,
                        "layer_range": [4, 12],
                        "parameters": {"scale": [{"filter": "o_proj", "value": 0.5}]},
                    }
                ],
                "parameters": {},
            },
        ],
    }
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


def test_slerp_with_another_base_in_each_slice(family, tmp_path):
    base, donor, other, _ = map(str, family("llama"))
    recipe = {
        "merge_method": "slerp",
        "slices": [
            {
                "base_model": donor,
                "sources": [
                    {"model": base, "layer_range": [0, 1]},
                    {"model": donor, "layer_range": [0, 1]},
                ],
                "parameters": {"t": 0.3},
            },
            {
                "base_model": other,
                "sources": [
                    {"model": base, "layer_range": [1, 2]},
                    {"model": other, "layer_range": [1, 2]},
                ],
                "parameters": {"t": [0.4, 0.9]},
            },
        ],
    }
    assert_close(ours(recipe), theirs(recipe, tmp_path / "out"))


def test_tied_and_untied_heads(family, tmp_path):
    base = llama(tmp_path / "base", seed=0, tied=True)
    tied = llama(tmp_path / "tied", seed=1, tied=True)
    untied = llama(tmp_path / "untied", seed=2)
    for donors, has_head in (([tied], False), ([tied, untied], True)):
        recipe = {
            "merge_method": "task_arithmetic",
            "base_model": str(base),
            "models": [{"model": str(donor)} for donor in donors],
            "parameters": {"weight": 0.4},
        }
        a = ours(recipe)
        assert ("lm_head.weight" in a) == has_head
        assert_close(a, theirs(recipe, tmp_path / f"out{has_head}"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_input_cast_and_output_cast(dtype, family, tmp_path):
    paths = family("llama")
    for key in ("dtype", "out_dtype"):
        recipe = recipe_of("linear", paths, "gradient") | {key: dtype}
        a, b = ours(recipe), theirs(recipe, tmp_path / f"{key}")
        assert {tensor.dtype for tensor in a.values()} == {getattr(torch, dtype)}
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=8e-3, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "passthrough"])
@pytest.mark.parametrize("shape", [(), (7,), (1, 9), (4, 5, 3), (33, 17)])
def test_one_tensor(method, shape):
    """Kernel against `merge_tensors`, on shapes no small model has."""
    generator = torch.Generator().manual_seed(3)
    n = {"passthrough": 1, "slerp": 2}.get(method, 4)
    tensors = [torch.randn(shape, generator=generator) for _ in range(n)]
    base_index = None if method in ("linear", "passthrough") else 0
    weights = [0.3, -0.7, 1.2]
    mine: dict = {}
    shared: dict = {}
    if method == "slerp":
        mine = shared = {"t": 0.35}
    elif method == "linear":
        mine = {"weight": (0.1, *weights)}
        shared = {"weight": [0.1, *weights]}
    elif method == "passthrough":
        mine, shared = {"scale": (0.5,), "shift": (None,)}, {"scale": [0.5]}
    else:
        mine = {"weight": tuple(weights)}
        shared = {"weight": weights}
    if method == "ties":
        mine["density"] = (0.5, 0.2, 0.9)
        shared["density"] = [0.5, 0.2, 0.9]
    before = [tensor.clone() for tensor in tensors]
    got = load_method(method).kernel(Group("x", tuple(tensors), base_index, compat=True), **mine)
    assert all(map(torch.equal, tensors, before)), "a kernel wrote to its inputs"
    expected = merge_tensors(tensors, method, parameters=shared, base_index=base_index)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scaling", ["delta", "full"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("out", ["float32", "bfloat16"])
def test_layer_paths(out, tied, scaling, tmp_path):
    """The YAML that an export writes, run by mergekit, to the last bit."""
    a = llama(tmp_path / "a", seed=0, layers=3, tied=tied)
    b = llama(tmp_path / "b", seed=1, layers=4, tied=tied)
    hops = [[0, 0, 0.7], [1, 3, 1.3], [1, 1, 0.9], [1, 1, 1.1], [0, 1, 0.45], [0, 0]]
    recipe = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": str(a)}, {"model": str(b)}],
            "path": {"hops": hops, "scaling": scaling},
            "out_dtype": out,
        }
    )
    engine = MergeEngine()
    layout = engine.check(recipe).reference.layout
    text = mergekit.dumps(recipe, layout=layout)
    mine = dict(engine.tensors(recipe))
    other = theirs(yaml.safe_load(text), tmp_path / "out")
    assert sorted(mine) == sorted(other)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_hidden_layers"] == len(hops)
    # The file itself, read back, is the same merge in our own engine.
    again = dict(engine.tensors(mergekit.loads(text)))
    assert all(torch.equal(mine[name], again[name]) for name in mine)


@pytest.mark.parametrize("name", ["qwen2", "gpt2"])
def test_layer_paths_of_other_families(name, family, tmp_path):
    a, b, *_ = family(name)
    # As many layers as before: upstream cannot write Qwen2's layer_types for another depth.
    recipe = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": str(a)}, {"model": str(b)}],
            "path": {"hops": [[0, 1, 0.6], [0, 0, 1.7]], "scaling": "delta"},
        }
    )
    engine = MergeEngine()
    layout = engine.check(recipe).reference.layout
    text = mergekit.dumps(recipe, layout=layout, dtype="float32")
    mine, other = dict(engine.tensors(recipe)), theirs(yaml.safe_load(text), tmp_path / "out")
    assert sorted(mine) == sorted(other)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
