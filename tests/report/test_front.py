"""What a front refuses to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evomerge.report import Front
from evomerge.types import Objective
from tests.report.fronts import make_front, make_row


def test_members_and_baselines_are_told_apart(front):
    assert [row.name for row in front.members] == [
        f"trial {number}" for number in (12, 37, 41, 58, 63)
    ]
    assert len(front.members) + len(front.baselines) == len(front.rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([make_row("base", {"a": 1.0}), make_row("base", {"a": 1.0})], "two rows are named 'base'"),
        ([make_row("base", {"b": 1.0})], "base has no search score of 'a'"),
        ([make_row("base", {"a": 1.0}, {})], "base has no hold-out score of 'a'"),
        ([replace(make_row("trial 1", {"a": 1.0}), trial=None)], "no trial number"),
        (
            [make_row("trial 1", {"a": 1.0}), replace(make_row("trial 2", {"a": 1.0}), trial=1)],
            "twice",
        ),
    ],
)
def test_malformed_fronts_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        make_front(*rows, objectives=(Objective("a"),))


def test_a_front_needs_an_objective():
    with pytest.raises(ValueError, match="at least one objective"):
        Front("x", (), (), 0, 0, 0)
