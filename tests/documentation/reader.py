"""What the readers of the pages have at hand: models, items, a finished run, named files."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from evomerge import zoo
from evomerge.cli.export import export_all
from evomerge.study import load_study, start_run
from tests.release.conftest import make_lora

from .pages import ROOT, blocks
from .typed import SMALLER

_STUDY = """\
name: my-study
seed: 7
models:
  base: ./llama
  donors: {math: ./llama-math-lora, code: ./llama-code-lora}
space: task_arithmetic
objectives:
  math: {fitness: negative_log_likelihood, search: math.jsonl, holdout: math_holdout.jsonl}
  code: {fitness: negative_log_likelihood, search: code.jsonl, holdout: code_holdout.jsonl}
search: {optimizer: random}
budget: {trials: 14, hours: 9}
workers: {backend: inline, threads: 1}
front: {lambdas: [0.5]}
"""
_TASK = """\
task: my_math
dataset_path: json
dataset_kwargs: {files}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [","], max_gen_toks: 10}}
filter_list:
  - name: strict-match
    filter: [{{function: regex, regex_pattern: "([a-z]+)"}}, {{function: take_first}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def provide_make(folder: Path) -> None:
    """Put the Makefile there, with an environment that is installed already."""
    shutil.copy2(ROOT / "Makefile", folder)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    script = folder / ".venv" / "bin" / "evomerge"
    script.parent.mkdir(parents=True)
    smaller = shlex.join(SMALLER["quickstart"])
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m evomerge.cli.app "$@" {smaller}\n')
    script.chmod(0o755)
    (folder / ".venv" / ".installed").touch()


def provide_scripts(folder: Path) -> None:
    """Add what is run from the top of the repository, to write beside itself."""
    name = "experiments/quickstart"
    shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.png"))


def provide_models(folder: Path) -> None:
    """Put the shipped models where the pages have a reader's: a base, checkpoints, adapters."""
    for name, shipped in {
        "llama": "base",
        "llama-math": "flip",
        "llama-code": "sort-up",
        "llama-code-lora": "count-bits-lora",
    }.items():
        (folder / name).symlink_to(zoo.path() / "models" / shipped)


def provide_evolve(folder: Path) -> None:
    """Add a configuration of mergekit-evolve, as the guide shows it, and the task that it names."""
    shown = (block.text for block in blocks() if block.language == "yaml")
    (configuration,) = (text for text in shown if text.startswith("genome:"))
    small = configuration.replace("layer_granularity: 8", "layer_granularity: 2")  # of 4 layers
    (folder / "evolve.yml").write_text(f"{small}apply_chat_template: false\n")
    tasks = folder / "tasks"
    tasks.mkdir()
    _provide_items(tasks / "math.jsonl", "flip.search")
    files = {"data_files": {"test": str(tasks / "math.jsonl")}, "cache_dir": str(tasks)}
    (tasks / "my_math.yaml").write_text(_TASK.format(files=json.dumps(files)))


def provide_run(folder: Path) -> None:
    """Add what the guides go on from: a finished run of two adapters."""
    make_lora(folder / "llama-math-lora", seed=1, rank=4)
    for name, task in (("math", "flip"), ("code", "count_bits")):
        for suffix, split in (("", "search"), ("_holdout", "holdout")):
            _provide_items(folder / f"{name}{suffix}.jsonl", f"{task}.{split}")
    (folder / "searched.yaml").write_text(_STUDY)
    ended = start_run(load_study(folder / "searched.yaml"), folder, folder / "runs" / "my-study")
    assert ended.state == "done"


def provide_front(folder: Path) -> None:
    """Add the recipes of the run's front."""
    export_all(folder / "runs" / "my-study", folder / "front")


def provide_study(folder: Path) -> None:
    """Add a study that is not run yet, and the configuration of a model."""
    shutil.copy(folder / "searched.yaml", folder / "study.yaml")
    shutil.copy(folder / "llama" / "config.json", folder)


def _provide_items(file: Path, shipped: str) -> None:
    """Write a dozen of the shipped items."""
    lines = (zoo.path() / "data" / f"{shipped}.jsonl").read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:12]))
