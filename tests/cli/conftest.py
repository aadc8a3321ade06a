"""A small world for the command line: a base, two donors, items, a study file."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import yaml

from evomerge.cli.app import main
from tests.fitness.tiny import character_tokenizer, tiny_module
from tests.report import browser


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Tiny random Llamas with a character tokenizer."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    tokenizer = character_tokenizer()
    for seed, name in enumerate(("base", "first", "second")):
        tiny_module("llama", seed=seed, dtype=torch.float32).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    """A tab of a headless browser."""
    if browser.executable() is None:
        pytest.skip(f"no browser is installed; looked for {', '.join(browser.NAMES)}")
    folder = tmp_path_factory.mktemp("browser") / "profile"
    folder.mkdir()
    with browser.browsing(folder) as page:
        yield page


class World:
    """A study folder and the command line in it."""

    def __init__(self, folder, models, monkeypatch, capsys):
        self.folder = folder
        self.models = models
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.study = {
            "name": "tiny",
            "seed": 5,
            "models": {
                "base": str(models / "base"),
                "donors": {"first": str(models / "first"), "second": str(models / "second")},
            },
            "space": "task_arithmetic",
            "objectives": {
                "likely": {
                    "fitness": "negative_log_likelihood",
                    "search": "search.jsonl",
                    "holdout": "holdout.jsonl",
                },
                "near": {"fitness": "l2_distance", "goal": "minimize"},
            },
            "search": {"optimizer": "nsga2", "population": 6},
            "budget": {"trials": 12},
            "workers": {"backend": "inline", "threads": 1},
            "front": {"lambdas": [0.5], "size": 3},
        }
        for split, digits in (("search", "123456"), ("holdout", "789")):
            rows = [{"prompt": f"say {d}:", "answer": d} for d in digits]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split}.jsonl").write_text(lines)

    def write(self):
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(self.study, sort_keys=False))
        return path

    def __call__(self, *arguments):
        """Run `evomerge ...`; returns exit code, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["evomerge", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    def run(self, *arguments):
        return self("run", self.write(), "--out", self.folder / "run", *arguments)


@pytest.fixture
def world(tmp_path, models, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, models, monkeypatch, capsys)
