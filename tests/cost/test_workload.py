"""Which forward passes a fitness asks for."""

from __future__ import annotations

import pytest

from evomerge.cost.forward import Workload
from evomerge.cost.workload import Tokens, asked
from evomerge.fitness import check_fitness
from tests.fitness.tiny import character_tokenizer

ITEMS = [
    {"id": "1", "prompt": "12+3=", "answer": "15", "choices": ["15", "116"]},
    {"id": "2", "prompt": "7-1=", "answer": ["6", "six"], "choices": ["6", "7"]},
]
OWN = """
def score(model, max_new_tokens: int = 20, prompt_field: str = "prompt"):
    return 1.0


def read(model):
    return 1.0
"""


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "own.py").write_text(OWN)

    def asker(name, *, tokens=None, usual=None, items=ITEMS, **arguments):
        fitness = check_fitness(name, arguments, folder=tmp_path)
        counter = tokens or Tokens(character_tokenizer())
        return asked("x", fitness, items, counter, answer_tokens=usual)

    return asker


def test_exact_match_writes_one_token_more_than_it_wants(ask):
    found = ask("exact_match", batch_size=5)
    # a beginning-of-text token and one token a character
    assert found.workload == Workload("x", (6, 5), new_tokens=4, batch_size=5)
    assert found.assumptions == ()


def test_a_limit_without_usual_answers_is_said_to_be_reached(ask):
    found = ask("exact_match", max_new_tokens=30)
    assert found.workload.usual == 30
    assert found.assumptions == (
        "x: every answer is taken to have 30 tokens, the most it may; "
        "give --answer-tokens for usual ones",
    )
    assert ask("exact_match", max_new_tokens=30, usual=12).workload.usual == 12
    assert ask("exact_match", max_new_tokens=30, usual=99).workload.usual == 30


def test_likelihoods_are_read_and_not_written(ask):
    found = ask("negative_log_likelihood", items=ITEMS[:1])
    assert found.workload == Workload("x", (8,), scored=2)
    choices = ask("multiple_choice")
    assert choices.workload == Workload("x", (8, 9, 6, 6), scored=3)


def test_distances_make_no_forward_pass(ask):
    found = ask("l2_distance")
    assert found.workload is None
    assert found.assumptions == ("x: l2_distance reads weights only, no forward pass",)


def test_a_fitness_of_ones_own_is_taken_at_its_parameters(ask):
    found = ask("./own.py:score", max_new_tokens=9)
    assert found.workload == Workload("x", (6, 5), new_tokens=9)
    assert "is taken to generate once from field 'prompt'" in found.assumptions[0]
    silent = ask("./own.py:read", items=ITEMS[:1])
    assert silent.workload == Workload("x", (9,))
    assert "to write nothing" in silent.assumptions[0]
    nothing = ask("./own.py:read", items=[])
    assert nothing.workload is None
    assert "not counted" in nothing.assumptions[0]


def test_without_a_tokenizer_bytes_are_counted():
    tokens = Tokens(None)
    assert not tokens.estimated
    assert tokens.count(["", "abc", "abcd", "日本"]) == (1, 1, 2, 2)
    assert tokens.estimated
