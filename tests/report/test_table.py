"""The table as it is read: numbers, marks, widths, the rule between members and baselines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evomerge.report import print_table, to_text
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row


@pytest.mark.parametrize("width", [80, 100])
def test_every_row_and_score_is_shown_within_the_width(any_front, width):
    text = to_text(any_front, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in any_front.rows:
        assert row.name in text
        for objective in any_front.objectives:
            assert f"{row.holdout[objective.name]:.3f}" in text
            assert f"({row.search[objective.name]:.3f})" in text


def test_baselines_follow_the_members(front):
    text = to_text(front)
    lines = text.splitlines()
    first = {
        name: next(i for i, line in enumerate(lines) if line.startswith(name))
        for name in [row.name for row in front.rows]
    }
    members = [first[row.name] for row in front.members]
    baselines = [first[row.name] for row in front.baselines]
    assert max(members) < min(baselines)
    assert any(
        not line.strip() or set(line.strip()) == {"─"}
        for line in lines[max(members) : min(baselines)]
    )


def test_the_best_score_of_each_objective_is_marked(front):
    text = to_text(front)
    for objective in front.objectives:
        best = max(row.holdout[objective.name] for row in front.rows)
        assert f"{best:.3f}*" in text
    assert text.count("*") == 1 + len(front.objectives)  # the legend explains it


def test_intervals_noise_and_the_curse_are_explained(front):
    text = " ".join(to_text(front).split())
    assert "95% bootstrap interval" in text
    assert "~ is within noise" in text
    assert "winner's curse" in text
    assert "hypervolume (0 = base, 1 = best donor)" in text
    assert "64 trials (3 failed), 5 on the front" in text


def test_gain_column_shows_the_paired_mean_gain(front, analysis):
    lines = to_text(front).splitlines()
    for row in analysis.members:
        index = next(i for i, line in enumerate(lines) if line.startswith(row.row.name))
        sign = "+" if row.mean_gain.gain >= 0 else ""
        noise = " ~" if row.mean_gain.within_noise else ""
        assert lines[index].endswith(f"{sign}{row.mean_gain.gain:.3f}{noise}")
        assert lines[index + 1].endswith(f"{row.mean_gain.low:.3f}..{row.mean_gain.high:.3f}")


def test_without_a_common_unit_gains_stand_under_each_score():
    objectives = (Objective("acc"), Objective("tokens", "minimize"))
    rows = [
        make_row("base", {"acc": 0.5, "tokens": 300.0}),
        make_row("trial 1", {"acc": 0.75, "tokens": 240.0}),
    ]
    text = to_text(make_front(*rows, objectives=objectives))
    assert "+0.250" in text
    assert "+60.0" in text
    assert "mean" not in text.split("Scores on")[0]
    assert "No intervals: no item scores" in text


def test_an_empty_front_says_so():
    text = to_text(make_front(make_row("base", {"a": 0.5})))
    assert "the front is empty" in text
    assert "base" in text


def test_plain_without_a_terminal_and_in_ascii(front):
    out = io.StringIO()
    print_table(front, Console(file=out, width=100))
    assert "\x1b[" not in out.getvalue()
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")
    print_table(front, Console(file=ascii_only, width=100))
    ascii_only.flush()
    assert b"trial 37" in raw.getvalue()


def test_names_are_not_read_as_markup():
    rows = [
        make_row("donor:[bold]x", {"[red]": 0.5}),
        make_row("trial 1", {"[red]": 0.6}, {"[red]": 0.6}),
    ]
    text = to_text(make_front(*rows))
    assert "[red]" in text
    assert "Not scored on hold-out items: donor:[bold]x" in text


def test_many_objectives_are_split_into_tables_that_fit():
    text = to_text(build_front(4), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("trial 37") >= 2
