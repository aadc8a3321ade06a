"""How much room records take: written into memory as the journal writes them to disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from evomerge.journal.events import EventKind, canonical, chained
from evomerge.journal.examples import Examples, packed
from evomerge.journal.store import SCHEMA

BLOCK_BYTES = 4096
"""What a file takes on disk is a multiple of this on all usual file systems."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that may come.

    Attributes:
        kind: what happens.
        payload: plain JSON data.
        timing: as of an event.
    """

    kind: EventKind
    payload: Mapping[str, Any]
    timing: Mapping[str, float] = field(default_factory=dict)


def events_bytes(drafts: Sequence[Draft], times: int = 1) -> float:
    """Return the bytes that events add to a journal, each time they come.

    Args:
        drafts: the events of one trial, say.
        times: how often they are written; more than once fills pages as a long run does.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(SCHEMA)
        empty = _pages(database)
        database.execute("BEGIN")
        for number in range(times):
            for draft in drafts:
                text, timing = canonical(draft.payload), json.dumps(draft.timing)
                digest = chained("", draft.kind, number, text)
                database.execute(
                    "INSERT INTO event (kind, trial, payload, timing, at, digest)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (draft.kind, number, text, timing, 0.5, digest),
                )
        database.execute("COMMIT")
        return (_pages(database) - empty) / times


def examples_bytes(examples: Examples) -> int:
    """Return the bytes that a file of per-example scores takes on disk; 0 where there are none."""
    if not examples:
        return 0
    return -(-len(packed(examples)) // BLOCK_BYTES) * BLOCK_BYTES


def _pages(database: sqlite3.Connection) -> int:
    (count,) = database.execute("PRAGMA page_count").fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    return int(count * size)
