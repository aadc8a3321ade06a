"""Finding and binding callbacks before a run: what is wrong is said in the evening."""

import importlib.util

import pytest

from evomerge.callbacks import build_callback, check_callback
from evomerge.errors import MissingExtra, PluginError

MINE = """
class Show:
    def __init__(self, every: int = 1):
        self.every = every

    def trial(self, trial): ...


class Nothing:
    pass


def say(trial, words: str = "", times: int = 1):
    LOG.append((trial, words, times))


LOG = []
number = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("tensorbord", {}, "did you mean 'tensorboard'?"),
        ("./mine.py:Shaw", {}, "did you mean 'Show'?"),
        ("./gone.py:Show", {}, "does not exist"),
        ("./mine.py:Show", {"evry": 2}, "'evry' is unknown; did you mean 'every'?"),
        ("./mine.py:Show", {"every": "often"}, "argument 'every'"),
        ("./mine.py:Nothing", {}, "expected a function of a finished trial, or a class with"),
        ("./mine.py:number", {}, "expected a function of a finished trial"),
        ("./mine.py:say", {"trial": 1}, "'trial' is unknown"),
        ("wandb", {"mode": "of"}, "argument 'mode'"),
        ("mlflow", {"uri": "x"}, "'uri' is unknown"),
    ],
)
def test_what_is_no_callback_is_refused_by_name(folder, name, args, words):
    with pytest.raises(PluginError, match=words.replace("?", r"\?")) as caught:
        check_callback(name, args, folder=folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_names_the_extra(monkeypatch, folder, name):
    check_callback(name, {}, folder=folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=rf"pip install 'evomerge\[{name}\]'"):
        check_callback(name, {}, folder=folder)


def test_a_function_gets_each_trial_and_its_arguments(folder):
    callback = build_callback("./mine.py:say", {"words": "done", "times": "2"}, folder=folder)
    callback.begin(None)
    callback.trial("a trial")
    callback.end(None)
    log = callback._function.__globals__["LOG"]
    assert log[-1] == ("a trial", "done", 2)


def test_a_class_is_built_with_its_arguments(folder):
    assert build_callback("./mine.py:Show", {"every": 5}, folder=folder).every == 5
