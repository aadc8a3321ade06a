"""Lineages rebuilt by the engine, against the same sums and singular values in plain NumPy."""

from __future__ import annotations

import hashlib
import json
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import norm

from evomerge.errors import CheckpointError, NonFiniteMerge, RecipeError
from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.random import Stream
from evomerge.recipe import ModelRef, native
from evomerge.recipe.model import Recipe
from tests.merging.flat import (
    assert_same,
    flat_order,
    lineage_recipe,
    merged,
    weights,
)
from tests.merging.tiny_models import gpt2, llama, qwen2

LAYOUTS = ["storage", "depth", "unit"]


def tasks(paths) -> list[dict[str, np.ndarray]]:
    """Task vectors in float32, as the engine has them."""
    base, *donors = (weights(path) for path in paths)
    return [{name: (d[name] - base[name]).numpy() for name in base} for d in donors]


def spread(flat, ends, weights_of, vectors):
    """Sum weight * vector over segments, position by position, in float64."""
    total = np.zeros(flat.order.size)
    first = 0
    for end, row in zip(ends, weights_of, strict=True):
        for weight, vector in zip(row, vectors, strict=True):
            total[first:end] += weight * vector[first:end].astype(np.float64)
        first = end
    return total


def cuts(size, n, seed):
    """Boundaries at random positions, neighbours and ends among them."""
    random = np.random.default_rng(seed)
    inner = random.choice(np.arange(1, size), n, replace=False)
    return sorted({*inner.tolist(), 1, size // 2, size // 2 + 1, size - 1, size})


@pytest.mark.parametrize("origin", ["base", "zero"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_segments_of_any_model_and_layout(name, layout, origin, family, engine):
    base, *donors = family(name)
    flat = flat_order(engine, base, layout)
    size = flat.order.size
    ends = cuts(size, 60, seed=1)
    rows = np.random.default_rng(2).normal(size=(len(ends), 3))
    rows[::7, 1] = 0
    lineage = {
        "layout": layout,
        "size": size,
        "origin": origin,
        "nodes": [{"inputs": [0, 1, 2], "ends": ends, "weights": rows.tolist()}],
    }
    found = merged(engine, lineage_recipe(base, donors, lineage))
    assert set(found) == set(flat.shapes)
    origin_vector = flat.vector(weights(base)).astype(np.float64)
    if origin == "base":
        vectors = [
            flat.vector({k: torch.from_numpy(v) for k, v in t.items()})
            for t in tasks([base, *donors])
        ]
        expected = origin_vector + spread(flat, ends, rows, vectors)
    else:
        expected = spread(flat, ends, rows, [flat.vector(weights(path)) for path in donors])
    np.testing.assert_allclose(flat.vector(found), expected, rtol=0, atol=2e-6)


def test_chromosomes_reorder_positions(family, engine):
    base, *donors = family("llama")
    chromosomes = {"attention": "self_attn", "rest": "."}
    flat = flat_order(engine, base, "unit", chromosomes)
    size, border = flat.order.size, flat.order.chromosomes[0].end
    lineage = {
        "layout": "unit",
        "chromosomes": chromosomes,
        "size": size,
        "nodes": [{"inputs": [0], "ends": [border, size], "weights": [[1.0], [0.0]]}],
    }
    found = merged(engine, lineage_recipe(base, donors[:1], lineage))
    for tensor, value in found.items():
        origin, donor = weights(base)[tensor], weights(donors[0])[tensor]
        expected = origin + (donor - origin) if "self_attn" in tensor else origin
        assert torch.equal(value, expected), tensor


def whole(size, inputs, row):
    return {"inputs": inputs, "ends": [size], "weights": [row]}


def numbers(seed, kind, key, tensor, n, n_models=4):
    """What a base and donors without digests draw: they count by their places."""
    names = "\n".join(f"model-{place}" for place in range(n_models))
    family = hashlib.sha256(names.encode()).hexdigest()
    return Stream(seed, f"{kind}:{key}:{family}", tensor).uniform(n).numpy()


def test_random_numbers_belong_to_the_models_and_not_to_their_order(family):
    base, *donors = family("llama")
    engine = MergeEngine()
    pinned = [
        ModelRef(path=str(path), sha256=engine.digest(ModelRef(path=str(path)))) for path in donors
    ]
    size = flat_order(engine, base).order.size
    noise = {"size": size, "nodes": [whole(size, [{"gaussian": 1}], [1.0])]}

    def drawn(models):
        recipe = Recipe(
            merge_method="lineage",
            base_model=ModelRef(path=str(base)),
            models=tuple({"model": one} for one in models),
            lineage=noise,
        )
        return merged(engine, recipe)["model.norm.weight"]

    assert torch.equal(drawn(pinned), drawn(pinned[::-1]))
    assert not torch.equal(drawn(pinned), drawn(pinned[:2]))


def test_gaussian_numbers_are_normal_quantiles(family, engine):
    """Each element has its own number, whatever the layout; a rebase changes nothing."""
    base, *donors = family("qwen2")
    size = flat_order(engine, base).order.size
    mutated = whole(size, [0, {"gaussian": 5}], [0.5, 0.01])
    nodes = [mutated, {"rebase": 0}, whole(size, [{"node": 1}, 1], [0.75, 0.25])]
    results = []
    for layout in LAYOUTS:
        plain = {"layout": layout, "size": size, "nodes": nodes}
        results.append(merged(engine, lineage_recipe(base, donors, plain, seed=11)))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])
    first, second, _ = tasks([base, *donors])
    for tensor, value in results[0].items():
        shape = value.shape
        u = numbers(11, "gaussian", 5, tensor, value.numel()) + 2.0**-33
        child = 0.5 * first[tensor] + 0.01 * norm.ppf(u).reshape(shape)
        expected = weights(base)[tensor].numpy() + 0.75 * child + 0.25 * second[tensor]
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=5e-7)


def test_singular_values_of_donors(family, engine):
    """All spectral inputs of a donor, weights that change inside a matrix, both ranges of u."""
    base, *donors = family("llama")
    flat = flat_order(engine, base, "storage")
    size = flat.order.size
    ends = cuts(size, 3, seed=4)
    inputs = [
        0,
        {"spectral": 1, "donor": 1},
        {"spectral": 2, "donor": 1, "symmetric": True},
        {"spectral": 3, "donor": 2},
    ]
    rows = np.random.default_rng(5).normal(size=(len(ends), 4))
    lineage = {
        "layout": "storage",
        "size": size,
        "nodes": [{"inputs": inputs, "ends": ends, "weights": rows.tolist()}],
    }
    found = merged(engine, lineage_recipe(base, donors, lineage, seed=3))
    deltas = tasks([base, *donors])

    def mutated(donor, key, symmetric):
        out = {}
        for tensor, delta in deltas[donor].items():
            if delta.ndim != 2:
                out[tensor] = torch.zeros(delta.shape, dtype=torch.float64)
                continue
            u, sigma, vt = np.linalg.svd(delta.astype(np.float64), full_matrices=False)
            drawn = numbers(3, "spectral", key, tensor, len(sigma))
            drawn = 2 * drawn - 1 if symmetric else drawn
            out[tensor] = torch.from_numpy((u * (drawn * sigma)) @ vt)
        return flat.vector(out)

    vectors = [
        flat.vector({k: torch.from_numpy(v) for k, v in deltas[0].items()}),
        mutated(1, 1, False),
        mutated(1, 2, True),
        mutated(2, 3, False),
    ]
    expected = flat.vector(weights(base)) + spread(flat, ends, rows, vectors)
    np.testing.assert_allclose(flat.vector(found), expected, rtol=0, atol=1e-5)


def test_singular_values_of_children_are_replayed(family, engine):
    """Three generations, each of which mutates the singular values of what the last one made."""
    base, *donors = family("llama")
    size = flat_order(engine, base).order.size
    nodes = [whole(size, [0, 1], [0.6, 0.4])]
    for key in range(3):
        nodes.append({"svd": len(nodes) - 1, "key": key, "scale": 1.5})
        nodes.append(whole(size, [{"node": len(nodes) - 1}, 2], [0.7, 0.3]))
    lineage = {"size": size, "nodes": nodes}
    found = merged(engine, lineage_recipe(base, donors, lineage, seed=9))
    deltas = tasks([base, *donors])
    for tensor, value in found.items():
        first, second, third = (one[tensor].astype(np.float64) for one in deltas)
        child = 0.6 * first + 0.4 * second
        for key in range(3):
            if child.ndim == 2:
                u, sigma, vt = np.linalg.svd(child, full_matrices=False)
                child = (u * (1.5 * numbers(9, "svd", key, tensor, len(sigma)) * sigma)) @ vt
            child = 0.7 * child + 0.3 * third
        expected = weights(base)[tensor].numpy() + child
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=1e-5)


