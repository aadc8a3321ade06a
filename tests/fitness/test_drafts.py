"""Drafts decide how many forward passes an answer takes, never what it is."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM

from evomerge.errors import FitnessError
from evomerge.fitness.decoding import decode
from evomerge.fitness.drafts import KEPT, LONGEST, Drafts
from tests.fitness.tiny import tiny_module

CPU = torch.device("cpu")
VOCABULARY = 70
prompts = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=9)
answers = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)


@cache
def module_of(family):
    return tiny_module(family)  # in float64, so that only a wrong computation differs


def answered(module, rows, drafts=None, *, most=12, batch_size=4, eos=(), **options):
    return decode(
        module,
        rows,
        max_new_tokens=most,
        batch_size=batch_size,
        eos=frozenset(eos),
        device=CPU,
        drafts=drafts,
        **options,
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@settings(max_examples=40)
@given(data=st.data(), shrink=st.booleans(), batch_size=st.integers(1, 5))
def test_answers_are_those_of_plain_decoding_whatever_the_drafts(family, data, shrink, batch_size):
    module = module_of(family)
    rows = data.draw(st.lists(prompts, min_size=1, max_size=5))
    eos = data.draw(st.sets(st.integers(0, VOCABULARY - 1), max_size=20))
    ending = data.draw(st.sets(st.integers(0, VOCABULARY - 1), max_size=10))
    options = {
        "eos": eos,
        "batch_size": batch_size,
        "shrink": shrink,
        "stops": (lambda written: written[-1] in ending) if ending else None,
    }
    plain = answered(module, rows, **options)
    drafts = Drafts()
    for row, answer in zip(rows, plain, strict=True):
        for _ in range(data.draw(st.integers(0, 3))):  # right for a while, then anything
            right = data.draw(st.integers(0, len(answer)))
            drafts.keep(row, [*answer[:right], *data.draw(answers)])
    assert answered(module, rows, drafts, **options) == plain
    assert answered(module, rows, drafts, **options) == plain  # now from its own answers


def test_a_known_answer_takes_one_pass_and_a_wrong_token_one_more():
    module = module_of("llama")
    widths = []
    module.register_forward_pre_hook(
        lambda _module, _args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    rows = [[1, 9, 12, 7], [1, 30, 4, 4]]
    drafts = Drafts()
    (first, second) = answered(module, rows, drafts)
    assert widths == [4] + [1] * 11
    del widths[:]
    answered(module, rows, drafts)
    assert widths == [4 + 11]  # the twelfth token needs no draft
    wrong = (first[5] + 1) % VOCABULARY
    fresh = Drafts()
    fresh.keep(rows[0], [*first[:5], wrong, *first[6:]])
    fresh.keep(rows[1], second)
    fresh.keep(rows[0], first[:1])  # the latest, used up at once
    del widths[:]
    assert answered(module, rows, fresh) == [first, second]
    # Two tokens on, the older answer is tried; after its wrong one there is none.
    assert widths == [4 + 11, 1 + 9, *([1] * 6)]
    module._forward_pre_hooks.clear()


def test_the_latest_answer_that_fits_goes_on():
    drafts = Drafts()
    assert drafts.rest((1, 2), (), 9) == ()
    drafts.keep((1, 2), (5, 6, 7))
    drafts.keep((1, 2), (5, 8))
    assert drafts.rest([1, 2], [], 9) == (5, 8)
    assert drafts.rest([1, 2], [5, 6], 9) == (7,)
    assert drafts.rest([1, 2], [5, 6, 7], 9) == ()
    assert drafts.rest([1, 2], [4], 9) == ()
    assert drafts.rest([1], [], 9) == ()
    drafts.keep((1, 2), (5, 6, 7))
    assert drafts.rest([1, 2], [], 9) == (5, 6, 7)
    assert drafts.rest([1, 2], [], 2) == (5, 6)


def test_few_answers_are_remembered_and_few_tokens_checked_at_once():
    drafts = Drafts()
    for number in range(KEPT + 1):
        drafts.keep((1,), (number, *range(2 * LONGEST)))
    assert drafts.rest((1,), (0,), 9) == ()  # the oldest went
    assert drafts.rest((1,), (1,), 9) == tuple(range(9))
    assert drafts.rest((1,), (1,), 1000) == tuple(range(LONGEST))


def test_a_cache_that_forgets_by_position_is_refused():
    module = MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            sliding_window=4,
        )
    ).eval()
    with pytest.raises(FitnessError, match=r"MistralForCausalLM .* remove drafts"):
        answered(module, [[1, 2, 3]], Drafts())
