"""The table as it is read: numbers, marks, widths, the rule between members and baselines."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from evomerge.report import analyse, print_table, to_text
from evomerge.report.table import print_analysis
from evomerge.types import Objective
from tests.report.fronts import build_front, limited, make_front, make_row


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
    assert "95% interval over items" in text
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
        assert f" {sign}{row.mean_gain.gain:.3f}{noise} " in lines[index]
        assert f" {row.mean_gain.low:.3f}..{row.mean_gain.high:.3f}" in lines[index + 1]


def test_probability_column_shows_how_sure_the_front_is_and_who_threatens_it(front, analysis):
    text = to_text(front)
    lines = text.splitlines()
    legend = " ".join(text[text.index("Scores on hold-out") :].split())
    for row in analysis.members:
        index = next(i for i, line in enumerate(lines) if line.startswith(row.row.name))
        rival = row.dominated_by
        assert lines[index].endswith(f" {row.on_front:.2f}{'' if rival is None else '<'}")
        named = rival and f"{row.row.name} by {rival.name} ({rival.probability:.2f})"
        assert (f"{row.row.name} by " in legend) == (rival is not None)
        assert rival is None or named in legend
    assert "< another row dominates it with a probability above 0.5" in legend
    assert "no other member and no baseline dominates a member" in legend


def test_hypervolume_has_its_interval(front, analysis):
    text = " ".join(to_text(front).split())
    volumes = analysis.volumes
    low, high = volumes.interval.low, volumes.interval.high
    assert f"front {volumes.front_holdout:.3f} hold-out, {low:.3f}..{high:.3f} (" in text
    assert "The hypervolume's interval" in text


def test_without_item_scores_there_is_no_probability():
    text = to_text(make_front(make_row("base", {"a": 0.5}), make_row("trial 1", {"a": 0.75})))
    assert "P(front)" not in text
    assert "interval allows" not in text


def test_only_some_members_are_shown_and_judged_as_before(front, analysis):
    out = io.StringIO()
    print_analysis(analysis, Console(file=out, width=100), {"trial 37"})
    text = out.getvalue()
    table = text[text.index(" front\n") : text.index("Scores on hold-out")]
    assert "trial 37" in table
    assert not any(f"\ntrial {number}" in table for number in (12, 41, 58, 63))
    assert all(row.row.name in table for row in analysis.baselines)
    assert "5 on the front" in text
    (member,) = [row for row in analysis.members if row.row.name == "trial 37"]
    assert f"{member.on_front:.2f}" in table


@pytest.mark.parametrize("width", [68, 80])
def test_a_narrow_terminal_gets_the_summary_as_a_table_of_its_own(width):
    rival = make_row(f"donor:{'x' * 30}", {"a": 0.9, "b": 0.9}, None, _hits("ab", 0.9))
    rows = [make_row("trial 1", {"a": 0.2, "b": 0.2}, None, _hits("ab", 0.2)), rival]
    text = to_text(make_front(*rows), width)
    assert max(map(len, text.splitlines())) <= width
    table = text[: text.index("Scores on")]
    assert "…" not in table
    assert " front\n" in table
    assert table.count("trial 1 ") == 2  # the objectives, then mean, gain and P(front)


def _hits(names, share):
    items = {f"i{n}": float(n < 10 * share) for n in range(10)}
    return dict.fromkeys(names, items)


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


def test_members_left_out_on_holdout_are_shown_and_counted(any_front):
    text = to_text(limited(any_front, 3))
    whole = " ".join(text.split())
    assert "5 on the front, 3 of them scored on hold-out items (front.size: 3)" in whole
    assert "3 of 5 members of the front are scored on hold-out items (front.size: 3), and the " in (
        whole
    )
    assert "front's hypervolume there is that of 3 that stand for all; the others have" in whole
    assert "A new run with 'front: {size: 5}' in its study file scores them all." in whole
    assert "Not scored on hold-out items" not in text
    standing = replace(any_front, holdout_size=3).to_hold_out
    for row in (one for one in any_front.members if one not in standing):
        assert f"\n{row.name} " in text
        for objective in any_front.objectives:
            assert f"- ({row.search[objective.name]:.3f})" in text
    for size in (5, 32):
        assert "front.size" not in to_text(limited(any_front, size))


def test_members_that_are_still_to_be_scored_on_holdout_are_named(any_front):
    front = limited(any_front, 3)
    waiting = front.to_hold_out[1]
    rows = [replace(row, holdout=None) if row == waiting else row for row in front.rows]
    text = to_text(replace(front, rows=tuple(rows)))
    assert "2 of 5 members of the front are scored on hold-out items (front.size: 3); the " in (
        " ".join(text.split())
    )
    assert "2 of them scored on hold-out items (front.size: 3)" in " ".join(text.split())
    assert f"Not scored on hold-out items: {waiting.name}." in text
    assert analyse(replace(front, rows=tuple(rows))).volumes.front_holdout is None
    assert analyse(front).volumes.front_holdout is not None


def test_members_that_were_scored_on_holdout_before_the_front_grew_count_for_nothing(any_front):
    front = limited(any_front, 3)
    before = next(row for row in any_front.members if row not in front.to_hold_out)
    rows = tuple(before if row.name == before.name else row for row in front.rows)
    grown = analyse(replace(front, rows=rows))
    assert grown.front.n_held == 4
    assert grown.volumes.front_holdout == analyse(front).volumes.front_holdout
    assert any(note.startswith("4 of 5 members") for note in grown.notes)
