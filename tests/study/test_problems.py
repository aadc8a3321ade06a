"""Every problem on a line of its own, with its place in front once."""

import pytest

from evomerge.errors import ConfigError, SpaceError
from evomerge.study.problems import Problems


def raising(error):
    raise error


@pytest.mark.parametrize(
    ("where", "message", "line"),
    [
        ("space", "genes: missing", "space: genes: missing"),
        ("space", "space: genes: missing", "space: genes: missing"),
        ("space", "space.groups: 7 does not divide", "space.groups: 7 does not divide"),
        ("stages[1].space", "space: genes: missing", "stages[1].space: genes: missing"),
        ("space", "spaces are many", "space: spaces are many"),
        ("objectives.a.search", "search[0]: no id", "objectives.a.search[0]: no id"),
        ("cache", "cache: ./x is a folder", "cache: ./x is a folder"),
    ],
)
def test_a_place_is_named_once(where, message, line):
    problems = Problems()
    assert problems.attempt(where, lambda: raising(SpaceError(message))) is None
    problems.attempt(where, lambda: raising(ConfigError([message, "other"])))
    assert problems.lines == [line, line, f"{where}: other"]


def test_each_line_of_a_message_is_a_problem():
    problems = Problems()
    problems.attempt("space", lambda: raising(SpaceError("space: a: one\nspace: b: two")))
    assert problems.lines == ["space: a: one", "space: b: two"]
    assert problems.attempt("space", lambda: 3) == 3
