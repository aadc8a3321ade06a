import errno
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import JournalError, RunDirectoryError
from evomerge.journal import (
    Follower,
    Journal,
    is_open,
    outcome_from_json,
    outcome_to_json,
    read_events,
    read_sessions,
)
from evomerge.journal.events import canonical
from evomerge.journal.examples import read_examples, write_examples
from evomerge.types import Completed, Failed


def test_events_come_back_as_written(tmp_path):
    with Journal(tmp_path / "run", create=True) as journal:
        journal.append("opened", {"a": [0.1, 1e-300, 3]})
        journal.append("asked", {"genotype": [0.1 + 0.2]}, trial=0)
    events = read_events(tmp_path / "run")
    assert [(event.seq, event.kind, event.trial) for event in events] == [
        (1, "opened", None),
        (2, "asked", 0),
    ]
    assert events[1].payload["genotype"][0] == 0.1 + 0.2
    assert [session.ended_because for session in read_sessions(tmp_path / "run")] == ["ended"]


def test_a_follower_reads_each_event_once_while_they_are_written(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        follower = Follower(tmp_path)
        assert follower.new_events() == []
        found = []
        for number in range(7):
            journal.append("asked", {"x": number}, trial=number)
            if number % 3 == 0:
                found += follower.new_events()
        found += follower.new_events()
        assert [event.payload["x"] for event in found] == list(range(7))
    assert follower.new_events() == []
    assert found == read_events(tmp_path)
    with Journal(tmp_path) as journal:
        journal.append("noted", {})
    (event,) = follower.new_events()
    assert (event.seq, event.kind) == (8, "noted")


def test_a_follower_notices_damage_in_what_is_new(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        journal.append("asked", {"x": 0}, trial=0)
        follower = Follower(tmp_path)
        follower.new_events()
        for value in range(1, 4):
            journal.append("asked", {"x": value}, trial=value)
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.execute("UPDATE event SET payload = '{\"x\":9}' WHERE seq = 3")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="event 3 is damaged"):
        follower.new_events()
    with pytest.raises(RunDirectoryError, match="holds no run"):
        Follower(tmp_path / "nowhere")


def test_what_a_session_took_is_kept_with_it(tmp_path):
    for session in range(2):
        with Journal(tmp_path, create=not session) as journal:
            for seconds in (1.5, 2.5 + session):
                journal.note_usage({"search_s": seconds})
            journal.append("noted", {})
    with Journal(tmp_path):
        pass
    usage = [session.usage for session in read_sessions(tmp_path)]
    assert usage == [{"search_s": 2.5}, {"search_s": 3.5}, {}]


def test_a_journal_of_before_usage_was_noted_is_read_and_written(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        journal.append("noted", {})
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.execute("DROP TABLE usage")
    connection.commit()
    connection.close()
    assert read_sessions(tmp_path)[0].usage == {}
    with Journal(tmp_path) as journal:
        journal.note_usage({"search_s": 1.0})
    assert [one.usage for one in read_sessions(tmp_path)] == [{}, {"search_s": 1.0}]


def test_a_closed_journal_is_one_file_whoever_else_reads_it(tmp_path):
    reader = None
    with Journal(tmp_path, create=True) as journal:
        journal.append("noted", {"text": "a"})
        reader = sqlite3.connect(f"file:{tmp_path}/journal.sqlite?mode=ro", uri=True)
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (1,)
    (tmp_path / "copy").mkdir()
    shutil.copyfile(tmp_path / "journal.sqlite", tmp_path / "copy" / "journal.sqlite")
    reader.close()
    assert len(read_events(tmp_path / "copy")) == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_round_trip_exactly_through_canonical_json(values):
    assert json.loads(canonical({"v": values}))["v"] == values


def test_nan_is_refused(tmp_path):
    with Journal(tmp_path, create=True) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append("opened", {"x": float("nan")})
    assert read_events(tmp_path) == []


def test_second_writer_is_refused_and_readers_are_not(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        journal.append("opened", {})
        script = (
            "from pathlib import Path; from evomerge.journal import Journal; "
            f"Journal(Path({str(tmp_path)!r}))"
        )
        other = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert "RunDirectoryError" in other.stderr
        assert "in use by another" in other.stderr
        assert len(read_events(tmp_path)) == 1


def test_lock_goes_with_a_killed_writer(tmp_path):
    script = (
        "import os, signal; from pathlib import Path; from evomerge.journal import Journal;"
        f"j = Journal(Path({str(tmp_path)!r}), create=True); j.append('opened', {{}});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    with Journal(tmp_path) as journal:
        assert [event.kind for event in journal.events] == ["opened"]
    assert read_sessions(tmp_path)[0].ended_at is None


@pytest.mark.skipif(sys.platform == "win32", reason="locks otherwise")
def test_a_disk_that_knows_no_locks_is_refused(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    with Journal(tmp_path / "copy", create=True):
        assert is_open(tmp_path / "copy")
    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(JournalError, match="keep the run on a disk that can be written and knows"):
        Journal(tmp_path / "run", create=True)
    assert not (tmp_path / "run" / "journal.sqlite").exists()
    assert not is_open(tmp_path / "copy")


def test_existing_run_is_refused_and_an_empty_journal_is_not(tmp_path):
    with Journal(tmp_path, create=True):
        pass
    with Journal(tmp_path, create=True) as journal:
        journal.append("opened", {})
    with pytest.raises(RunDirectoryError, match="evomerge resume"):
        Journal(tmp_path, create=True)
    with pytest.raises(RunDirectoryError, match="holds no run"):
        Journal(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET payload = '{\"x\":2}' WHERE seq = 2",
        "DELETE FROM event WHERE seq = 2",
        "UPDATE event SET trial = 7 WHERE seq = 2",
        "UPDATE event SET kind = 'finished' WHERE seq = 2",
    ],
)
def test_damage_is_reported_with_the_number_of_the_row(tmp_path, damage):
    with Journal(tmp_path, create=True) as journal:
        for value in range(4):
            journal.append("asked", {"x": value}, trial=value)
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="event 2 is damaged"):
        read_events(tmp_path)
    with pytest.raises(JournalError, match="event 2 is damaged"):
        Journal(tmp_path)


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match="not a database"):
        read_events(tmp_path)
    with pytest.raises(JournalError, match="not a database"):
        Journal(tmp_path)


def test_a_database_without_a_schema_is_an_empty_journal(tmp_path):
    sqlite3.connect(tmp_path / "journal.sqlite").close()
    (tmp_path / "journal.sqlite").touch()
    assert read_events(tmp_path) == []
    assert read_sessions(tmp_path) == []
    with Journal(tmp_path, create=True) as journal:
        journal.append("opened", {})
    assert len(read_events(tmp_path)) == 1


def test_a_process_killed_while_it_makes_the_database_leaves_an_empty_journal(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    connection = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    connection.executescript("PRAGMA cache_size = 1; CREATE TABLE other (x); BEGIN")
    connection.executemany("INSERT INTO other VALUES (?)", [("x" * 3000,)] * 50)
    for name in ("journal.sqlite", "journal.sqlite-journal"):
        shutil.copyfile(tmp_path / name, run / name)
    connection.close()
    reader = sqlite3.connect(f"file:{run}/journal.sqlite?mode=ro", uri=True)
    with closing(reader), pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("SELECT * FROM other")
    assert read_events(run) == []
    assert read_sessions(run) == []
    with Journal(run, create=True) as journal:
        journal.append("opened", {})
    assert len(read_events(run)) == 1


def test_full_disk_loses_nothing(tmp_path):
    journal = Journal(tmp_path, create=True)
    journal.append("opened", {})
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    def fill():
        for number in range(100):
            journal.append("asked", {"padding": "x" * 3000}, trial=number)

    with pytest.raises(JournalError, match="full"):
        fill()
    kept = len(journal.events)
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.append("asked", {}, trial=kept)
    journal.__exit__(None, None, None)
    assert len(read_events(tmp_path)) == kept + 1


def test_examples_round_trip_and_damage_is_named(tmp_path):
    examples = {"math": {"a-1": 0.1, "a-2": 1.0}, "odd|name": {"ü": -3.5}}
    write_examples(tmp_path, "examples/t.json.gz", examples)
    assert read_examples(tmp_path, "examples/t.json.gz") == examples
    assert [path.name for path in (tmp_path / "examples").iterdir()] == ["t.json.gz"]
    content = (tmp_path / "examples/t.json.gz").read_bytes()
    (tmp_path / "examples/t.json.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(JournalError, match=r"t\.json\.gz"):
        read_examples(tmp_path, "examples/t.json.gz")
    with pytest.raises(JournalError, match=r"gone\.json\.gz"):
        read_examples(tmp_path, "examples/gone.json.gz")


def test_equal_examples_are_equal_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_examples(tmp_path / name, "t.json.gz", {"m": {"a": 0.5}})
    assert (tmp_path / "one/t.json.gz").read_bytes() == (tmp_path / "two/t.json.gz").read_bytes()


def test_outcomes_round_trip():
    done = Completed({"a": 0.1}, {"a": {"1": 0.1}}, {"a/extra": 2.0})
    assert outcome_from_json(outcome_to_json(done, "f.json.gz"), done.examples) == done
    failed = Failed("lost", "gone", "trace")
    assert outcome_from_json(outcome_to_json(failed, None)) == failed
    assert np.isfinite(list(done.metrics.values())).all()


def test_events_that_come_together_are_kept_together(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        journal.append("opened", {})
        with journal.together():
            journal.append("asked", {}, trial=0)
            with journal.together():  # as a part of the other
                journal.append("asked", {}, trial=1)
            assert len(read_events(tmp_path)) == 1
        assert [event.trial for event in read_events(tmp_path)] == [None, 0, 1]
        journal.append("asked", {}, trial=2)
        assert len(read_events(tmp_path)) == 4


def test_what_ends_a_group_early_loses_nothing_of_it(tmp_path):
    with Journal(tmp_path, create=True) as journal:
        with suppress(KeyboardInterrupt), journal.together():
            journal.append("opened", {})
            raise KeyboardInterrupt
        assert len(read_events(tmp_path)) == 1


def test_a_process_killed_within_a_group_leaves_none_of_it(tmp_path):
    script = (
        "import os, signal; from pathlib import Path; from evomerge.journal import Journal;"
        f"j = Journal(Path({str(tmp_path)!r}), create=True); j.append('opened', {{}});"
        "group = j.together(); group.__enter__(); j.append('asked', {}, trial=0);"
        "j.write_examples('trial-0', {'one': {'i': 1.0}}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    with Journal(tmp_path) as journal:
        assert [event.kind for event in journal.events] == ["opened"]
        journal.append("asked", {}, trial=0)


def test_files_of_a_group_are_durable_before_the_events_that_name_them(tmp_path, monkeypatch):
    synced = []

    def sync(path):
        assert len(read_events(tmp_path)) == 1, "an event came before its file"
        synced.append(path.relative_to(tmp_path).as_posix())

    with Journal(tmp_path, create=True) as journal:
        journal.append("opened", {})
        monkeypatch.setattr("evomerge.journal.examples.sync", sync)
        with journal.together():
            for trial in range(3):
                file = journal.write_examples(f"trial-{trial}", {"one": {"i": float(trial)}})
                journal.append("finished", {"examples": file}, trial=trial)
                assert journal.read_examples(file) == {"one": {"i": float(trial)}}
        monkeypatch.undo()
        assert sorted(synced) == ["examples", *(f"examples/trial-{n}.json.gz" for n in range(3))]
        assert len(read_events(tmp_path)) == 4
