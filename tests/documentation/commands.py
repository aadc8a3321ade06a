"""What a line of a console block says, held against the program that it calls.

Nothing is done: a command of ours is parsed by the real command line, an experiment by its own
parser, an installation and a target of make by the files that define them.
"""

from __future__ import annotations

import argparse
import pydoc
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import dropwhile, pairwise
from pathlib import Path

import pytest
import typer

from evomerge.cli.app import app
from evomerge.cli.studies import PASSES_OPTIONS, named_file
from evomerge.report.picks import parse_weights
from evomerge.report.run_report import formats_from
from evomerge.study.budgets.adding import extended
from evomerge.study.budgets.config import BudgetConfig

from .pages import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
EVERY_BUDGET = BudgetConfig.model_validate(
    {
        "trials": 1,
        "items": 1,
        "hours": 1,
        "gpu_hours": 1,
        "money": 1,
        "price": {"per_gpu_hour": 1},
        "stagnation": {"trials": 1, "min_gain": 0},
        "deadline": "2026-01-01T00:00+00:00",
    }
)


class ParsedError(Exception):
    """A script has read its arguments, which is all that is wanted of it."""


def lines_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block, comments left out."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            yield list(dropwhile(_is_assignment, command))


def _is_assignment(word: str) -> bool:
    return re.match(r"[A-Z_]+=", word) is not None


def check(words: list[str], page: Path) -> None:
    """Fail unless a command line means something to its program.

    Args:
        words: the program and its arguments.
        page: that shows it; files are named from beside it or from the top.
    """
    program, *arguments = words
    assert program in PROGRAMS, f"{program}: a program that no test knows; add it to PROGRAMS"
    PROGRAMS[program](arguments, page)


def _evomerge(arguments: list[str], _: Path) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("evomerge", arguments[:1])
    verb = group.get_command(context, arguments[0])
    assert verb is not None, f"evomerge {arguments[0]}: there is no such command"
    try:
        inner = verb.make_context(arguments[0], arguments[1:], parent=context)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        pytest.fail(f"{' '.join(arguments)}: {error.format_message()}")
    given = inner.params
    if verb.context_settings == PASSES_OPTIONS:
        words = [one for one in given["words"] if one != "mergekit-evolve"]
        named_file(words, inner)
    if given.get("prefer"):
        parse_weights(given["prefer"])
    if "formats" in given:
        formats_from(given["formats"])
    if given.get("add"):
        extended(EVERY_BUDGET, dict(one.split("=", 1) for one in given["add"]), now=0.0)


def _python(arguments: list[str], page: Path) -> None:
    first, *rest = arguments
    if (first, rest[:1]) == ("-m", ["pydoc"]):
        assert pydoc.locate(rest[1]) is not None, f"pydoc {rest[1]}: there is no such name"
        return
    folders = (page.parent, ROOT)
    script = next((one / first for one in folders if (one / first).is_file()), None)
    assert script is not None, f"python {first}: there is no such file"
    text = script.read_text()
    if "argparse" not in text and "import command_line" not in text:
        assert not rest, f"{first} takes no arguments, got {rest}"
        return
    try:
        _parses(script, [first, *rest])
    except ModuleNotFoundError as error:
        missing = str(error.name)
    else:
        return
    package = missing.replace("_", "-")
    said = page.read_text()
    assert missing in said or package in said, f"{first} needs {missing}; the page must say so"
    source = script.read_text()
    assert all(f'"{word}"' in source for word in rest if word.startswith("--")), rest


def _parses(script: Path, words: list[str]) -> None:
    """Run a script until its own parser has read the words."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *given: object) -> None:
        parse(self, *given)
        raise ParsedError

    before = set(sys.modules)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, "parse_args", parsed)
            patch.setattr(sys, "argv", words)
            patch.syspath_prepend(script.parent)
            for name in filter(_is_experiment, before):  # they have modules of the same names
                patch.delitem(sys.modules, name)
            with pytest.raises(ParsedError):
                runpy.run_path(str(script), run_name="__main__")
    finally:
        for name in filter(_is_experiment, set(sys.modules) - before):
            del sys.modules[name]


def _is_experiment(name: str) -> bool:
    """Say whether a module that is loaded is one of the experiments'."""
    origin = getattr(sys.modules[name], "__file__", None)
    return origin is not None and Path(origin).is_relative_to(ROOT / "experiments")


def _pip(arguments: list[str], _: Path) -> None:
    assert arguments[0] == "install"
    for word in arguments[1:]:
        named = re.fullmatch(r"(?:\.|evomerge)\[([\w,-]+)\]", word)
        for extra in named[1].split(",") if named else ():
            assert extra in EXTRAS, f"pip install {word}: there is no extra '{extra}'"


def _make(arguments: list[str], _: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(arguments) <= set(targets)


def _download(arguments: list[str], _: Path) -> None:
    (address,) = arguments
    assert address.startswith("https://")


def _of_others(arguments: list[str], _: Path) -> None:
    """Check the files that a program of others is given by -f, and Slurm's script."""
    given = [file for option, file in pairwise(arguments) if option == "-f"]
    for file in given or arguments[:1]:
        if "/" in file:
            assert (ROOT / file).is_file(), f"{file}: there is no such file"


PROGRAMS: dict[str, Callable[[list[str], Path], None]] = {
    "evomerge": _evomerge,
    "python": _python,
    "pip": _pip,
    "make": _make,
    "wget": _download,
    "docker": _of_others,
    "kubectl": _of_others,
    "sbatch": _of_others,
    "openssl": _of_others,
    "chmod": _of_others,
}
