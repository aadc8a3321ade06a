"""Contexts that are computed once give what each row alone gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.fitness.lm_eval import LmEval
from evomerge.fitness.lm_eval.shared_contexts import choice_log_probabilities, context_batches
from tests.fitness.tiny import tiny_module

ALL = {"docs": [0, None]}


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_log_probabilities_are_those_of_whole_rows(family):
    module = tiny_module(family)  # in float64, so that only a wrong computation differs
    questions = [
        ((1, 9, 12, 7, 30), [(5,), (6, 8, 44), (5, 5)]),
        ((1, 20), [(11, 3, 2, 60), (11, 4)]),
        ((3, 3, 3), [(7,)]),
    ]
    found = iter(choice_log_probabilities(module, questions, torch.device("cpu")))
    for context, choices in questions:
        for choice in choices:
            row = torch.tensor([[*context, *choice]])
            expected = module(row).logits[0, len(context) - 1 : -1].log_softmax(-1)
            torch.testing.assert_close(next(found), expected, rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(1, 6), max_size=20), st.integers(1, 8))
def test_batches_hold_every_context_once_and_few_rows(sizes, batch_size):
    batches = list(context_batches(sizes, batch_size))
    assert [number for batch in batches for number in batch] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or sum(sizes[number] for number in batch) <= batch_size


@pytest.mark.parametrize("n_shown", [0, 1, 3])  # with three, contexts are too long and are cut
def test_scores_are_the_same(merges, tasks, n_shown):
    plain, shared = (
        LmEval("nested", "acc", include_path=tasks, num_fewshot=n_shown, share_contexts=share)
        for share in (False, True)
    )
    results = [merges[1].scored(one, one.list_items(ALL)) for one in (plain, shared)]
    assert results[0] == results[1]
