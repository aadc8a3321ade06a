"""The engine: what is in memory equals what is on disk, and nothing unfinished looks finished."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge.errors import CheckpointError, NonFiniteMerge, RecipeError, UserError
from evomerge.merging import MergeEngine, compiler, folder, load_resident
from evomerge.merging.method import Group, load_method
from evomerge.recipe.model import ModelRef, Recipe
from tests.merging.tiny_models import gpt2, llama, qwen2

ALL = ("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "passthrough")


def make(method: str, base, donors, **more) -> Recipe:
    recipe: dict = {"merge_method": method, "models": [{"model": str(d)} for d in donors]}
    parameters = {"weight": 0.6, "density": 0.5}
    if method in ("linear", "task_arithmetic"):
        parameters.pop("density")
    if method == "slerp":
        recipe["models"], parameters = [{"model": str(donors[0])}], {"t": [0.2, 0.7]}
    if method == "passthrough":
        recipe["models"], parameters = [{"model": str(donors[0])}], {}
    if method not in ("linear", "passthrough"):
        recipe["base_model"] = str(base)
    return Recipe.model_validate({**recipe, "parameters": parameters, **more})


def merged(recipe: Recipe, engine: MergeEngine | None = None) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in (engine or MergeEngine()).tensors(recipe)}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype
        assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_resident_equals_written_then_loaded(name, method, family, engine, tmp_path):
    base, *donors = family(name)
    recipe = make(method, base, donors, out_dtype="bfloat16")
    resident = load_resident(engine, recipe)
    engine.write(recipe, tmp_path / "out", extra_files={"evomerge_recipe.yaml": "text\n"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.dtype == resident.module.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in resident.module.parameters())
    ids = torch.arange(24).view(2, 12)
    assert torch.equal(resident.module(ids).logits, loaded(ids).logits)
    tokens = [AutoTokenizer.from_pretrained(path)("w3 w5") for path in (base, tmp_path / "out")]
    assert resident.tokenizer("w3 w5") == tokens[0] == tokens[1]
    assert (tmp_path / "out" / "evomerge_recipe.yaml").read_text() == "text\n"
    assert (tmp_path / "out" / "generation_config.json").is_file()


@pytest.mark.parametrize("method", ALL)
def test_applying_again_changes_nothing_and_nothing_lingers(method, family, engine):
    base, *donors = family("llama")
    first = make(method, base, donors)
    second = make("task_arithmetic", base, donors, parameters={"weight": -0.3})
    resident = load_resident(engine, first)
    before = {k: v.clone() for k, v in resident.module.state_dict().items()}
    engine.apply(second, resident.module)
    assert any(not torch.equal(before[k], v) for k, v in resident.module.state_dict().items())
    engine.apply(first, resident.module)
    assert_same(dict(resident.module.state_dict()), before)
    assert_same(merged(first, engine), merged(first))


def test_sliced_model_loads_and_layers_are_renumbered(family, engine, tmp_path):
    base, donor, *_ = map(str, family("llama12"))
    recipe = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": base, "layer_range": [0, 3]}]},
                {"sources": [{"model": donor, "layer_range": [9, 12]}]},
                {"sources": [{"model": base, "layer_range": [1, 2]}]},
            ],
        }
    )
    engine.write(recipe, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.config.num_hidden_layers == 7
    origin = load_file(Path(donor) / "model.safetensors")
    name = "mlp.up_proj.weight"
    assert torch.equal(
        loaded.state_dict()[f"model.layers.4.{name}"], origin[f"model.layers.10.{name}"]
    )
    ids = torch.arange(10)[None]
    assert torch.equal(load_resident(engine, recipe).module(ids).logits, loaded(ids).logits)


def test_per_layer_lists_of_the_configuration_follow_the_layers(tmp_path, engine):
    path = qwen2(tmp_path / "model", seed=0, layers=3)
    config = dict(MergeEngine().check(make("passthrough", None, [path])).config)
    assert len(config["layer_types"]) == 3
    recipe = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": str(path), "layer_range": [0, 3]}]},
            {"sources": [{"model": str(path), "layer_range": [1, 3]}]},
        ],
    }
    config = engine.config(Recipe.model_validate(recipe))
    assert config["num_hidden_layers"] == len(config["layer_types"]) == 5


def test_dare_draws_depend_on_names_only(family):
    base, *donors = family("llama")
    recipe = make("dare_ties", base, donors)
    engine = MergeEngine()
    plan = engine.check(recipe)
    whole = merged(recipe)
    for name in reversed(plan.tensors):
        assert torch.equal(engine._compute(plan.tensors[name]), whole[name]), name
    other = merged(make("dare_ties", base, donors, seed=1))
    assert not torch.equal(other["lm_head.weight"], whole["lm_head.weight"])


def test_a_pinned_digest_frees_the_masks_from_the_order_of_models(family, engine):
    base, *paths = family("llama")
    pins = [{"path": str(p), "sha256": engine.digest(ModelRef(path=str(p)))} for p in paths]

    def build(order):
        return Recipe.model_validate(
            {
                "merge_method": "dare_linear",
                "base_model": str(base),
                "models": [{"model": pins[i], "parameters": {"weight": 1.0}} for i in order],
                "parameters": {"density": 0.5},
            }
        )

    a, b = merged(build([0, 1])), merged(build([1, 0]))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-6, atol=1e-7)


def test_densities_share_their_masks(family):
    """What a lower density keeps, a higher one keeps too."""
    base, donor, *_ = family("llama")
    origin = load_file(base / "model.safetensors")
    low, high = (
        merged(
            make(
                "dare_linear",
                base,
                [donor],
                parameters={"weight": 1, "density": d, "rescale": False},
            )
        )
        for d in (0.3, 0.6)
    )
    for name in origin:
        assert not bool(((low[name] != origin[name]) & (high[name] == origin[name])).any())


def test_final_norm_and_head_take_the_end_of_a_gradient(family):
    base, donor, *_ = family("llama")
    recipe = make("task_arithmetic", base, [donor], parameters={"weight": [0.0, 1.0]})
    result, origin, target = (
        merged(recipe),
        *(load_file(path / "model.safetensors") for path in (base, donor)),
    )
    assert torch.equal(result["model.embed_tokens.weight"], origin["model.embed_tokens.weight"])
    for name in ("model.norm.weight", "lm_head.weight"):
        torch.testing.assert_close(result[name], target[name])


def test_natively_every_donor_of_the_last_slice_reaches_the_head(family):
    base, *donors = map(str, family("llama"))
    parts = [
        {"sources": [{"model": m, "layer_range": [i, i + 1]} for m in [base, *donors[:n]]]}
        for i, n in ((0, 1), (1, 3))
    ]
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": base,
        "slices": parts,
        "parameters": {"weight": 0.5},
    }
    plan = MergeEngine().check(Recipe.model_validate(recipe))
    assert len(plan.tensors["lm_head.weight"].inputs) == 4
    assert len(plan.tensors["model.embed_tokens.weight"].inputs) == 2
    with pytest.raises(RecipeError, match=r"slices\[1\]"):
        MergeEngine().check(Recipe.model_validate({**recipe, "compat": "mergekit-0.1.5"}))


def test_native_arithmetic_is_float32_rounded_once(family):
    """Within half a unit of the last place of a float64 reference, unlike bfloat16 arithmetic."""
    base, *donors = family("llama", torch.bfloat16)
    result = merged(make("task_arithmetic", base, donors, dtype="bfloat16"))
    origin, *targets = (load_file(p / "model.safetensors") for p in (base, *donors))
    for name, tensor in result.items():
        b = origin[name].double()
        exact = b + sum(0.6 * (target[name].double() - b) for target in targets)
        unit = torch.exp2(exact.abs().log2().floor() - 7)
        assert tensor.dtype == torch.bfloat16
        assert bool(((tensor.double() - exact).abs() <= 0.5 * unit + 1e-6).all()), name


def test_nested_recipe_equals_the_merge_of_the_written_one(family, engine, tmp_path):
    base, a, b, c = map(str, family("llama"))
    inner = {
        "merge_method": "slerp",
        "base_model": a,
        "models": [{"model": b}],
        "parameters": {"t": 0.4},
    }
    engine.write(Recipe.model_validate(inner), tmp_path / "inner")
    results = []
    for node in (inner, str(tmp_path / "inner")):
        recipe = {
            "merge_method": "task_arithmetic",
            "base_model": base,
            "models": [{"model": node}, {"model": c}],
            "parameters": {"weight": 0.5},
        }
        results.append(merged(Recipe.model_validate(recipe), engine))
    assert_same(*results)


def test_shards_and_folder_do_not_change_the_digest(family, engine, tmp_path):
    base, donor, *_ = family("llama")
    recipe = make("passthrough", base, [donor])
    engine.write(recipe, tmp_path / "sharded", shard_bytes=9_000)
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 3
    assert engine.digest(ModelRef(path=str(tmp_path / "sharded"))) == engine.digest(
        ModelRef(path=str(donor))
    )
    AutoModelForCausalLM.from_pretrained(tmp_path / "sharded")
    largest = max(t.numel() * 4 for t in load_file(donor / "model.safetensors").values())
    assert all(shard.stat().st_size < max(9_000, largest) + 4_000 for shard in shards)


def test_write_refuses_a_model_whose_content_is_not_the_pinned_one(family, engine, tmp_path):
    base, donor, *_ = family("llama")
    pinned = {"path": str(donor), "sha256": engine.digest(ModelRef(path=str(base)))}
    recipe = Recipe.model_validate({"merge_method": "passthrough", "models": [{"model": pinned}]})
    with pytest.raises(CheckpointError, match="pins"):
        engine.write(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_destination_is_refused(family, engine, tmp_path):
    base, donor, *_ = family("llama")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        engine.write(make("passthrough", base, [donor]), tmp_path / "out")


def test_a_full_disk_is_one_line_and_leaves_nothing(family, engine, tmp_path, monkeypatch):
    base, donor, *_ = family("llama")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.SafetensorsWriter, "write", full)
    with pytest.raises(UserError, match="disk is full") as caught:
        engine.write(make("passthrough", base, [donor]), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


KILLED = """
import sys, time, torch
from evomerge.merging import MergeEngine, folder
from evomerge.recipe.model import Recipe
plain = folder.SafetensorsWriter.write
def slow(self, name, tensor):
    plain(self, name, tensor)
    print(name, flush=True)
    time.sleep(0.2)
