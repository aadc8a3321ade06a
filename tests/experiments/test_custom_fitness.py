"""The worked examples of fitnesses: the page shows the files, and every command of it runs."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from evomerge.cli.app import main

pytest.importorskip("sklearn")

FOLDER = Path(__file__).parents[2] / "experiments" / "custom_fitness"
README = (FOLDER / "README.md").read_text()
FILES = re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)```$", README, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```bash\n(.*?)```$", README, re.MULTILINE | re.DOTALL)
FAST = [
    *("--set", "workers.backend=inline", "--set", "workers.threads=1"),
    *("--set", "search.optimizer=random", "--set", "budget.trials=4"),
    *("--set", "front.lambdas=[0.5]"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "study", ignore=shutil.ignore_patterns("models", "runs"))
    monkeypatch.chdir(tmp_path / "study")
    torch.set_num_threads(1)
    return tmp_path / "study"


def command(line, monkeypatch, capsys):
    """Run one line of the page; returns what it printed."""
    capsys.readouterr()
    program, *arguments = shlex.split(line)
    if program == "python":
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
        return capsys.readouterr().out
    if arguments[0] == "run":
        arguments += FAST
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert (program, ended.value.code) == ("evomerge", 0), captured.err
    return captured.out


def test_the_page_shows_the_files_as_they_are():
    assert {name for name, _ in FILES} == {
        "closeness.py", "texts.yaml", "accuracy.py", "digits.yaml",
        "judge.py", "judge.yaml", "programs.py", "programs.yaml",
    }  # fmt: skip
    for name, text in FILES:
        assert text == (FOLDER / name).read_text(), name


def test_every_snippet_of_code_is_a_file():
    fences = len(re.findall(r"^```", README, re.MULTILINE)) // 2
    assert fences == len(FILES) + len(BLOCKS)
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS, ids=["texts", "digits", "judge", "programs"])
def test_every_command_runs(block, folder, monkeypatch, capsys):
    outputs = [command(line, monkeypatch, capsys) for line in block.strip().splitlines()]
    (run,) = (folder / "runs").iterdir()
    front = json.loads(command(f"evomerge front {run} --json", monkeypatch, capsys))
    scores = {row["name"]: row["holdout"] for row in front["front"] + front["baselines"]}
    first, second = (one["name"] for one in front["objectives"])
    donors = [name for name in scores if name.startswith("donor:")]
    for objective in (first, second):
        best = max(scores[name][objective]["score"] for name in donors)
        assert best > scores["base"][objective]["score"] + 0.05  # the fitness tells them apart
        assert scores["base"][objective]["items"] >= 20  # item by item
    if "export" in block:
        classifier_is_the_merged_one(folder, run)
        assert "wrote classifier" in outputs[-1]


def classifier_is_the_merged_one(folder, run):
    """Its logits are those of the model in memory, and its accuracy is what was reported."""
    from transformers import ViTForImageClassification  # noqa: PLC0415

    from evomerge.journal.examples import read_examples  # noqa: PLC0415
    from evomerge.merging import MergeEngine, load_resident  # noqa: PLC0415
    from evomerge.recipe.files import load  # noqa: PLC0415

    exported = ViTForImageClassification.from_pretrained(folder / "classifier").eval()
    recipe = load(folder / "classifier" / "evomerge_recipe.yaml")
    resident = load_resident(MergeEngine(), recipe)
    assert resident.tokenizer is None
    digits = runpy.run_path(str(folder / "digits.py"))
    for name in ("low", "high"):
        items = digits[f"{name}_search"]()
        images = torch.tensor([item["pixels"] for item in items])
        with torch.no_grad():
            logits = exported(pixel_values=images).logits
            assert torch.equal(logits, resident.module(pixel_values=images).logits)
        labels = torch.tensor([item["label"] for item in items])
        hits = (logits.argmax(-1) == labels).tolist()
        reported = read_examples(run, "examples/trial-000003.search.json.gz")[name]
        assert [reported[item["id"]] for item in items] == hits
