"""What a fitness says of itself: in the record of a run, for its workers, and for its proxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evomerge.errors import ConfigError, DataError
from evomerge.study import load_study
from evomerge.study.preparation import prepare
from evomerge.workers.evaluator import Evaluator

FITNESS = """
from pathlib import Path


class Listed:
    def __init__(self, words: Path):
        self.words = words

    def fingerprint(self):
        return {"the list of words": self.words.read_text()}

    def __call__(self, model):
        return 1.0


class Wrong(Listed):
    def fingerprint(self):
        return ["a", "b"]
"""
STUDY = """
name: small
models: {base: "zoo:base", donors: {flip: "zoo:flip"}}
space: task_arithmetic
objectives:
  own: {fitness: "./fit.py:Listed", words: one.txt}
  flip:
    fitness: exact_match
    search: "zoo:flip.search.jsonl"
    limit: 4
    proxy: {fitness: "./fit.py:Listed", words: two.txt}
search: {optimizer: random}
budget: {trials: 5}
rungs: {items: [2]}
workers: {backend: inline, threads: 1, device: cpu}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fit.py").write_text(FITNESS)
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def prepared(folder, *overrides):
    return prepare(load_study(folder / "study.yaml", overrides), folder)


def test_it_is_recorded_and_handed_to_the_workers(folder):
    study = prepared(folder)
    assert study.inputs["objectives.own: the list of words"] == "one"
    assert study.inputs["objectives.flip.proxy: the list of words"] == "two"
    own, flip = study.evaluator.objectives
    assert (own.fingerprint, flip.fingerprint) == ({"the list of words": "one"}, {})
    assert flip.proxy.fingerprint == {"the list of words": "two"}


@pytest.mark.parametrize(("name", "objective"), [("one", "own"), ("two", "flip")])
def test_a_worker_that_finds_another_does_not_start(folder, name, objective):
    study = prepared(folder)
    Evaluator(study.evaluator)
    (folder / f"{name}.txt").write_text("changed")
    with pytest.raises(DataError, match=f"objective '{objective}': the list of words is not what"):
        Evaluator(study.evaluator)


def test_a_worker_that_finds_more_does_not_start(folder):
    study = prepared(folder)
    own, *others = study.evaluator.objectives
    parts = (replace(own, fingerprint={}), *others)
    with pytest.raises(DataError, match="the list of words is not what the study was checked"):
        Evaluator(replace(study.evaluator, objectives=parts))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objectives.own.words=none.txt", r"fingerprint\(\) failed: .*none\.txt"),
        ("objectives.own.fitness=./fit.py:Wrong", r"fingerprint\(\) returned \['a', 'b'\]"),
    ],
)
def test_what_is_wrong_with_it_is_a_line(folder, override, message):
    with pytest.raises(ConfigError, match=rf"^objectives\.own: fitness '.*': {message}"):
        prepared(folder, override)