folder.SafetensorsWriter.write = slow
recipe = Recipe.model_validate({"merge_method": "passthrough", "models": [{"model": sys.argv[1]}]})
MergeEngine().write(recipe, sys.argv[2], shard_bytes=9000)
"""


def test_a_killed_write_leaves_nothing_that_looks_finished(family, engine, tmp_path):
    _, donor, *_ = family("llama")
    target = tmp_path / "models" / "out"
    command = [sys.executable, "-c", KILLED, str(donor), str(target)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        for _ in range(6):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    leftovers = list(target.parent.iterdir())
    assert not target.exists()
    assert len(leftovers) == 1
    assert leftovers[0].name.startswith(".out.partial-")
    assert not (leftovers[0] / "config.json").exists()
    engine.write(make("passthrough", None, [donor]), target)
    assert (target / "config.json").is_file()


def test_inf_and_nan_are_named_and_the_module_recovers(family, engine, tmp_path):
    base, donor, *_ = family("llama")
    wild = make("task_arithmetic", base, [donor], parameters={"weight": 1e30}, dtype="float16")
    resident = load_resident(engine, make("passthrough", base, [donor]))
    with pytest.raises(NonFiniteMerge, match=r"model\.embed_tokens\.weight"):
        engine.apply(wild, resident.module)
    with pytest.raises(NonFiniteMerge):
        engine.write(wild, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    engine.apply(make("passthrough", base, [donor]), resident.module)
    assert torch.isfinite(resident.module(torch.arange(5)[None]).logits).all()


def test_compat_linear_with_weights_summing_to_zero_is_an_outcome_natively_an_error(family):
    _, a, b, _ = family("llama")
    recipe = {
        "merge_method": "linear",
        "models": [
            {"model": str(a), "parameters": {"weight": 1}},
            {"model": str(b), "parameters": {"weight": -1}},
        ],
    }
    with pytest.raises(RecipeError, match="sum to 0"):
        MergeEngine().check(Recipe.model_validate(recipe))
    compat = Recipe.model_validate({**recipe, "compat": "mergekit-0.1.5"})
    assert not torch.isfinite(merged(compat)["lm_head.weight"]).all()


def test_delta_statistics_against_float64(family, engine):
    base, *donors = family("llama", torch.bfloat16)
    resident = load_resident(engine, make("ties", base, donors))
    statistics = engine.delta_statistics(resident.module, ModelRef(path=str(base)))
    origin = load_file(base / "model.safetensors")
    state = resident.module.state_dict()
    deltas = torch.cat([(state[n].float() - origin[n].float()).double().view(-1) for n in origin])
    flat = torch.cat([tensor.double().view(-1) for tensor in origin.values()])
    assert statistics.l1 == pytest.approx(float(deltas.abs().sum()), rel=1e-12)
    assert statistics.l2 == pytest.approx(float(deltas.norm()), rel=1e-12)
    assert statistics.base_l1 == pytest.approx(float(flat.abs().sum()), rel=1e-12)
    assert statistics.base_l2 == pytest.approx(float(flat.norm()), rel=1e-12)
    assert statistics.zeros == int((deltas == 0).sum())
    assert statistics.elements == deltas.numel()


def test_tied_parameters_count_once(tmp_path, engine):
    base = gpt2(tmp_path / "base", seed=0)
    donor = gpt2(tmp_path / "donor", seed=1, near=base)
    resident = load_resident(engine, make("passthrough", base, [donor]))
    statistics = engine.delta_statistics(resident.module, ModelRef(path=str(base)))
    names = load_file(base / "model.safetensors")
    assert statistics.elements == sum(tensor.numel() for tensor in names.values())
    assert resident.module.lm_head.weight is resident.module.transformer.wte.weight


def test_a_module_of_another_shape_is_refused(family, engine, tmp_path):
    base, donor, *_ = family("llama")
    other = llama(tmp_path / "other", seed=0, layers=3)
    module = AutoModelForCausalLM.from_pretrained(other)
    with pytest.raises(CheckpointError, match="does not make"):
        engine.apply(make("passthrough", base, [donor]), module)
    small = AutoModelForCausalLM.from_pretrained(donor)
    with pytest.raises(CheckpointError, match="has no place"):
        engine.apply(make("passthrough", base, [other]), small)


def test_a_users_own_method(tmp_path, family):
    (tmp_path / "mine.py").write_text(
        "from evomerge.merging import Group, PerInput, merge_method\n"
        "@merge_method(base='ignored', min_inputs=2)\n"
        "def sharpest(group: Group, *, bias: PerInput[float], floor_: float = 0.0):\n"
        "    best, value = group.inputs[0], bias[0]\n"
        "    for tensor, b in zip(group.inputs[1:], bias[1:]):\n"
        "        best = tensor if b > value else best\n"
        "    return best.clamp(min=floor_)\n"
    )
    _, a, b, _ = family("llama")
    recipe = {
        "merge_method": f"{tmp_path / 'mine.py'}:sharpest",
        "models": [
            {"model": str(a), "parameters": {"bias": 0.1}},
            {"model": str(b), "parameters": {"bias": 0.9}},
        ],
        "parameters": {"floor": -0.01},
    }
    result = merged(Recipe.model_validate(recipe))
    expected = load_file(b / "model.safetensors")
    for name, tensor in expected.items():
        assert torch.equal(result[name], tensor.clamp(min=-0.01)), name


def test_kernels_leave_their_inputs_alone_in_low_precision():
    tensors = tuple(torch.randn(64).to(torch.bfloat16) for _ in range(2))
    before = [tensor.clone() for tensor in tensors]
    load_method("slerp").kernel(Group("x", tensors, 0, compat=True), t=0.3)
    load_method("linear").kernel(Group("x", tensors, compat=True), weight=(0.2, 0.4))
    assert all(map(torch.equal, tensors, before))


def test_integers_are_copied_if_equal(tmp_path, family):
    base, *_ = family("llama")
    paths = []
    for i, count in enumerate((7, 7, 8)):
        path = tmp_path / f"m{i}"
        path.mkdir()
        (path / "config.json").write_text((base / "config.json").read_text())
        tensors = load_file(base / "model.safetensors")
        tensors["model.batches_seen"] = torch.tensor(count)
        save_file(tensors, path / "model.safetensors")
        paths.append(path)
    same = merged(make("linear", None, paths[:2]))
    assert same["model.batches_seen"] == torch.tensor(7)
    with pytest.raises(CheckpointError, match="batches_seen"):
        merged(make("linear", None, paths))


def test_a_second_recipe_of_the_same_structure_is_laid_out_once(family, engine, monkeypatch):
    base, *donors = family("llama12")
    engine = MergeEngine()
    engine.check(make("ties", base, donors))
    monkeypatch.setattr(compiler, "lay_out", lambda *_: pytest.fail("laid out again"))
    plan = engine.check(make("ties", base, donors, parameters={"weight": 0.1}, seed=3))
    assert plan.tensors["lm_head.weight"].arguments["weight"] == (0.1,) * 3
    assert plan.tensors["lm_head.weight"].seed == 3