def test_a_chain_of_rounded_children_drifts_and_a_lineage_does_not(family, engine):
    """Merging saved bfloat16 children again and again loses what a lineage keeps."""
    base, *donors = family("llama")
    size = flat_order(engine, base).order.size
    random = np.random.default_rng(0)
    ratios = random.random(60).tolist()
    nodes = [whole(size, [0], [1.0])]
    for step, ratio in enumerate(ratios):
        nodes.append(whole(size, [{"node": step}, step % 3], [1 - ratio, ratio]))
    found = merged(engine, lineage_recipe(base, donors, {"size": size, "nodes": nodes}))
    deltas = tasks([base, *donors])
    apart = {"ours": 0.0, "chain": 0.0}
    length = 0.0
    for tensor, value in found.items():
        origin = weights(base)[tensor]
        single = torch.from_numpy(deltas[0][tensor])
        rounded = (origin + single).bfloat16()
        for step, ratio in enumerate(ratios):
            donor = torch.from_numpy(deltas[step % 3][tensor])
            single = (1 - ratio) * single + ratio * donor
            task = rounded.float() - origin
            rounded = (origin + (1 - ratio) * task + ratio * donor).bfloat16()
        apart["ours"] += float((value - (origin + single)).double().square().sum())
        apart["chain"] += float((rounded.float() - (origin + single)).double().square().sum())
        length += float(value.double().square().sum())
    assert (apart["ours"] / length) ** 0.5 <= 1e-6
    assert (apart["chain"] / length) ** 0.5 > 1e-4


