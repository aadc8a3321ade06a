"""Drafts decide how many forward passes an answer takes, never what it is."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    FalconH1Config,
    FalconH1ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from evomerge.errors import FitnessError
from evomerge.fitness.decoding import decode
from evomerge.fitness.drafts import KEPT, LONGEST, Drafts, following
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
    module = tiny_module("llama")
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


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("shrink", [True, False])
def test_a_row_that_ended_does_not_run_out_of_positions(family, shrink):
    module = module_of(family)  # it has 64 positions
    rows = [[1, *range(5, 34)], [1, 40, 7], [1, 9, 12]]
    plain = answered(module, rows, most=34)
    ended = plain[0][24]
    options = {
        "most": 34,
        "shrink": shrink,
        "stops": lambda written: len(written) == 25 and written[-1] == ended,
    }
    expected = answered(module, rows, **options)
    assert [len(answer) for answer in expected] == [25, 34, 34]
    drafts = Drafts()
    drafts.keep(rows[0], plain[0][:20])
    assert answered(module, rows, drafts, **options) == expected


@pytest.mark.parametrize("most", [0, 1])
def test_answers_of_no_or_one_token(most):
    rows = [[1, 9], [1, 7, 5]]
    drafts = Drafts()
    for _ in range(2):
        found = answered(module_of("llama"), rows, drafts, most=most)
        assert found == answered(module_of("llama"), rows, most=most)


def test_the_latest_answer_that_fits_goes_on():
    drafts = Drafts()
    assert following(drafts.of((1, 2)), [], 9) == ()
    drafts.keep((1, 2), (5, 6, 7))
    drafts.keep((1, 2), (5, 8))
    assert drafts.of([1, 2]) == [(5, 8), (5, 6, 7)]
    assert drafts.of([1]) == []
    known = drafts.of((1, 2))
    assert following(known, [], 9) == (5, 8)
    assert following(known, [5, 6], 9) == (7,)
    assert following(known, [5, 6, 7], 9) == ()
    assert following(known, [4], 9) == ()
    drafts.keep((1, 2), (5, 6, 7))
    assert following(drafts.of([1, 2]), [], 9) == (5, 6, 7)
    assert following(drafts.of([1, 2]), [], 2) == (5, 6)


def test_few_answers_are_remembered_and_few_tokens_checked_at_once():
    drafts = Drafts()
    for number in range(KEPT + 1):
        drafts.keep((1,), (number, *range(2 * LONGEST)))
    known = drafts.of((1,))
    assert [answer[0] for answer in known] == [*range(KEPT, 0, -1)]  # the oldest went
    assert following(known, (1,), 1) == (0,)
    assert following(known, (1,), 1000) == tuple(range(LONGEST))


def test_drafts_are_for_greedy_decoding():
    with pytest.raises(ValueError, match="greedy"):
        answered(module_of("llama"), [[1]], Drafts(), choose=lambda logits, *_: logits.argmin(-1))


SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
REFUSED = {
    "sliding window": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4)),
    "attention and a recurrent state": lambda: FalconH1ForCausalLM(
        FalconH1Config(
            **SMALL,
            mamba_d_ssm=16,
            mamba_n_heads=2,
            mamba_d_head=8,
            mamba_d_state=4,
            mamba_n_groups=1,
            head_dim=8,
        )
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_cache_that_tokens_cannot_be_taken_back_from_is_refused(kind):
    module = REFUSED[kind]().eval()
    drafts = Drafts()
    drafts.keep([1, 2, 3], [4, 5])
    name = type(module).__name__
    with pytest.raises(FitnessError, match=f"{name} keeps no KV cache .* remove drafts"):
        answered(module, [[1, 2, 3]], drafts)


def test_a_model_without_positions_is_refused():
    class Positionless:
        def forward(self, input_ids, attention_mask, past_key_values):
            raise AssertionError

    module = Positionless()
    module.config = module_of("llama").config
    with pytest.raises(FitnessError, match="Positionless takes no position_ids; remove drafts"):
        answered(module, [[1]], Drafts())
