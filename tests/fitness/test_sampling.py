"""Sampled answers: the right distribution, and the same answers however they are asked for."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from evomerge.errors import FitnessError
from evomerge.fitness.sampling import Sampler, uniforms

from .tiny import merged_model

PROMPTS = ["1+1=", "what is 22 * 3?", "a", "12-7=", "Say: ", "zzzzzz", "9 9 9 9 9 9 9 9"]


@pytest.fixture
def model(llama, tokenizer):
    return merged_model(llama, tokenizer)


def test_answers_depend_on_neither_order_batch_size_nor_neighbours(model):
    options = {"n": 3, "temperature": 1.5, "seed": 4, "max_new_tokens": 10}
    whole = dict(zip(PROMPTS, model.sample(PROMPTS, **options), strict=True))
    assert len({text for texts in whole.values() for text in texts}) > len(PROMPTS)
    for batch_size in (1, 5):
        shuffled = PROMPTS[::-1]
        again = model.sample(shuffled, batch_size=batch_size, **options)
        assert dict(zip(shuffled, again, strict=True)) == whole
    (alone,) = model.sample(PROMPTS[3:4], **options)
    assert alone == whole[PROMPTS[3]]


def test_fewer_or_shorter_samples_begin_the_same(model):
    five = model.sample(PROMPTS, n=5, max_new_tokens=8, temperature=2.0)
    two = model.sample(PROMPTS, n=2, max_new_tokens=8, temperature=2.0)
    assert [texts[:2] for texts in five] == two
    short = model.sample(PROMPTS, n=2, max_new_tokens=4, temperature=2.0)
    assert all(
        longer.startswith(text)
        for texts, others in zip(short, two, strict=True)
        for text, longer in zip(texts, others, strict=True)
    )
    assert model.sample(PROMPTS, n=2, max_new_tokens=8, temperature=2.0, seed=1) != two


def test_a_cold_sample_is_the_greedy_answer(model):
    cold = model.sample(PROMPTS, n=2, temperature=1e-6, max_new_tokens=8)
    greedy = model.generate(PROMPTS, max_new_tokens=8)
    assert cold == [[text, text] for text in greedy]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9), (1.3, 0.5)])
def test_tokens_have_the_chances_that_transformers_gives_them(temperature, top_p):
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(1)) * 2
    warped = TemperatureLogitsWarper(temperature)(None, logits)
    wanted = TopPLogitsWarper(top_p)(None, warped).softmax(-1)[0].double().numpy()
    n = 20_000
    draws = np.random.default_rng(0).random((n, 1))
    sampler = Sampler(draws, temperature=temperature, top_p=top_p)
    tokens = sampler(logits.expand(n, -1), range(n), 0)
    counts = np.bincount(tokens.numpy(), minlength=12)
    assert not counts[wanted == 0].any()
    kept = wanted > 0
    assert chisquare(counts[kept], n * wanted[kept] / wanted[kept].sum()).pvalue > 1e-4


def test_draws_are_uniform_and_unrelated():
    prompts = [(1, number) for number in range(50)]
    table = np.stack([uniforms(prompts, [j] * 50, 7, 40) for j in range(5)])
    bins = np.histogram(table, bins=20, range=(0, 1))[0]
    assert chisquare(bins).pvalue > 1e-4
    flat = table.reshape(250, 40)
    correlations = np.corrcoef(flat)[np.triu_indices(250, 1)]
    assert abs(correlations.mean()) < 0.01
    distinct = collections.Counter(map(tuple, flat.tolist()))
    assert max(distinct.values()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be positive"),
        ({"temperature": 0.0}, "generate answers greedily"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"batch_size": 0}, "batch_size"),
        ({"stop": [""]}, "empty stop"),
    ],
)
def test_options_out_of_range_are_refused(model, options, message):
    with pytest.raises(FitnessError, match=message):
        model.sample(["a"], **options)


def test_stop_texts_end_samples(model):
    whole = model.sample(PROMPTS, n=4, max_new_tokens=10, temperature=1.5)
    mark = collections.Counter(itertools.chain(*itertools.chain(*whole))).most_common(1)[0][0]
    cut = model.sample(PROMPTS, n=4, max_new_tokens=10, temperature=1.5, stop=[mark])
    assert cut == [[text.split(mark)[0] for text in texts] for texts in whole]