def rich(size, layout="unit"):
    """Every kind of node and input, boundaries anywhere."""
    ends = cuts(size, 12, seed=8)
    rows = np.random.default_rng(6).normal(size=(len(ends), 4)).tolist()
    inputs = [0, 1, {"gaussian": 2}, {"spectral": 3, "donor": 2}]
    return {
        "layout": layout,
        "size": size,
        "nodes": [
            {"inputs": inputs, "ends": ends, "weights": rows},
            {"svd": 0, "key": 4, "scale": 1.2},
            whole(size, [{"node": 1}, {"node": 0}, 2], [0.5, 0.2, 0.3]),
            {"rebase": 2},
            whole(size, [{"node": 3}, {"node": 1}, {"gaussian": 5}], [0.5, 0.25, 0.01]),
        ],
    }


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_memory_disk_and_any_cache_give_the_same_bytes(name, family, tmp_path):
    base, *donors = family(name)
    size = flat_order(MergeEngine(), base).order.size
    recipe = lineage_recipe(base, donors, rich(size), out_dtype="bfloat16", seed=2)
    engine = MergeEngine()
    first = merged(engine, recipe)
    assert_same(first, merged(engine, recipe))  # from what was kept
    for limit in (0, 40_000):
        small = MergeEngine(cache_bytes=limit)
        plan = small.check(recipe)
        for tensor in reversed(plan.tensors):
            assert torch.equal(small._compute(plan.tensors[tensor]), first[tensor]), tensor
    engine.write(recipe, tmp_path / "out")
    assert_same(first, load_file(tmp_path / "out" / "model.safetensors"))
    state = load_resident(engine, recipe).module.state_dict()
    assert all(torch.equal(state[tensor], value) for tensor, value in first.items())


def test_a_child_of_a_kept_parent_costs_one_step(family, monkeypatch):
    base, *donors = family("llama")
    engine = MergeEngine()
    size = flat_order(engine, base).order.size
    nodes = [whole(size, [0, 1], [0.5, 0.5])]
    for key in range(4):
        nodes.append({"svd": len(nodes) - 1, "key": key, "scale": 1.0})
        nodes.append(whole(size, [{"node": len(nodes) - 1}, 2], [0.5, 0.5]))
    calls = []
    original = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a, **k: calls.append(1) or original(*a, **k))
    merged(engine, lineage_recipe(base, donors, {"size": size, "nodes": nodes[:-2]}))
    matrices = sum(tensor.ndim == 2 for tensor in weights(base).values())
    assert len(calls) == 3 * matrices
    calls.clear()
    child = lineage_recipe(base, donors, {"size": size, "nodes": nodes})
    kept = merged(engine, child)
    assert len(calls) == matrices
    assert_same(kept, merged(MergeEngine(cache_bytes=0), child))
    calls.clear()  # another seed shares nothing
    merged(engine, child.model_copy(update={"seed": 1}))
    assert len(calls) == 4 * matrices


def test_only_what_a_tensor_draws_on_is_read(family, engine):
    base, *donors = family("llama")
    flat = flat_order(engine, base, "storage")
    size = flat.order.size
    border = int(flat.order.starts[3])
    lineage = {
        "layout": "storage",
        "size": size,
        "nodes": [{"inputs": [0, 1], "ends": [border, size], "weights": [[1.0, 0.0], [0.0, 1.0]]}],
    }
    plan = engine.check(lineage_recipe(base, donors, lineage))
    assert {len(merge.inputs) for merge in plan.tensors.values()} == {2}


