"""The journal: an append-only log of everything a run did, and the only truth about it."""

from evomerge.journal.events import Event, outcome_from_json, outcome_to_json
from evomerge.journal.store import Journal, Session, read_events, read_sessions

__all__ = [
    "Event",
    "Journal",
    "Session",
    "outcome_from_json",
    "outcome_to_json",
    "read_events",
    "read_sessions",
]
