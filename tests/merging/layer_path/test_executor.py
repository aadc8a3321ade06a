"""Donors stay resident by content; nested merges share one module; adapters are models, too."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

import evomerge.zoo
from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, PathExecutor, load_resident
from evomerge.merging.layer_path.reuse import weights_state
from evomerge.merging.memory import Memory
from evomerge.recipe.model import Recipe
from tests.merging.layer_path.conftest import path_recipe
from tests.merging.layer_path.families import save

IDS = torch.randint(3, 20, (2, 8), generator=torch.Generator().manual_seed(0))
HOPS = [(0, 0), (1, 2), (0, 1), (0, 3)]
ZOO = Path(evomerge.zoo.__file__).parent / "models"


class CountingEngine(MergeEngine):
    """Remembers which modules it has written into."""

    def __init__(self):
        super().__init__()
        self.written = []

    def apply(self, recipe, module, **options):
        self.written.append(module)
        super().apply(recipe, module, **options)


def mix(models, weight):
    return {
        "merge_method": "linear",
        "models": [
            {"model": str(models[0]), "parameters": {"weight": weight}},
            {"model": str(models[1]), "parameters": {"weight": 1 - weight}},
        ],
    }


def logits(module):
    with torch.inference_mode():
        return module(IDS).logits


def test_checkpoints_are_loaded_once(donors):
    engine = CountingEngine()
    executor = PathExecutor(engine)
    first, second = donors("llama")
    for hops in (HOPS, HOPS[::-1], HOPS[:1]):
        executor.load(path_recipe([first, second], hops))
    executor.load(path_recipe([second, first], HOPS))
    assert len(engine.written) == 2


def test_tokenizer_and_embeddings_are_the_first_models(donors):
    first, second = donors("llama")
    loaded = PathExecutor(MergeEngine()).load(path_recipe([second, first], HOPS))
    whole = load_resident(
        MergeEngine(),
        Recipe.model_validate({"merge_method": "passthrough", "models": [{"model": str(second)}]}),
    )
    assert loaded.tokenizer.get_vocab() == whole.tokenizer.get_vocab()
    for name in ("get_input_embeddings", "get_output_embeddings"):
        ours, theirs = (getattr(m.module, name)().weight for m in (loaded, whole))
        assert torch.equal(ours, theirs)


def test_a_nested_merge_is_its_result(donors, tmp_path):
    first, second = donors("llama")
    engine = MergeEngine()
    engine.write(Recipe.model_validate(mix((first, second), 0.25)), tmp_path / "mixed")
    nested, written = (
        logits(PathExecutor(engine).load(path_recipe([one, second], HOPS)).module)
        for one in (mix((first, second), 0.25), tmp_path / "mixed")
    )
    assert torch.equal(nested, written)


def test_a_nested_merge_is_made_anew_only_when_it_changes(donors):
    engine = CountingEngine()
    executor = PathExecutor(engine)
    models = donors("llama")
    for weight in (0.2, 0.2, 0.7, 0.7):
        for hops in (HOPS, HOPS[::-1]):
            executor.load(path_recipe([mix(models, weight), models[1]], hops))
    assert len(engine.written) == 3
    assert len({id(module) for module in engine.written}) == 2


def test_an_idle_nested_merge_stays_until_its_module_is_needed(donors):
    engine = CountingEngine()
    executor = PathExecutor(engine)
    models = donors("llama")
    nested = mix(models, 0.2)
    for _ in range(3):
        executor.load(path_recipe([nested, models[1]], HOPS))
        executor.load(path_recipe([models[1]], [(0, 1), (0, 2)]))
    assert len(engine.written) == 2
    again = executor.load(path_recipe([mix(models, 0.7), models[1]], HOPS)).module
    assert len({id(module) for module in engine.written}) == 2  # taken over, not built
    fresh = PathExecutor(MergeEngine()).load(path_recipe([mix(models, 0.7), models[1]], HOPS))
    assert torch.equal(logits(again), logits(fresh.module))
    executor.load(path_recipe([nested, models[1]], HOPS))
    assert len(engine.written) == 4


def test_as_many_nested_merges_stay_as_a_path_has(donors):
    engine = CountingEngine()
    executor = PathExecutor(engine)
    models = donors("llama")
    for weights in ((0.2, 0.7), (0.2,), (0.9,), (0.9, 0.2), (0.7,)):
        nested = [mix(models, weight) for weight in weights]
        hops = [(k % len(nested), k) for k in range(4)]
        module = executor.load(path_recipe(nested, hops)).module
        fresh = PathExecutor(MergeEngine()).load(path_recipe(nested, hops)).module
        assert torch.equal(logits(module), logits(fresh))
    # 0.9 took the module of 0.7, which was used last the longest ago, and 0.7 that of 0.9
    first, second, third, fourth = engine.written
    assert third is second
    assert fourth is third
    assert first is not second


def test_nested_merges_of_another_configuration_make_room(donors):
    engine = CountingEngine()
    executor = PathExecutor(engine)
    for family in ("llama", "gpt2"):
        executor.load(path_recipe([mix(donors(family), 0.5)], HOPS[:1]))
    gone = weakref.ref(engine.written.pop(0))
    gc.collect()
    assert gone() is None


def test_only_inputs_of_merges_stay_on_the_device(donors):
    class Watching(Memory):
        def load(self, checkpoint, name, *, keep=True, device=None):
            kept.add((checkpoint.label, keep))
            return super().load(checkpoint, name, keep=keep, device=device)

    kept = set()
    engine = MergeEngine()
    engine._memory = Watching(torch.device("cpu"), 1 << 30)
    models = donors("llama")
    executor = PathExecutor(engine)
    executor.load(path_recipe(models, HOPS))
    assert kept == {(str(model), False) for model in models}
    kept.clear()
    executor.load(path_recipe([mix(models, 0.5)], HOPS[:1]))
    assert kept == {(str(model), True) for model in models}


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe", "gemma3_text"])
def test_a_path_that_is_gone_leaves_nothing_in_memory(donors, family):
    executor = PathExecutor(MergeEngine())
    hops = [(0, 0), (1, 1), (0, 1, 0.8), (0, 3)]
    module = executor.load(path_recipe(donors(family), hops)).module
    logits(module)
    gone = weakref.ref(module), weakref.ref(module.get_decoder())
    gc.collect()
    gc.disable()
    try:
        del module
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


def test_buffers_count_as_weights(donors):
    module = PathExecutor(MergeEngine()).load(path_recipe(donors("llama"), HOPS)).module
    before = weights_state(module)
    assert weights_state(module) == before
    module.model.rotary_emb.inv_freq.mul_(2)
    assert weights_state(module) != before
    with torch.inference_mode():
        module.model.rotary_emb.inv_freq = torch.ones(4)
    assert weights_state(module) != before


def test_two_nested_merges_do_not_share_a_module(donors):
    models = donors("llama")
    executor = PathExecutor(MergeEngine())
    together = executor.load(path_recipe([mix(models, 0.2), mix(models, 0.7)], HOPS)).module
    swapped = executor.load(path_recipe([mix(models, 0.7), mix(models, 0.9)], HOPS)).module
    owners = [
        {p.data_ptr() for p in layer.parameters()}
        for module in (together, swapped)
        for layer in module.model.layers
    ]
    assert owners[0].isdisjoint(owners[1])
    fresh = PathExecutor(MergeEngine())
    again = fresh.load(path_recipe([mix(models, 0.7), mix(models, 0.9)], HOPS)).module
    assert torch.equal(logits(swapped), logits(again))


@pytest.mark.parametrize("spelling", ["on its base", "bare"])
def test_an_adapter_is_a_donor(spelling):
    base, adapter = ZOO / "base", ZOO / "count-bits-lora"
    engine = MergeEngine()
    if spelling == "bare":
        recipe = path_recipe([base, adapter], [(1, k) for k in range(4)], base_model=str(base))
    else:
        recipe = path_recipe([base, f"{base}+{adapter}"], [(1, k) for k in range(4)])
    adapted = Recipe.model_validate(
        {"merge_method": "passthrough", "models": [{"model": f"{base}+{adapter}"}]}
    )
    got = logits(PathExecutor(engine).load(recipe).module)
    assert torch.equal(got, logits(load_resident(engine, adapted).module))
    alone = path_recipe([base], [(0, k) for k in range(4)])
    assert not torch.equal(got, logits(PathExecutor(engine).load(alone).module))


def test_donors_run_in_one_dtype(tmp_path):
    half = save("llama", tmp_path / "half", seed=1, dtype=torch.bfloat16)
    full = save("llama", tmp_path / "full", seed=2)
    executor = PathExecutor(MergeEngine())
    with pytest.raises(CheckpointError, match=r"full' is stored in float32 .*half' in bfloat16"):
        executor.load(path_recipe([half, full], HOPS))
    for dtype in ("float32", "bfloat16"):
        module = executor.load(path_recipe([half, full], HOPS, dtype=dtype)).module
        assert {str(p.dtype) for p in module.parameters()} == {f"torch.{dtype}"}
        assert logits(module).isfinite().all()
