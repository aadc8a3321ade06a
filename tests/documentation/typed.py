"""Typing the commands of the pages: which are typed here, how they are made small, how they end."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evomerge.cli.app import main
from evomerge.cli.places import find_run
from evomerge.report import collect_front

from .commands import lines_of
from .pages import ROOT, blocks, named

BLOCKS = blocks()
LANGUAGES = ("bash", "console")

#: Pages none of whose commands are run, by the beginning of their names, and why; the first counts.
PAGES = {
    "experiments/quickstart/": "",  # they are run
    "experiments/custom_fitness/": "tests/experiments/test_custom_fitness.py runs them all",
    "experiments/": "minutes to hours, models and data of the network, clones of other projects",
}
#: Programs that are not run, and why.
PROGRAMS = {
    "docker": "no container engine is here",
    "kubectl": "no cluster is here",
    "sbatch": "no Slurm is here; tests/docker runs the script with stand-ins",
    "openssl": "makes the secret of the containers in the repository",
    "chmod": "the same secret",
}
#: Words that keep a line from being run, and why.
WORDS = {
    "--push-to-hub": "would publish on the Hub; tests/release has a stand-in for it",
    "cuda": "needs a GPU",
    "experiments/quickstart/compare.py": "searches for hours",
    "dashboard": "goes on until it is stopped; tests/dashboard asks it for pages",
}
#: What is added to commands that search, so that they take seconds.
INLINE = ("--set", "workers={backend: inline, threads: 1}", "--set", "front.lambdas=[0.5]")
SMALLER = {
    "quickstart": (
        *("--set", "budget.trials=6", "--set", "front.size=2"),
        *("--set", "objectives.sort_up.limit=8", "--set", "objectives.flip.limit=8"),
        *("--set", "objectives.count_bits.limit=8"),
        *INLINE,
    ),
    "run": ("--set", "budget.trials=14", *INLINE),
}
#: What is added where tasks of lm-eval are named, so that it finds them.
TASKS = ("--task-search-path", "tasks")
#: What is typed instead of a word, for the same reason.
INSTEAD = {"trials=100": "trials=4"}
#: How pages write the trial that they take home; a reader's is in the table of the front.
TRIAL, FOLDER = "12", "trial-000012"


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of the commands of a page, in its order."""
    return [
        words
        for block in BLOCKS
        if block.page == page and block.language in LANGUAGES
        for words in lines_of(block.text)
    ]


def reason_against(words: list[str], page: Path) -> tuple[str, str] | None:
    """Return which rule says that a command is not run here, and why; None where it is run."""
    start = next((one for one in PAGES if named(page).startswith(one)), None)
    if start is not None and PAGES[start]:
        return start, PAGES[start]
    for word in words:
        if word in WORDS:
            return word, WORDS[word]
    return (words[0], PROGRAMS[words[0]]) if words[0] in PROGRAMS else None


def argv(words: list[str], folder: Path) -> list[str]:
    """Return a command as it is typed in a folder: smaller, and of a trial that is on its front."""
    typed = [INSTEAD.get(word, word) for word in words]
    if words[0] == "evomerge":
        typed += SMALLER.get(words[1], ())
    if "mergekit-evolve" in words:
        typed += TASKS
    if any(word == TRIAL or FOLDER in word for word in words):
        with contextlib.chdir(folder):
            members = collect_front(find_run(None)).members
        # The first trials are base and donors; commands compare on hold-out items.
        member = max(row.trial for row in members if row.holdout is not None)
        typed = [str(member) if word == TRIAL else word for word in typed]
        typed = [word.replace(FOLDER, f"trial-{member:06d}") for word in typed]
    return typed


def call(command: list[str], folder: Path) -> tuple[int | str | None, str]:
    """Run a command in a folder; returns its exit code and what it printed.

    `evomerge` is called in this process by its entry point: one of its own would import torch again
    each time, thirty times in all. `make quickstart` has one.
    """
    if command[0] == "evomerge":
        return _call_here(command, folder)
    program, *arguments = command
    done = subprocess.run(
        [sys.executable if program == "python" else program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _call_here(command: list[str], folder: Path) -> tuple[int | str | None, str]:
    said = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        patch.setattr(sys, "argv", command)
        try:
            main()
        except SystemExit as ended:
            return ended.code, said.getvalue()
    raise AssertionError(f"{shlex.join(command)} did not exit")
