"""The event table in SQLite: one writer, durable commits, damage noticed."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from evomerge.errors import EvomergeError, JournalError, RunDirectoryError
from evomerge.journal.events import Event, EventKind, canonical, chained
from evomerge.journal.examples import (
    Examples,
    examples_file,
    read_examples,
    sync_files,
    write_examples,
)
from evomerge.journal.reading import DATABASE, LOCK, load, reported
from evomerge.redaction import redacted

SCHEMA_VERSION = 2
SCHEMA = """
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
_USAGE = """
CREATE TABLE IF NOT EXISTS usage (
    session INTEGER PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;
"""


DONE = "done"
"""State of a session that left nothing to do."""


class Journal:
    """The writing end of a run's journal; at most one exists per run directory.

    Leaving it as a context manager ends the session, and remembers why: `state`, or the exception.

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
        # another kind of lock, where a disk knows none, would outlive a process that was killed
        self._lock = FileLock(folder / LOCK, fallback_to_soft=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunDirectoryError(f"{folder} is in use by another evomerge process") from None
        except OSError as error:
            raise JournalError(
                f"{folder / LOCK} cannot be locked ({error}); keep the run on a disk that can be "
                "written and knows locks"
            ) from error
        with ExitStack() as failing:
            failing.callback(self._lock.release)
            with reported(folder):
                self._connection = sqlite3.connect(path, isolation_level=None)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                if not self._has_schema():
                    self._connection.executescript(
                        f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                    )
                self._connection.execute(_USAGE)
            self.events: list[Event] = []
            self._digest = ""
            for event, digest in load(self._connection, folder):
                self.events.append(event)
                self._digest = digest
            if create and self.events:
                raise RunDirectoryError(
                    f"{folder} holds a run already; continue it with 'evomerge resume {folder}' "
                    "or name another folder with --out"
                )
            self._n_found, self._was_done = len(self.events), self._has_ended()
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
        with reported(self.folder):
            if self._unsynced is not None and not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.seq, kind, trial, text, json.dumps(event.timing), event.at, digest),
            )
        self._digest = digest
        self.events.append(event)
        return event

    def note_usage(self, usage: Mapping[str, float]) -> None:
        """Note what this session took so far, in the place of what was noted before.

        It tells of the process and not of the search, so it is no event: how long workers were
        held differs from one night to the next.
        """
        with reported(self.folder):
            self._connection.execute(
                "INSERT OR REPLACE INTO usage VALUES (?, ?)", (self._session, json.dumps(usage))
            )

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
                with reported(self.folder):
                    self._connection.execute("COMMIT")

    def write_examples(self, name: str, examples: Examples) -> str | None:
        """Write per-example scores and return the name to put into the event; None if empty."""
        if not examples:
            return None
        file = examples_file(name)
        write_examples(self.folder, file, examples, durable=self._unsynced is None)
        if self._unsynced is not None:
            self._unsynced.append(self.folder / file)
        return file

    def read_examples(self, file: str) -> dict[str, dict[str, float]]:
        """Read the per-example scores an event names."""
        return read_examples(self.folder, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        """End this process's session and let others write."""
        because = self.state if error is None else _why(error)
        if error is not None and self._was_done and len(self.events) == self._n_found:
            because = DONE  # what was refused changes nothing of a finished run
        try:
            with reported(self.folder):
                self._connection.execute(
                    "UPDATE session SET ended_at = ?, ended_because = ? WHERE id = ?",
                    (time.time(), because, self._session),
                )
                # a reader may keep the log beside the file, which must not lack anything
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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

    def _has_ended(self) -> bool:
        """Say whether the session before this one left nothing to do."""
        with reported(self.folder):
            latest = self._connection.execute(
                "SELECT ended_because FROM session ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return latest is not None and latest[0] == DONE

    def _start_session(self) -> int:
        process = {"pid": os.getpid(), "host": platform.node(), "python": platform.python_version()}
        with reported(self.folder):
            cursor = self._connection.execute(
                "INSERT INTO session (started_at, process) VALUES (?, ?)",
                (time.time(), json.dumps(process)),
            )
        return int(cursor.lastrowid or 0)


def _why(error: BaseException) -> str:
    """Say in a line why a session ended with an exception."""
    first = redacted((str(error).splitlines() or [""])[0])
    is_meant = isinstance(error, (EvomergeError, KeyboardInterrupt))
    return first if first and is_meant else f"{type(error).__name__}: {first}".removesuffix(": ")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be created: {error.strerror}") from error
