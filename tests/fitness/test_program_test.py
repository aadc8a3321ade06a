"""Scores of programs: what passes, what is estimated from samples, what is refused."""

from __future__ import annotations

import itertools
import sys

import pytest

from evomerge.errors import DataError, FitnessError
from evomerge.fitness import build_fitness
from evomerge.fitness.pass_at_k import pass_at_k

from .tiny import merged_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

HUMAN_EVAL = {
    "id": "add",
    "prompt": "def add(a, b):\n",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5",
    "entry_point": "add",
}
MBPP = {"id": "twice", "prompt": "Write twice.", "test": ["assert twice(2) == 4", "assert twice"]}


def score(answers, items, tmp_path, **arguments):
    """Score answers that a model is made to give: prompt to its samples."""
    model = merged_model(items=items)
    asked = {}

    def generate(prompts, **options):
        asked.update(options)
        return [answers[prompt][0] for prompt in prompts]

    def sample(prompts, *, n, **options):
        asked.update(options, n=n)
        return [answers[prompt][:n] for prompt in prompts]

    model.generate, model.sample = generate, sample
    metric = arguments.pop("metric", None)
    bound = build_fitness("program_test", arguments, metric=metric, folder=tmp_path)
    return *bound.score(model), asked


def test_a_function_that_the_prompt_began(tmp_path):
    items = [HUMAN_EVAL, HUMAN_EVAL | {"id": "again", "prompt": "def add(b, a):\n"}]
    answers = {items[0]["prompt"]: ["    return a + b"], items[1]["prompt"]: ["    return a - b"]}
    value, examples, notes, asked = score(
        answers, items, tmp_path, entry_point_field="entry_point", max_new_tokens=40
    )
    assert value == 0.5
    assert examples == {"add": 1.0, "again": 0.0}
    assert notes == {"timed_out": 0.0}
    assert asked["max_new_tokens"] == 40
    assert "\ndef " in asked["stop"]


def test_a_program_in_a_fence(tmp_path):
    text = "Sure:\n```python\ndef twice(x):\n    return 2 * x\n```\nThat is it."
    options = {"program": "{completion}", "fenced": True}
    value, _, _, asked = score({MBPP["prompt"]: [text]}, [MBPP], tmp_path, **options)
    assert (value, asked["stop"]) == (1.0, ())
    bare = {MBPP["prompt"]: ["def twice(x): return 2 * x"]}
    assert score(bare, [MBPP], tmp_path, **options)[0] == 1.0


def test_fields_of_the_item_in_the_program(tmp_path):
    item = {"id": "a", "prompt": "p", "head": "x = {1: 2}[1]", "test": "assert y == 3"}
    value, *_ = score({"p": ["x + 1"]}, [item], tmp_path, program="{head}\ny = {completion}")
    assert value == 1.0
    with pytest.raises(DataError, match="field 'tail' is missing"):
        score({"p": ["1"]}, [item], tmp_path, program="{completion}{tail}")


def test_samples_are_estimated_without_bias(tmp_path):
    right, wrong = "    return a + b", "    return 0"
    answers = {HUMAN_EVAL["prompt"]: [right, wrong, wrong, right, wrong]}
    value, examples, notes, asked = score(
        answers, [HUMAN_EVAL], tmp_path, entry_point_field="entry_point", samples=5, metric="pass@2"
    )
    subsets = list(itertools.combinations([1, 0, 0, 1, 0], 2))
    assert value == pytest.approx(sum(map(any, subsets)) / len(subsets))
    assert examples == {"add": value}
    assert notes == {"pass@1": pytest.approx(2 / 5), "timed_out": 0.0}
    assert (asked["n"], asked["temperature"], asked["top_p"]) == (5, 0.8, 0.95)


def test_what_takes_too_long_is_counted(tmp_path):
    answers = {HUMAN_EVAL["prompt"]: ["    while True: pass"]}
    value, _, notes, _ = score(
        answers, [HUMAN_EVAL], tmp_path, entry_point_field="entry_point", timeout_s=0.5
    )
    assert (value, notes["timed_out"]) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_subsets(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        passed = [1] * c + [0] * (n - c)
        subsets = list(itertools.combinations(passed, k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
    for wrong in ((n, n + 1, 1), (n, 0, 0), (n, 0, n + 1), (n, -1, 1)):
        with pytest.raises(ValueError, match="pass@k needs"):
            pass_at_k(*wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "pass@3", "samples": 2}, "k from 1 to samples"),
        ({"metric": "accuracy"}, "pass@k"),
        ({"program": "{prompt}"}, "must contain '{completion}'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, message, tmp_path):
    with pytest.raises(FitnessError, match=message):
        score({}, [HUMAN_EVAL], tmp_path, **arguments)


@pytest.mark.parametrize("test", ["", "  ", [], [1], None])
def test_items_without_tests_are_refused(test, tmp_path):
    with pytest.raises(DataError, match="item 'add': field 'test' must be code"):
        score({HUMAN_EVAL["prompt"]: ["x"]}, [HUMAN_EVAL | {"test": test}], tmp_path)
