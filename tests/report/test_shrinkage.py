"""What winners lose on hold-out items, from the scores as they stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evomerge.report import to_json
from evomerge.report.front import Luck
from evomerge.report.shrinkage import shrinkage_line, shrinkages
from evomerge.report.table import to_text
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row


def test_each_objective_and_the_mean_have_a_winner_of_their_own():
    rows = [
        make_row("trial 1", {"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.2}),
        make_row("trial 2", {"a": 0.2, "b": 0.7}, {"a": 0.2, "b": 0.8}),
        make_row("trial 3", {"a": 0.6, "b": 0.6}, {"a": 0.5, "b": 0.5}),
        make_row("base", {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}),
    ]
    front = replace(make_front(*rows), luck=Luck(50, {"a": 0.04}, 0.01))
    found = shrinkages(front, with_mean=True)
    assert [(one.objective, one.winner) for one in found] == [
        ("a", "trial 1"), ("b", "trial 2"), (None, "trial 3"),
    ]  # fmt: skip
    assert [one.shrinkage for one in found] == pytest.approx([0.2, -0.1, 0.1])
    assert [one.luck for one in found] == [0.04, None, 0.01]
    assert shrinkage_line(front, found) == (
        "best of 50 by search, then hold-out: a 0.900 → 0.700 (luck 0.040); b 0.700 → 0.800; "
        "mean 0.600 → 0.500 (luck 0.010)"
    )


def test_a_loss_shrinks_upwards():
    rows = [
        make_row("trial 1", {"loss": 1.0}, {"loss": 1.5}),
        make_row("trial 2", {"loss": 2.0}, {"loss": 1.0}),
    ]
    front = make_front(*rows, objectives=(Objective("loss", "minimize"),))
    (one,) = shrinkages(front, with_mean=False)
    assert (one.winner, one.shrinkage) == ("trial 1", 0.5)


def test_table_and_document_say_it():
    front = replace(build_front(2), luck=Luck(64, {"math": 0.02, "code": 0.03}, 0.015))
    text = to_text(front, 200)
    assert "best of 64 by search, then hold-out: math " in text
    assert "(luck 0.020)" in text
    document = to_json(front)["shrinkage"]
    assert document["candidates"] == 64
    assert [one["objective"] for one in document["winners"]] == ["math", "code", None]
    by_name = {row.name: row for row in front.rows}
    for one in document["winners"][:2]:
        assert one["holdout"] == by_name[one["winner"]].holdout[one["objective"]]


def test_without_holdout_scores_nothing_is_said():
    assert shrinkages(build_front(2, holdout=False), with_mean=True) == ()
    assert "then hold-out" not in to_text(build_front(2, holdout=False))
