"""A fitness from its name to its score: loading, binding, and what it may return."""

import math
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

import evomerge.fitness
from evomerge.errors import FitnessError, PluginError
from evomerge.fitness import FITNESSES, build_fitness, check_fitness

from .tiny import merged_model


@pytest.fixture
def source(tmp_path):
    """Write a user's file; returns a function that builds a fitness from it."""

    def build(code, attribute="fit", metric=None, **args):
        (tmp_path / "mine.py").write_text(textwrap.dedent(code))
        return build_fitness(f"./mine.py:{attribute}", args, metric=metric, folder=tmp_path)

    return build


def returning(source, value, *, metric=None, items=()):
    """Score with a fitness that returns `value`."""
    bound = source("def fit(model):\n    return model.recipe", metric=metric)
    model = merged_model(items=items)
    model.recipe = value
    return bound.score(model)


def test_ten_lines_are_a_fitness(source, llama, tokenizer):
    bound = source(
        """
        def brevity(model, prompt: str = "Say hello.", n: int = 4):
            return -sum(len(text) for text in model.generate([prompt], max_new_tokens=n))
        """,
        "brevity",
        n=3,
    )
    model = merged_model(llama, tokenizer)
    (said,) = model.generate(["Say hello."], max_new_tokens=3)
    assert bound.score(model) == (-len(said), {}, {})
    assert (bound.goal, bound.needs_items, bound.fields) == ("maximize", False, ())


def test_a_class_is_built_once_and_says_what_it_is(source):
    bound = source(
        """
        class Fit:
            goal, needs_items, fields, metric = "minimize", True, ("q",), "a"
            built = 0
            def __init__(self, scale: float):
                Fit.built += 1
                self.scale = scale
            def __call__(self, model):
                return {"a": self.scale * len(model.items), "built": self.built}
        """,
        "Fit",
        scale="1e-1",
    )
    model = merged_model(items=[{"id": "x"}, {"id": "y"}])
    assert bound.score(model) == bound.score(model) == (0.2, {}, {"built": 1.0})
    assert (bound.goal, bound.needs_items, bound.fields) == ("minimize", True, ("q",))


def test_checking_builds_nothing(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Fit:\n"
        "    def __init__(self): raise RuntimeError('built')\n"
        "    def __call__(self, model): return 0.0\n"
    )
    spec = check_fitness("./mine.py:Fit", {}, folder=tmp_path)
    with pytest.raises(RuntimeError, match="built"):
        spec.build()


def test_a_callable_object_and_a_module_attribute(tmp_path, source):
    bound = source("class C:\n    def __call__(self, model, k: int): return k\nfit = C()\n", k=2)
    assert bound.score(merged_model())[0] == 2
    named = build_fitness("evomerge.fitness.distance:DeltaSparsity", {}, folder=tmp_path)
    assert named.score(merged_model())[0] == 0.25


def test_entry_points_are_found(tmp_path, monkeypatch):
    point = EntryPoint("sparse", "evomerge.fitness.distance:DeltaSparsity", "evomerge.fitness")
    monkeypatch.setattr(
        "evomerge.registry.entry_points",
        lambda group: [point] if group == "evomerge.fitness" else [],
    )
    assert "sparse" in FITNESSES.names()
    assert build_fitness("sparse", {}, folder=tmp_path).score(merged_model())[0] == 0.25


def test_exceptions_of_a_fitness_pass_through(source):
    bound = source("def fit(model):\n    raise ZeroDivisionError('mine')")
    with pytest.raises(ZeroDivisionError, match="mine"):
        bound.score(merged_model())


def test_arguments_are_converted_to_annotations(source):
    bound = source(
        """
        from __future__ import annotations
        from pathlib import Path
        from typing import TYPE_CHECKING, Literal
        if TYPE_CHECKING:
            from somewhere import Merged, Special

        def fit(model: Merged, rate: float, names: tuple[str, ...], file: Path, flag: bool,
                mode: Literal["a", "b"], odd: Special, free=None, *, last: int | None = 3):
            assert rate == 1e-4 and type(rate) is float
            assert names == ("x", "y") and file.is_absolute() and file.name == "data.txt"
            assert flag is True and mode == "b" and odd == [1] and free == {"k": 1} and last is None
            return 1.0
        """,
        rate="1e-4",
        names=["x", "y"],
        file="data.txt",
        flag=True,
        mode="b",
        odd=[1],
        free={"k": 1},
        last=None,
    )
    assert bound.score(merged_model())[0] == 1.0


def test_var_keywords_take_what_they_are_given(source):
    bound = source("def fit(model, **scores):\n    return sum(scores.values())", a=1, b=2)
    assert bound.score(merged_model())[0] == 3


