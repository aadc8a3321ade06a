"""What a run took and why trials failed, of journals whose content is known."""

from __future__ import annotations

import sqlite3

import pytest

from evomerge.journal import Journal, read_events, read_sessions
from evomerge.report.account import duration
from evomerge.report.failures import causes_of
from evomerge.report.spend import spend_of

MESSAGES = (
    "RuntimeError: loss is nan at item 3",
    "RuntimeError: loss is nan at item 14",
    "KeyError: 'x'",
    "RuntimeError: loss is nan at item 3\nand more",
)


def write(run, *, rungs=False, workers=None):
    """Write a run with two sessions, the first of them killed."""
    study = {"name": "spent", "workers": workers or {"count": 2, "device": "cpu"}}
    with Journal(run, create=True) as journal:
        journal.append("opened", {"study": study})
        for number, message in enumerate(MESSAGES):
            journal.append("asked", {"genotype": [], "origin": "x"}, trial=number)
            failed = {"failed": "error", "message": message, "traceback": f"trace {number}"}
            timing = {"merge_s": 0.5, "score_s": 0.25}
            journal.append("finished", failed, trial=number, timing=timing)
        for number, n_items in ((4, 7), (5, 9)):
            journal.append("asked", {"genotype": [], "origin": "x"}, trial=number)
            scores = {"one": {f"i{k}": 0.5 for k in range(n_items)}}
            file = journal.write_examples(f"trial-{number}", scores)
            payload = {"metrics": {"one": 0.5}, "examples": file}
            timing = {"merge_s": 2.0, "score_s": 3.0}
            if rungs:
                measured = {"rung": 0, "n_items": n_items, **payload}
                journal.append("measured", measured, trial=number, timing=timing)
                timing = {}
            journal.append("finished", payload, trial=number, timing=timing)
        journal.append("asked", {"genotype": [], "origin": "x"}, trial=6)
        journal.append("finished", {**payload, "same_as": 5}, trial=6)
        journal.append(
            "scored",
            {"name": "base", "split": "holdout", **payload},
            timing={"merge_s": 1.0, "score_s": 1.5, "cost": 0.125},
        )
    at = {row: 1000.0 + 10 * row for row in range(1, len(journal.events) + 1)}
    with sqlite3.connect(run / "journal.sqlite") as database:
        for row, when in at.items():
            database.execute("UPDATE event SET at = ? WHERE seq = ?", (when, row))
        database.execute("UPDATE session SET started_at = 1000, ended_at = NULL")
        database.execute(
            "INSERT INTO session (started_at, ended_at, ended_because, process) "
            "VALUES (1095, 1500, 'done', '{}')"
        )
    database.close()
    return at


@pytest.mark.parametrize("rungs", [False, True])
def test_time_and_items_are_what_the_events_say(rungs, tmp_path):
    at = write(tmp_path / "run", rungs=rungs)
    events = read_events(tmp_path / "run")
    spend = spend_of(tmp_path / "run", events, read_sessions(tmp_path / "run"))
    before = max(when for when in at.values() if when < 1095)
    searched = max(at[event.seq] for event in events if event.kind != "scored")
    assert spend.wall_s == pytest.approx((before - 1000) + (1500 - 1095))
    assert spend.search_s == pytest.approx((before - 1000) + (searched - 1095))
    assert spend.merge_s == pytest.approx(4 * 0.5 + 2 * 2.0)
    assert spend.score_s == pytest.approx(4 * 0.25 + 2 * 3.0)
    assert spend.idle_s == pytest.approx(2 * spend.search_s - spend.merge_s - spend.score_s)
    assert spend.after_s == pytest.approx(2.5)
    assert (spend.items, spend.items_after) == (16, 9)
    assert (spend.sessions, spend.repeated, spend.gpu_s) == (2, 1, 0.0)
    assert spend.cost == pytest.approx(0.125)


def test_what_sessions_noted_counts(tmp_path):
    with Journal(tmp_path / "run", create=True) as journal:
        journal.append("opened", {"study": {"name": "spent"}})
        journal.note_usage({"search_s": 40.0, "worker_s": 90.0, "gpu_s": 60.0})
    events, sessions = read_events(tmp_path / "run"), read_sessions(tmp_path / "run")
    spend = spend_of(tmp_path / "run", events, sessions)
    assert (spend.search_s, spend.worker_s, spend.gpu_s) == (40.0, 90.0, 60.0)


def test_messages_that_differ_in_numbers_are_one_cause(tmp_path):
    write(tmp_path / "run")
    first, second = causes_of(read_events(tmp_path / "run"))
    assert (first.trials, second.trials) == ((0, 1, 3), (2,))
    assert first.line == "RuntimeError: loss is nan at item …"
    assert (first.kind, first.example, first.traceback) == ("error", MESSAGES[0], "trace 0")
    assert second.line == second.example == "KeyError: 'x'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (3725, "1 h 2 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units(seconds, text):
    assert duration(seconds) == text
