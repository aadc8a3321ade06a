"""Reusing common prefixes: never another result, never more memory, never stale."""

from __future__ import annotations

import gc
import random
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.fitness.batches import cache_keyword
from evomerge.merging import MergeEngine, PathExecutor
from evomerge.merging.layer_path.prefix_cache import PrefixCache, State, prefix_keys
from tests.merging.layer_path.conftest import path_recipe

FAMILIES = ["llama", "mistral", "gemma3_text", "qwen3_moe", "gpt2"]
hop = st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from([1.0, 1.0, 0.5, 1.3]))
paths = st.lists(hop, min_size=1, max_size=6)


def batch(n_rows, n_columns, padded):
    draw = random.Random(n_rows * 100 + n_columns)
    ids = torch.tensor([[draw.randrange(3, 64) for _ in range(n_columns)] for _ in range(n_rows)])
    if not padded:
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    mask[0, : n_columns // 2] = 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


BATCHES = [batch(2, 9, False), batch(2, 9, True), batch(3, 4, True), batch(1, 12, False)]


def everything(module, inputs, use_cache):
    """Return logits, and with a key/value cache also what it holds and the next token's logits."""
    with torch.inference_mode():
        output = module(**inputs, use_cache=use_cache)
        if not use_cache:
            return [output.logits]
        past = cache_keyword(module)
        cache = output[past]
        held = [t.clone() for layer in cache.layers for t in (layer.keys, layer.values)]
        more = {"input_ids": output.logits[:, -1:].argmax(-1), past: cache}
        if "attention_mask" in inputs:
            rows = len(more["input_ids"])
            more["attention_mask"] = torch.cat(
                [inputs["attention_mask"], torch.ones(rows, 1, dtype=torch.int64)], dim=1
            )
            more["position_ids"] = inputs["position_ids"][:, -1:] + 1
        return [output.logits, *held, module(**more, use_cache=True).logits]


@pytest.fixture(scope="module")
def executors():
    """Return family -> two executors that live through all examples: with cache and without."""
    made = {}

    def get(family):
        if family not in made:
            # Little enough to run over, so that states come and go.
            made[family] = (
                PathExecutor(MergeEngine(), cache_bytes=60_000),
                PathExecutor(MergeEngine(), cache_bytes=0),
            )
        return made[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_reuse_changes_no_bit(family, executors, recipe_of):
    cached, plain = executors(family)

    @settings(max_examples=6)
    @given(paths, st.sampled_from(["delta", "full"]), st.data())
    def holds(hops, scaling, data):
        again = data.draw(st.lists(hop, max_size=2))
        for candidate in (hops, hops[: len(hops) // 2 + 1] + again, hops + again):
            recipe = recipe_of(family, candidate, scaling)
            modules = cached.load(recipe).module, plain.load(recipe).module
            for number in data.draw(st.lists(st.sampled_from(range(4)), max_size=3)):
                for use_cache in (False, True):
                    got, expected = (everything(m, BATCHES[number], use_cache) for m in modules)
                    assert all(map(torch.equal, got, expected))
                    assert len(got) == len(expected)
                    assert cached.cache.used_bytes <= cached.cache.limit_bytes

    holds()
    assert cached.count.called == plain.count.called > 0
    assert cached.count.reused > 0
    assert plain.count.reused == 0


def test_hops_are_counted_in_tokens(recipe_of):
    executor = PathExecutor(MergeEngine())
    inputs = BATCHES[1]  # 2 rows of 9 columns
    with torch.inference_mode():
        executor.load(recipe_of("llama", [(0, 0), (1, 1), (0, 2)])).module(**inputs)
        assert (executor.count.called, executor.count.reused) == (54, 0)
        module = executor.load(recipe_of("llama", [(0, 0), (1, 1), (0, 3), (0, 3)])).module
        past = cache_keyword(module)
        cache = module(**inputs)[past]
        assert (executor.count.called, executor.count.reused) == (54 + 72, 36)
        module(input_ids=torch.tensor([[3], [4]]), **{past: cache})
        assert (executor.count.called, executor.count.reused) == (54 + 72 + 8, 36)


def test_a_scale_counts_where_it_takes_effect(recipe_of):
    executor = PathExecutor(MergeEngine())
    base = [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0)]
    changed = [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 0.5)]
    for scaling, shared in (("delta", 1), ("full", 2)):
        before = executor.count.reused
        for hops in (base, changed):
            with torch.inference_mode():
                executor.load(recipe_of("llama", hops, scaling)).module(**BATCHES[3])
            after = executor.count.reused
            if hops is base:
                before = after
        assert after - before == shared * 12


@pytest.mark.parametrize(
    "change",
    [
        lambda b: {**b, "input_ids": b["input_ids"] + 1},
        lambda b: {**b, "attention_mask": torch.ones_like(b["attention_mask"])},
        lambda b: {**b, "position_ids": b["position_ids"] + 1},
        lambda b: {k: v[:1] for k, v in b.items()},
    ],
)
def test_another_batch_shares_nothing(change, recipe_of):
    executor = PathExecutor(MergeEngine())
    module = executor.load(recipe_of("llama", [(0, 0), (0, 1)])).module
    with torch.inference_mode():
        module(**BATCHES[1])
        module(**change(BATCHES[1]))
    assert executor.count.reused == 0


def test_hooks_gradients_and_questions_about_the_inside_are_computed(recipe_of):
    executor = PathExecutor(MergeEngine())
    recipe = recipe_of("llama", [(0, 0), (0, 1)])
    module = executor.load(recipe).module
    with torch.inference_mode():
        expected = module(**BATCHES[3]).logits
        inside = module(**BATCHES[3], output_hidden_states=True)
        assert executor.count.reused == 0
        assert len(inside.hidden_states) == 3
        module = executor.load(recipe).module
        module.model.layers[0].mlp.register_forward_hook(lambda _, __, output: 2 * output)
        assert not torch.equal(module(**BATCHES[3]).logits, expected)
        assert executor.count.reused == 0
        assert torch.equal(executor.load(recipe).module(**BATCHES[3]).logits, expected)
        assert executor.count.reused == 24
    embeddings = module.get_input_embeddings()(BATCHES[3]["input_ids"]).requires_grad_()
    module(inputs_embeds=embeddings).logits.sum().backward()
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_a_fitness_writes_into_weights_is_undone(mode, recipe_of):
    executor = PathExecutor(MergeEngine())
    recipe = recipe_of("llama", [(0, 0), (1, 1)])
    module = executor.load(recipe).module
    with mode():
        expected = module(**BATCHES[3]).logits
        module.model.layers[1].mlp.down_proj.weight.mul_(3.0)
        assert not torch.allclose(module(**BATCHES[3]).logits, expected)
        module = executor.load(recipe).module
        assert torch.equal(module(**BATCHES[3]).logits, expected)
        module.half()
        assert executor.load(recipe).module.dtype == torch.float32


def test_a_nested_recipe_merged_anew_is_not_taken_for_the_old_one(donors):
    first, second = map(str, donors("llama"))

    def recipe(weight):
        mix = {
            "merge_method": "linear",
            "models": [
                {"model": first, "parameters": {"weight": weight}},
                {"model": second, "parameters": {"weight": 1 - weight}},
            ],
            "parameters": {"normalize": False},
        }
        return path_recipe([mix, second], [(0, 0), (1, 1), (0, 3)])

    cached, plain = PathExecutor(MergeEngine()), PathExecutor(MergeEngine(), cache_bytes=0)
    for weight in (0.3, 0.6, 0.3):
        modules = [executor.load(recipe(weight)).module for executor in (cached, plain)]
        with torch.inference_mode():
            got, expected = (module(**BATCHES[0]).logits for module in modules)
        assert torch.equal(got, expected)
    # The same weight a second time: all three hops of 18 tokens are known.
    assert cached.count.reused == 54


def state(n_bytes):
    return State(torch.zeros(n_bytes, dtype=torch.uint8), None)


def fill(cache, root, path, n_bytes=10):
    """Look a path up and keep what is missing, as a pass does; return how much was known."""
    keys = prefix_keys(root, path)
    known = len(cache.longest(keys))
    for depth in range(known, len(keys)):
        if not cache.keep(keys[depth], depth, state(n_bytes)):
            break
    return known


def test_the_deepest_states_go_first():
    cache = PrefixCache(40)
    fill(cache, b"batch", "abcd")
    cache.next_candidate()
    assert fill(cache, b"batch", "axy") == 1  # 'abcd' goes for 'ax'; 'axy' is as deep as 'abc'
    assert cache.used_bytes == 40
    assert [len(cache.longest(prefix_keys(b"batch", p))) for p in ("abcd", "axy")] == [3, 2]


def test_what_no_late_candidate_used_goes_before_the_deepest():
    cache = PrefixCache(40)
    fill(cache, b"batch", "ab")
    for _ in range(20):
        cache.next_candidate()
        fill(cache, b"batch", "cd")
    fill(cache, b"batch", "cdefg")
    assert [len(cache.longest(prefix_keys(b"batch", p))) for p in ("ab", "cdefg")] == [0, 4]


def test_batches_of_one_candidate_do_not_push_one_another_out():
    cache = PrefixCache(60)
    for _ in range(3):
        cache.next_candidate()
        known = [fill(cache, root, "abcdef") for root in (b"first", b"second", b"third")]
    assert known == [2, 2, 2]


def test_what_is_too_large_or_unwanted_is_not_kept():
    cache = PrefixCache(5)
    assert fill(cache, b"batch", "ab") == 0
    assert len(cache) == 0
    none = PrefixCache(0)
    assert not none.keep(b"key", 0, state(1))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("pqr"), st.text("ab", min_size=1, max_size=6))))
def test_the_budget_holds_and_prefixes_stay_whole(passes):
    cache = PrefixCache(70)
    for number, (root, path) in enumerate(passes):
        if number % 2:
            cache.next_candidate()
        fill(cache, root.encode(), path)
        assert cache.used_bytes == 10 * len(cache) <= 70
        kept = set(cache._kept)
        for root_, path_ in passes:
            found = [key in kept for key in prefix_keys(root_.encode(), path_)]
            assert found == sorted(found, reverse=True)


def test_a_pass_that_fails_holds_nothing(recipe_of):
    executor = PathExecutor(MergeEngine())
    module = executor.load(recipe_of("llama", [(0, 0), (1, 1)])).module
    with torch.inference_mode():
        module(**BATCHES[0])
    executor.cache.keep = lambda *_: 1 / 0
    states = [weakref.ref(kept.state.hidden) for kept in executor.cache._kept.values()]
    longer = executor.load(recipe_of("llama", [(0, 0), (1, 1), (0, 2)])).module
    with torch.inference_mode(), pytest.raises(ZeroDivisionError):
        longer(**BATCHES[0])
    executor.cache._kept.clear()
    gc.collect()
    assert len(states) == 2
    assert [one() for one in states] == [None, None]
    assert longer is not None