def test_a_metric_parameter_receives_the_objectives_metric(source):
    code = "def fit(model, metric='none'):\n    return {metric: 1, 'other': 2}"
    assert source(code, metric="mine").score(merged_model()) == (1.0, {}, {"other": 2.0})


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        ("def fit(model, scale=1): ...", {"scal": 2}, "'scal' is unknown; did you mean 'scale'"),
        ("def fit(model): ...", {"scale": 2}, "'scale' is unknown; it takes none"),
        ("def fit(model): ...", {"model": 2}, "'model' is unknown"),
        ("def fit(model, scale): ...", {}, "'scale' is missing"),
        ("def fit(model, *, scale): ...", {}, "'scale' is missing"),
        ("def fit(model, scale, /): ...", {}, "'scale' is positional-only"),
        ("def fit(model, n: int): ...", {"n": "many"}, "'n': .*integer.*, got 'many'"),
        ("def fit(model, n: int): ...", {"n": 1.5}, "'n': .*integer.*, got 1.5"),
        ("def fit(model, n: float): ...", {"n": float("nan")}, "'n': .*finite.*, got nan"),
        ("def fit(model, n: str): ...", {"n": 1}, "'n': .*string.*, got 1"),
        ("def fit(model, n: bool): ...", {"n": "maybe"}, "'n': .*boolean.*, got 'maybe'"),
        ("def fit(model, n: list[int]): ...", {"n": 3}, "'n': .*list.*, got 3"),
        ("class X: ...\ndef fit(model, n: X): ...", {"n": 3}, "study file cannot give"),
        ("def fit(): ...", {}, "takes no model"),
        ("def fit(*, model): ...", {}, "takes no model"),
        ("fit = 5", {}, "is a int; expected a function"),
        ("class fit: ...", {}, "has no __call__"),
        (
            "class fit:\n    def together(self): ...\n    def __call__(self, model): ...",
            {},
            r"has together\(\) and no classmethod score_together\(cls, fitnesses, models\)",
        ),
        ("def fit(model): ...\nfit.goal = 'up'", {}, "goal must be maximize or minimize"),
    ],
)
def test_what_cannot_be_bound(source, code, args, message):
    with pytest.raises(FitnessError, match=message) as caught:
        source(code, **args)
    assert str(caught.value).startswith("fitness './mine.py:fit'")
    assert "\n" not in str(caught.value)


def test_builtin_arguments_are_checked_before_the_run(tmp_path):
    with pytest.raises(FitnessError, match="did you mean 'max_new_tokens'"):
        check_fitness("exact_match", {"max_tokens": 4}, folder=tmp_path)
    with pytest.raises(FitnessError, match=r"'metric': .*'accuracy' or 'accuracy_norm'"):
        check_fitness("multiple_choice", {}, metric="acc", folder=tmp_path)
    with pytest.raises(FitnessError, match=r"'batch_size': .*greater than 0"):
        check_fitness("exact_match", {"batch_size": 0}, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exact_mach", "did you mean 'exact_match'"),
        ("./none.py:fit", "does not exist"),
        ("evomerge.fitness.nothing:fit", "cannot be imported"),
    ],
)
def test_unknown_names(tmp_path, name, message):
    with pytest.raises(PluginError, match=message):
        check_fitness(name, {}, folder=tmp_path)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.float64(2), np.int64(2)])
def test_numbers_that_are_scores(source, value):
    score, examples, notes = returning(source, value)
    assert (score, examples, notes) == (2.0, {}, {})
    assert type(score) is float


def test_the_studys_metric_is_picked(source):
    assert returning(source, {"a": 1, "b": 2}, metric="b") == (2.0, {}, {"a": 1.0})
    assert returning(source, {"a": 1}) == (1.0, {}, {})


def test_examples_are_checked_against_the_items(source):
    items = [{"id": "x"}, {"id": "y"}]
    result = evomerge.fitness.FitnessResult({"a": 0.5}, {"x": 1, "y": np.float32(0)})
    assert returning(source, result, items=items) == (0.5, {"x": 1.0, "y": 0.0}, {})
    stray = evomerge.fitness.FitnessResult({"a": 0.5}, {"z": 1})
    assert returning(source, stray) == (0.5, {"z": 1.0}, {})
    with pytest.raises(
        FitnessError, match="item 'z', which is not among the 2 items of the search"
    ):
        returning(source, stray, items=items)


class Result:
    """Stands for FitnessResult in the parameters below, for shorter lines."""

    def __new__(cls, metrics, examples=None):
        return evomerge.fitness.FitnessResult(metrics, {} if examples is None else examples)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "returned nan; scores must be finite"),
        (-math.inf, "returned -inf; scores must be finite"),
        (np.float32("nan"), "returned nan"),
        (None, r"returned None \(NoneType\); expected a number"),
        ("0.5", r"returned '0.5' \(str\)"),
        (True, r"returned True \(bool\)"),
        (np.bool_(True), r"returned .*True.* \(bool\)"),
        (torch.tensor(1.0), r"returned tensor\(1\.\) \(Tensor\)"),
        ([1.0], r"returned \[1.0\] \(list\)"),
        (1j, "complex"),
        ({}, "returned no metric at all"),
        ({"a": 1, "b": 2}, "returned a, b; say which one is optimised with 'metric'"),
        ({"a": math.nan}, "returned for metric 'a' nan"),
        ({"a": None}, "returned for metric 'a' None"),
        ({1: 2.0}, "expected a mapping from names to numbers"),
        (Result(0.5), "returned metrics 0.5; expected a mapping"),
        (Result({"a": 1}, [1]), r"returned examples \[1\]; expected a mapping"),
        (Result({"a": 1}, {"x": math.inf}), "returned for item 'x' inf"),
        (Result({"a": 1}, {3: 1.0}), "returned examples"),
    ],
)
def test_what_is_not_a_score(source, value, message):
    with pytest.raises(FitnessError, match=message) as caught:
        returning(source, value)
    assert str(caught.value).startswith("fitness './mine.py:fit'")
    assert "\n" not in str(caught.value)


def test_a_metric_that_is_not_there(source):
    with pytest.raises(FitnessError, match="no metric 'acuracy'; did you mean 'accuracy'"):
        returning(source, {"accuracy": 1, "f1": 2}, metric="acuracy")


def test_public_names_exist_and_importing_them_loads_no_back_end():
    for name in evomerge.fitness.__all__:
        assert hasattr(evomerge.fitness, name)
    code = (
        "import sys, evomerge.fitness; from pathlib import Path\n"
        "for name in evomerge.fitness.FITNESSES.names():\n"
        "    args = {'tasks': 'gsm8k'} if name == 'lm_eval' else {}\n"
        "    evomerge.fitness.check_fitness(name, args, folder=Path())\n"
        "heavy = {'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
