"""The command line of mergekit-evolve, against the options it declares to click."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.migrate.options import STRATEGIES, TABLE, EvolveOptions, read_command

pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
click = pytest.importorskip("click", reason="mergekit's command lines are click's")


def declared():
    """Rebuild mergekit-evolve's command from its source: its module needs ray to be imported."""
    package = Path(find_spec("mergekit").origin).parent
    tree = ast.parse((package / "scripts" / "evolve.py").read_text(encoding="utf-8"))
    main = next(one for one in tree.body if getattr(one, "name", None) == "main")

    def values(**given):
        return given

    for decorator in reversed(main.decorator_list):
        values = eval(ast.unparse(decorator), {"click": click})(values)
    return values


COMMAND = declared()
PARAMETERS = {one.name: one for one in COMMAND.params if isinstance(one, click.Option)}
# names of ours for what click stores under another
FIELDS = {"use_wandb": "wandb"}


def test_every_option_has_its_line():
    ours = {name for one in TABLE for name in (one.name, one.negation, one.short) if name}
    theirs = {name for one in PARAMETERS.values() for name in (*one.opts, *one.secondary_opts)}
    assert ours == theirs
    assert {FIELDS.get(name, name) for name in PARAMETERS} == {one.field for one in TABLE}


@st.composite
def lines(draw):
    """A command line, in every spelling click takes."""
    words = []
    for _ in range(draw(st.integers(0, 8))):
        option = draw(st.sampled_from(TABLE))
        if option.kind == "flag":
            words.append([draw(st.sampled_from([option.name, option.negation or option.name]))])
            continue
        text = {
            "count": st.integers(-5, 10**6).map(str),
            "number": st.one_of(st.just("1e-2"), st.floats(0, 1e6).map(repr)),
            "text": st.sampled_from(STRATEGIES if option.field == "strategy" else ["a b", "x=y"]),
            "texts": st.sampled_from(["./tasks", "/elsewhere"]),
        }[option.kind]
        value = draw(text)
        spellings = [[option.name, value], [f"{option.name}={value}"]]
        if option.short:
            spellings += [[option.short, value], [option.short + value]]
        words.append(draw(st.sampled_from(spellings)))
    words.insert(draw(st.integers(0, len(words))), ["./evolve.yml"])
    return ["--storage-path", "out", *(word for one in words for word in one)]


@given(lines())
def test_a_line_means_what_click_reads(words):
    context = COMMAND.make_context("mergekit-evolve", list(words))
    paths, options = read_command(words)
    theirs = {FIELDS.get(name, name): value for name, value in context.params.items()}
    assert paths == (theirs.pop("genome_config_path"),)
    assert {name: getattr(options, name) for name in theirs} == theirs
    assert read_command(["/usr/bin/mergekit-evolve", *words]) == (paths, options)


def test_defaults_are_theirs():
    context = COMMAND.make_context("mergekit-evolve", ["x", "--storage-path", "out"])
    for name, value in context.params.items():
        if name not in ("genome_config_path", "storage_path"):
            assert getattr(EvolveOptions(), FIELDS.get(name, name)) == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--max-feval 3", "--max-feval: no such option"),
        ("--ouut x", "did you mean '--out'?"),
        ("-x", "-x: no such option"),
        ("--max-fevals", "--max-fevals: needs a value"),
        ("--max-fevals many", "--max-fevals: expected a whole number, got 'many'"),
        ("--sigma0 wide", "--sigma0: expected a number, got 'wide'"),
        ("-s fast", "--strategy: expected pool, buffered, serial, got 'fast'"),
        ("--vllm=yes", "--vllm: takes no value"),
    ],
)
def test_what_means_nothing_is_named(line, message):
    with pytest.raises(ConfigError) as caught:
        read_command(["evolve.yml", *line.split()], own=["--out"])
    assert message in caught.value.problems[0]


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        read_command(["--nope", "--max-fevals", "x", "--timeout"])
    assert len(caught.value.problems) == 3
