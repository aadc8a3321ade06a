"""Bytes that change on the disk are noticed and named, wherever they lie."""

import random
import shutil
import sqlite3

import pytest

from evomerge.errors import EvomergeError
from evomerge.journal import Journal, read_events, read_sessions
from evomerge.study.budgets.meter import spent_in

N_EVENTS = 40


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    with Journal(folder, create=True) as journal:
        for trial in range(N_EVENTS):
            payload = {"genotype": [trial / 7, "ü"], "origin": "random"}
            journal.append("asked", payload, trial=trial, timing={"merge_s": 0.25, "score_s": 1.5})
        journal.note_usage({"search_s": 1.0, "worker_s": 2.0, "gpu_s": 0.0})
    return folder


@pytest.mark.parametrize("seed", range(6))
def test_any_changed_byte_is_one_line_or_changes_nothing(tmp_path, sound, seed):
    draw = random.Random(seed)
    expected = [event.content for event in read_events(sound)]
    content = (sound / "journal.sqlite").read_bytes()
    lines = []
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / "journal.sqlite").write_bytes(damaged)
        try:
            events = read_events(tmp_path)
            spent_in(read_sessions(tmp_path), events)
            with Journal(tmp_path) as journal:
                assert [event.content for event in journal.events] == expected
        except EvomergeError as error:
            lines.append(str(error))
        else:
            assert [event.content for event in events] == expected
        for name in ("journal.sqlite-wal", "journal.sqlite-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert len(lines) > 3
    assert all("journal.sqlite" in line and len(line.splitlines()) == 1 for line in lines)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET timing = '{\"merge_s\":' WHERE seq = 7",
        "UPDATE event SET timing = '3' WHERE seq = 7",
        "UPDATE event SET payload = CAST(x'7b22ff227d' AS TEXT) WHERE seq = 7",
    ],
)
def test_a_damaged_row_is_named_and_mended_as_the_message_says(tmp_path, sound, damage):
    shutil.copyfile(sound / "journal.sqlite", tmp_path / "journal.sqlite")
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute(damage)
    with pytest.raises(EvomergeError, match=r"event 7 .* seq >= 7: the 6 events before them"):
        Journal(tmp_path)
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("DELETE FROM event WHERE seq >= 7")
    with Journal(tmp_path) as journal:
        assert len(journal.events) == 6
        journal.append("asked", {}, trial=6)
    assert len(read_events(tmp_path)) == 7
