"""Generating with a path: key/value cache per hop, sliding windows, left padding, batches."""

from __future__ import annotations

import random

import pytest
import torch

from evomerge.fitness.batches import cache_keyword
from evomerge.fitness.decoding import decode
from evomerge.fitness.likelihood import log_likelihoods
from evomerge.merging import MergeEngine, PathExecutor
from tests.merging.layer_path.families import FAMILIES, WINDOW

CPU = torch.device("cpu")
N_NEW = 4
# Layers of both donors, repeated, out of order; each family has sliding and full ones among them.
HOPS = [(0, 0, 0.9), (1, 1, 1.1), (0, 1, 1.0), (0, 1, 0.8), (1, 2, 1.0), (1, 2, 1.2), (0, 3, 1.0)]
draw = random.Random(0)
# Shorter and longer than the window, so that padding, windows and cached windows all matter.
PROMPTS = [[draw.randrange(3, 64) for _ in range(n)] for n in (3, 9, 13, 6)]


def recomputed(module, prompt):
    """Decode one prompt without padding and without a key/value cache."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(N_NEW):
            output = module(torch.tensor([tokens]), use_cache=False)
            tokens.append(int(output.logits[0, -1].argmax()))
    return tokens[len(prompt) :]


CASES = [(family, "delta") for family in FAMILIES] + [("llama", "full"), ("gemma3_text", "full")]


@pytest.mark.parametrize(("family", "scaling"), CASES)
def test_cache_padding_and_batch_change_no_token(family, scaling, recipe_of):
    recipe = recipe_of(family, HOPS, scaling)
    assert max(map(len, PROMPTS)) > WINDOW
    plain, reusing = PathExecutor(MergeEngine(), cache_bytes=0), PathExecutor(MergeEngine())
    module = plain.load(recipe).module
    expected = [recomputed(module, prompt) for prompt in PROMPTS]
    settings = {"max_new_tokens": N_NEW, "eos": frozenset(), "device": CPU}
    assert decode(module, PROMPTS, batch_size=4, **settings) == expected
    assert decode(module, PROMPTS, batch_size=1, **settings) == expected
    for _ in range(2):
        module = reusing.load(recipe).module
        assert decode(module, PROMPTS, batch_size=2, **settings) == expected
    assert reusing.count.reused == len(HOPS) * (13 * 2 + 6 * 2)  # every prompt, once
    assert len({tuple(answer) for answer in expected}) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_generate_of_transformers_gives_the_same_tokens(family, run):
    module = run(family, HOPS)
    module.generation_config.eos_token_id = None
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS])
    made = module.generate(ids, attention_mask=mask, max_new_tokens=N_NEW, do_sample=False)
    assert made[:, width:].tolist() == decode(
        module, PROMPTS, max_new_tokens=N_NEW, batch_size=2, eos=frozenset(), device=CPU
    )


def test_each_hop_fills_a_key_value_cache_of_its_own(run):
    module = run("llama", [(0, 2)] * 5)
    with torch.no_grad():
        cache = module(torch.tensor(PROMPTS[1:2]), use_cache=True)[cache_keyword(module)]
    assert len(cache.layers) == 5
    keys = [layer.keys for layer in cache.layers]
    assert all(key.shape == (1, 2, 9, 8) for key in keys)
    assert not any(torch.equal(keys[0], key) for key in keys[1:])


def test_windows_bound_the_cache_of_sliding_hops_only(run):
    module = run("gemma2", [(0, 0), (0, 1), (1, 2)])
    with torch.no_grad():
        cache = module(torch.tensor(PROMPTS[2:3]), use_cache=True)[cache_keyword(module)]
    assert [layer.keys.shape[-2] for layer in cache.layers] == [WINDOW - 1, 13, WINDOW - 1]


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_likelihoods_do_not_depend_on_the_batch(family, run):
    module = run(family, HOPS, dtype="float64")
    pairs = [(prompt[:-2], prompt[-2:]) for prompt in PROMPTS]
    together = log_likelihoods(module, pairs, batch_size=4, device=CPU)
    alone = log_likelihoods(module, pairs, batch_size=1, device=CPU)
    assert [score.tokens for score in together] == [2] * 4
    for one, other in zip(together, alone, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-5)