def test_nested_recipes_and_adapters_are_donors(family, engine, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 -- seconds to import

    base, donor, other, _ = family("llama")
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):  # PEFT's own
        model = peft.get_peft_model(
            AutoModelForCausalLM.from_pretrained(base),
            peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "down_proj"]),
        )
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(tmp_path / "adapter")
    nested = {
        "merge_method": "task_arithmetic",
        "base_model": str(base),
        "models": [{"model": str(donor)}, {"model": str(other)}],
        "parameters": {"weight": 0.5},
    }
    written = tmp_path / "written"
    engine.write(Recipe.model_validate(nested), written)
    adapted = tmp_path / "adapted"
    adapter = {"merge_method": "passthrough", "models": [{"model": f"{base}+{tmp_path}/adapter"}]}
    engine.write(Recipe.model_validate({**adapter, "out_dtype": "float32"}), adapted)
    flat = flat_order(engine, base, "unit")
    size = flat.order.size  # without random numbers, whose names tell a recipe from a checkpoint
    halves = {
        "inputs": [0, 1, 2],
        "ends": [size // 3, size],
        "weights": [[0.5, 0.3, 0.2], [0, 1, 1]],
    }
    lineage = {"layout": "unit", "size": size, "nodes": [halves]}
    live = lineage_recipe(base, [nested, tmp_path / "adapter", donor], lineage)
    plain = lineage_recipe(base, [written, adapted, donor], lineage)
    for name, value in merged(engine, live).items():
        torch.testing.assert_close(value, merged(engine, plain)[name], rtol=0, atol=1e-5)
    bounds = np.array([0, 7, 1000, flat.order.size])
    grams = [
        engine.inner_products(
            flat.order, recipe.base_model, [s.model for s in recipe.models], task_vectors=True
        ).grams(bounds)
        for recipe in (live, plain)
    ]
    np.testing.assert_allclose(*grams, rtol=1e-6, atol=1e-9)


def test_a_lineage_is_a_donor_of_other_recipes(family, engine, tmp_path):
    base, *donors = family("llama")
    size = flat_order(engine, base, "unit").order.size
    inner = lineage_recipe(base, donors, rich(size), seed=2)
    engine.write(inner, tmp_path / "inner")

    def outer(node):
        nested = {"model": node}, {"model": str(donors[0])}
        return Recipe.model_validate(
            {"merge_method": "linear", "models": nested, "parameters": {"weight": 0.5}}
        )

    live, plain = (outer(one) for one in (inner, str(tmp_path / "inner")))
    assert_same(merged(engine, live), merged(engine, plain))
    again = lineage_recipe(inner, [donors[0]], {"size": size, "nodes": [whole(size, [0], [0.5])]})
    for name, value in merged(engine, again).items():
        expected = (merged(engine, inner)[name] + weights(donors[0])[name]) / 2
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tied_donor", [False, True])
def test_tied_heads(tied_donor, engine, tmp_path):
    """An untied base lends its order; a tied donor's embedding serves as its head."""
    base = llama(tmp_path / "base", seed=0)
    donor = llama(tmp_path / "donor", seed=1, tied=tied_donor)
    size = flat_order(engine, base).order.size
    lineage = {"size": size, "nodes": [whole(size, [0], [1.0])]}
    found = merged(engine, lineage_recipe(base, [donor], lineage))
    head = "model.embed_tokens.weight" if tied_donor else "lm_head.weight"
    torch.testing.assert_close(found["lm_head.weight"], weights(donor)[head], rtol=0, atol=1e-6)


def test_an_untied_donor_of_a_tied_base_is_refused(engine, tmp_path):
    base = llama(tmp_path / "base", seed=0, tied=True)
    donor = llama(tmp_path / "donor", seed=1)
    size = flat_order(engine, base).order.size
    lineage = {"size": size, "nodes": [whole(size, [0], [1.0])]}
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' is in the merged model and not"):
        engine.check(lineage_recipe(base, [donor], lineage))


def test_float64_models_stay_float64(engine, tmp_path):
    base = llama(tmp_path / "base", seed=0, dtype=torch.float64)
    donor = llama(tmp_path / "donor", seed=1, near=base, dtype=torch.float64)
    size = flat_order(engine, base).order.size
    lineage = {"size": size, "nodes": [whole(size, [0], [1 / 3])]}
    found = merged(engine, lineage_recipe(base, [donor], lineage))
    for tensor, value in found.items():
        origin, other = weights(base)[tensor], weights(donor)[tensor]
        torch.testing.assert_close(value, origin + (other - origin) / 3, rtol=1e-15, atol=1e-15)


def test_integers_are_copied(engine, tmp_path):
    folders = []
    for i in range(2):
        folder = gpt2(tmp_path / f"m{i}", seed=i)
        tensors = {**weights(folder), "transformer.counts": torch.arange(3)}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    size = flat_order(engine, folders[0]).order.size
    lineage = {"size": size, "nodes": [whole(size, [0], [0.5])]}
    found = merged(engine, lineage_recipe(folders[0], folders[1:], lineage))
    assert torch.equal(found["transformer.counts"], torch.arange(3))


def test_the_recipe_as_text_rebuilds_the_same_model(family, engine):
    base, *donors = family("llama")
    size = flat_order(engine, base).order.size
    recipe = lineage_recipe(base, donors, rich(size, "depth"), seed=4)
    again = native.loads(native.dumps(recipe))
    assert again == recipe
    assert_same(merged(engine, again), merged(engine, recipe))


class TestBadInput:
    def test_another_size(self, family, engine):
        base, *donors = family("llama")
        lineage = {"size": 10, "nodes": [whole(10, [0], [1.0])]}
        with pytest.raises(RecipeError, match=r"counts 10 positions, .* has 19,616"):
            engine.check(lineage_recipe(base, donors, lineage))

    def test_an_architecture_without_units(self, engine, tmp_path):
        base = llama(tmp_path / "base", seed=0)
        donor = llama(tmp_path / "donor", seed=1)
        for folder in (base, donor):
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "model_type": "lama"}))
        size = sum(tensor.numel() for tensor in weights(base).values())
        lineage = {"layout": "unit", "size": size, "nodes": [whole(size, [0], [1.0])]}
        with pytest.raises(RecipeError, match=r"'lama'.*did you mean 'llama'\? Use layout 'depth'"):
            engine.check(lineage_recipe(base, [donor], lineage))

    def test_a_chromosome_without_tensors(self, family, engine):
        base, *donors = family("llama")
        size = flat_order(engine, base).order.size
        lineage = {
            "size": size,
            "chromosomes": {"all": ".", "none": "mamba"},
            "nodes": [whole(size, [0], [1.0])],
        }
        with pytest.raises(RecipeError, match="no tensor is left for 'none'"):
            engine.check(lineage_recipe(base, donors, lineage))

    def test_a_weight_too_large(self, family, engine):
        base, *donors = family("llama")
        size = flat_order(engine, base).order.size
        nodes = [whole(size, [0], [1e200]), whole(size, [{"node": 0}], [1e200])]
        recipe = lineage_recipe(base, donors, {"size": size, "nodes": nodes})
        with pytest.raises(NonFiniteMerge, match="grew too large"):
            engine.check(recipe)

    def test_a_donor_that_is_no_number(self, family, engine, tmp_path):
        base, *donors = family("llama")
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "config.json").write_bytes((base / "config.json").read_bytes())
        tensors = weights(donors[0])
        tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = float("nan")
        save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
        flat = flat_order(engine, base)
        size = flat.order.size
        spectral = whole(size, [{"spectral": 0, "donor": 0}], [0.1])
        recipe = lineage_recipe(base, [broken], {"size": size, "nodes": [spectral]})
        with pytest.raises(NonFiniteMerge, match=r"up_proj.weight': 1 of"):
            merged(engine, recipe)
        products = engine.inner_products(
            flat.order,
            ModelRef(path=str(base)),
            [ModelRef(path=str(broken)), ModelRef(path=str(donors[0]))],
            task_vectors=True,
        )
        with pytest.raises(CheckpointError, match=r"up_proj.weight' of a donor holds inf or NaN"):
            products.grams(np.array([0, size]))

    def test_models_of_other_shapes(self, engine, tmp_path):
        base = qwen2(tmp_path / "base", seed=0)
        donor = qwen2(tmp_path / "donor", seed=0, layers=3)
        size = flat_order(engine, base).order.size
        lineage = {"size": size, "nodes": [whole(size, [0], [1.0])]}
        with pytest.raises(CheckpointError, match="has 3"):
            engine.check(lineage_recipe(base, [donor], lineage))


@pytest.mark.parametrize("threads", [2, 4])
def test_singular_values_do_not_depend_on_the_number_of_threads(threads, family):
    base, *donors = family("llama")
    engine = MergeEngine()
    recipe = lineage_recipe(base, donors, rich(flat_order(engine, base, "unit").order.size))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = merged(MergeEngine(), recipe)
        torch.set_num_threads(threads)
        assert_same(alone, merged(MergeEngine(), recipe))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
