"""Reading a run's journal, also beside the process that writes it."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from evomerge.errors import JournalError, RunDirectoryError
from evomerge.journal.events import KINDS, Event, chained

DATABASE = "journal.sqlite"
LOCK = "journal.lock"


@dataclass(frozen=True, slots=True)
class Session:
    """One process's share of a run; a killed process leaves `ended_at` None.

    Attributes:
        started_at: wall-clock seconds since the epoch.
        ended_at: the same.
        ended_because: how, in a word.
        process: its id, its host, its Python.
        usage: what it took, as far as it was noted; see `Journal.note_usage`.
    """

    started_at: float
    ended_at: float | None
    ended_because: str | None
    process: Mapping[str, Any]
    usage: Mapping[str, float]


class Follower:
    """Reads what is added to a journal, while it is written or not.

    Args:
        folder: the run directory.

    Raises:
        RunDirectoryError: there is no run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = 0
        self._digest = ""
        _read_only(folder).close()

    def new_events(self) -> list[Event]:
        """Return the events since the last call, in order.

        Raises:
            RunDirectoryError: the run is gone.
            JournalError: a row is damaged; its number is in the message.
        """
        with closing(_read_only(self._folder)) as connection:
            if _is_unborn(self._folder):
                return []
            events = []
            for event, digest in load(connection, self._folder, self._seen, self._digest):
                events.append(event)
                self._seen, self._digest = event.seq, digest
        return events


def read_events(folder: Path) -> list[Event]:
    """Read a run's events without disturbing its writer.

    Raises:
        RunDirectoryError: there is no run.
        JournalError: a row is damaged; its number is in the message.
    """
    with closing(_read_only(folder)) as connection:
        return [] if _is_unborn(folder) else [event for event, _ in load(connection, folder)]


def read_sessions(folder: Path) -> list[Session]:
    """Read which processes worked on a run, in order."""
    with closing(_read_only(folder)) as connection, reported(folder):
        connection.text_factory = _legible
        if _is_unborn(folder) or not _has_tables(connection, "event", "session"):
            return []
        rows = connection.execute(
            "SELECT id, started_at, ended_at, ended_because, process FROM session ORDER BY id"
        ).fetchall()
        used: dict[int, str] = {}
        if _has_tables(connection, "usage"):
            used = dict(connection.execute("SELECT session, content FROM usage").fetchall())
    return [
        Session(start, end, because, _parsed(process) or {}, _parsed(used.get(number, "")) or {})
        for number, start, end, because, process in rows
    ]


def is_open(folder: Path) -> bool:
    """Say whether a process is writing to a run's journal right now."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return False  # the disk knows no locks, so that no run writes there: this is a copy
    lock.release()
    return False


def _read_only(folder: Path) -> sqlite3.Connection:
    path = folder / DATABASE
    if not path.exists():
        raise RunDirectoryError(f"{folder} holds no run ({DATABASE} is missing)")
    with reported(folder):
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def load(
    connection: sqlite3.Connection, folder: Path, after: int = 0, digest: str = ""
) -> Iterator[tuple[Event, str]]:
    """Yield events with their digests, checking that none is missing or altered.

    Args:
        connection: to the database.
        folder: the run directory, for messages.
        after: number of the last event that was read before.
        digest: of that one.

    Raises:
        JournalError: a row is damaged; its number is in the message.
    """
    connection.text_factory = _legible
    with reported(folder):
        if not _has_tables(connection, "event", "session"):
            return
        rows = connection.execute(
            "SELECT seq, kind, trial, payload, timing, at, digest FROM event WHERE seq > ?"
            " ORDER BY seq",
            (after,),
        ).fetchall()
    for number, (seq, kind, trial, payload, timing, at, stored) in enumerate(rows, after + 1):
        digest = chained(digest, kind, trial, payload)
        seconds = _parsed(timing)
        if seq != number or kind not in KINDS or digest != stored or seconds is None:
            raise JournalError(
                f"{folder / DATABASE}: event {number} is damaged or missing; restore the file from "
                f"a backup, or give up what follows by deleting the rows of table 'event' with "
                f"seq >= {number}: the {number - 1} events before them are sound"
            )
        yield Event(seq, kind, trial, json.loads(payload), at, seconds), digest


def _legible(text: bytes) -> str:
    """Read a text that may be damaged: its digest tells."""
    return text.decode(errors="replace")


def _parsed(text: str) -> dict[str, Any] | None:
    """Parse what no digest guards; None where it is damaged."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _has_tables(connection: sqlite3.Connection, *names: str) -> bool:
    """Say whether tables are there; a process killed before they were has recorded nothing."""
    marks = ", ".join("?" * len(names))
    query = f"SELECT count(*) FROM sqlite_master WHERE name IN ({marks})"  # noqa: S608 of marks
    (count,) = connection.execute(query, names).fetchone()
    return bool(count == len(names))


def _is_unborn(folder: Path) -> bool:
    """Say whether a process is making the database, or was killed at it, and recorded nothing.

    A write-ahead log never has a rollback journal beside it, so this one is of the moment before
    there was a log; a reader could not roll it back, the next writer does.
    """
    return (folder / f"{DATABASE}-journal").exists()


@contextmanager
def reported(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line for the user."""
    try:
        yield
    except UnicodeDecodeError as error:  # in what SQLite says of a damaged table
        raise JournalError(f"{folder / DATABASE} is damaged; restore it from a backup") from error
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError:
            (what, *_) = str(error).splitlines()
            raise JournalError(
                f"{folder / DATABASE} is damaged: {what}; restore it from a backup"
            ) from error
        raise JournalError(
            f"{folder / DATABASE}: {error}; free some disk space or check the disk, then "
            f"'evomerge resume {folder}': every finished trial is safe"
        ) from error
