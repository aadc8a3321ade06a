"""The event table in SQLite: one writer, durable commits, damage noticed."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from evomerge.errors import JournalError, RunDirectoryError
from evomerge.journal.events import KINDS, Event, EventKind, canonical, chained
from evomerge.journal.examples import Examples, read_examples, sync_files, write_examples

DATABASE = "journal.sqlite"
LOCK = "journal.lock"
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    trial INTEGER,
    payload TEXT NOT NULL,
    timing TEXT NOT NULL,
    at REAL NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    started_at REAL NOT NULL,
    ended_at REAL,
    ended_because TEXT,
    process TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One process's share of a run; a killed process leaves `ended_at` None."""

    started_at: float
    ended_at: float | None
    ended_because: str | None
    process: Mapping[str, Any]


class Journal:
    """The writing end of a run's journal; at most one exists per run directory.

    Leaving it as a context manager ends the session, which is remembered under `state` (or the
    name of the exception).

    Args:
        folder: the run directory.
        create: start a new journal (the folder must not hold one) instead of opening one.

    Raises:
        RunDirectoryError: another process is writing, or there is (not) a journal already.
        JournalError: the journal is damaged or cannot be written.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.state = "ended"
        self._unsynced: list[Path] | None = None
        path = folder / DATABASE
        if create:
            _make_folder(folder)
        elif not path.exists():
            raise RunDirectoryError(f"{folder} holds no run ({DATABASE} is missing)")
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunDirectoryError(f"{folder} is in use by another evomerge process") from None
        with ExitStack() as failing:
            failing.callback(self._lock.release)
            with _reported(folder):
                self._connection = sqlite3.connect(path, isolation_level=None)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                if not self._has_schema():
                    self._connection.executescript(
                        f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                    )
            self.events = list(_load(self._connection, folder))
            if create and self.events:
                raise RunDirectoryError(
                    f"{folder} holds a run already; continue it with 'evomerge resume {folder}' "
                    "or name another folder with --out"
                )
            self._digest = self._last_digest()
            self._session = self._start_session()
            failing.pop_all()

    def append(
        self,
        kind: EventKind,
        payload: Mapping[str, Any],
        *,
        trial: int | None = None,
        timing: Mapping[str, float] | None = None,
    ) -> Event:
        """Commit one event durably; when this returns, it survives a power cut.

        Inside `together` it does when that is left.

        Raises:
            JournalError: the disk is full or fails; nothing of the event was kept.
        """
        text = canonical(payload)
        event = Event(len(self.events) + 1, kind, trial, payload, time.time(), timing or {})
        digest = chained(self._digest, kind, trial, text)
        with _reported(self.folder):
            if self._unsynced is not None and not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.seq, kind, trial, text, json.dumps(event.timing), event.at, digest),
            )
        self._digest = digest
        self.events.append(event)
        return event

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit what is appended inside in one go, whatever ends it: one wait for the disk.

        For events that come at the same moment; nothing outside the process may depend on them
        before they are committed.

        Raises:
            JournalError: the disk is full or fails; nothing of the events was kept.
        """
        if self._unsynced is not None:
            yield
            return
        self._unsynced = []
        try:
            yield
        finally:
            files, self._unsynced = self._unsynced, None
            if self._connection.in_transaction:
                sync_files(files)
                with _reported(self.folder):
                    self._connection.execute("COMMIT")

    def write_examples(self, name: str, examples: Examples) -> str | None:
        """Write per-example scores and return the name to put into the event; None if empty."""
        if not examples:
            return None
        file = f"examples/{name}.npz"
        write_examples(self.folder, file, examples, durable=self._unsynced is None)
        if self._unsynced is not None:
            self._unsynced.append(self.folder / file)
        return file

    def read_examples(self, file: str) -> dict[str, dict[str, float]]:
        """Read the per-example scores an event names."""
        return read_examples(self.folder, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End this process's session and let others write."""
        because = kind.__name__ if kind else self.state
        try:
            with _reported(self.folder):
                self._connection.execute(
                    "UPDATE session SET ended_at = ?, ended_because = ? WHERE id = ?",
                    (time.time(), because, self._session),
                )
        finally:
            self._connection.close()
            self._lock.release()

    def _has_schema(self) -> bool:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise JournalError(
                f"{self.folder / DATABASE}: journal format {version}, this evomerge reads "
                f"{SCHEMA_VERSION}; resume it with the version that wrote it"
            )
        return bool(version)

    def _last_digest(self) -> str:
        row = self._connection.execute(
            "SELECT digest FROM event ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return row[0] if row else ""

    def _start_session(self) -> int:
        process = {"pid": os.getpid(), "host": platform.node(), "python": platform.python_version()}
        with _reported(self.folder):
            cursor = self._connection.execute(
                "INSERT INTO session (started_at, process) VALUES (?, ?)",
                (time.time(), json.dumps(process)),
            )
        return int(cursor.lastrowid or 0)


def read_events(folder: Path) -> list[Event]:
    """Read a run's events without disturbing its writer.

    Raises:
        RunDirectoryError: there is no run.
        JournalError: a row is damaged; its number is in the message.
    """
    with closing(_read_only(folder)) as connection:
        return [] if _is_unborn(folder) else list(_load(connection, folder))


def read_sessions(folder: Path) -> list[Session]:
    """Read which processes worked on a run, in order."""
    with closing(_read_only(folder)) as connection, _reported(folder):
        if _is_unborn(folder) or not _has_tables(connection):
            return []
        rows = connection.execute(
            "SELECT started_at, ended_at, ended_because, process FROM session ORDER BY id"
        ).fetchall()
    return [Session(row[0], row[1], row[2], json.loads(row[3])) for row in rows]


def is_open(folder: Path) -> bool:
    """Say whether a process is writing to a run's journal right now."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _read_only(folder: Path) -> sqlite3.Connection:
    path = folder / DATABASE
    if not path.exists():
        raise RunDirectoryError(f"{folder} holds no run ({DATABASE} is missing)")
    with _reported(folder):
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _load(connection: sqlite3.Connection, folder: Path) -> Iterator[Event]:
    """Yield every event, checking that none is missing or altered."""
    with _reported(folder):
        if not _has_tables(connection):
            return
        rows = connection.execute(
            "SELECT seq, kind, trial, payload, timing, at, digest FROM event ORDER BY seq"
        ).fetchall()
    digest = ""
    for number, (seq, kind, trial, payload, timing, at, stored) in enumerate(rows, start=1):
        digest = chained(digest, kind, trial, payload)
        if seq != number or kind not in KINDS or digest != stored:
            raise JournalError(
                f"{folder / DATABASE}: event {number} is damaged or missing; restore the file from "
                f"a backup, or give up what follows by deleting the rows of table 'event' with "
                f"seq >= {number}: the {number - 1} events before them are sound"
            )
        yield Event(seq, kind, trial, json.loads(payload), at, json.loads(timing))


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Say whether the schema is there; a process killed before it was has recorded nothing."""
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('event', 'session')"
    (count,) = connection.execute(query).fetchone()
    return bool(count == 2)


def _is_unborn(folder: Path) -> bool:
    """Say whether a process is making the database, or was killed at it, and recorded nothing.

    A write-ahead log never has a rollback journal beside it, so this one is of the moment before
    there was a log; a reader could not roll it back, the next writer does.
    """
    return (folder / f"{DATABASE}-journal").exists()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be created: {error.strerror}") from error


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line for the user."""
    try:
        yield
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError:
            raise JournalError(
                f"{folder / DATABASE} is damaged: {error}; restore it from a backup"
            ) from error
        raise JournalError(
            f"{folder / DATABASE}: {error}; free some disk space or check the disk, then "
            f"'evomerge resume {folder}': every finished trial is safe"
        ) from error
