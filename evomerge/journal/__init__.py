"""The journal: an append-only log of everything a run did, and the only truth about it."""

from evomerge.journal.events import Event, outcome_from_json, outcome_to_json
from evomerge.journal.reading import (
    DATABASE,
    Follower,
    Session,
    is_open,
    read_events,
    read_sessions,
)
from evomerge.journal.store import Journal

__all__ = [
    "DATABASE",
    "Event",
    "Follower",
    "Journal",
    "Session",
    "is_open",
    "outcome_from_json",
    "outcome_to_json",
    "read_events",
    "read_sessions",
]
