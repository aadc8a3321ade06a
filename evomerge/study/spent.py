"""How much of a budget of hours earlier sessions have used."""

from __future__ import annotations

from evomerge.journal import Journal, read_sessions

SEARCHING = frozenset({"staged", "asked", "retried", "finished", "validated", "stopped"})


def seconds_spent(journal: Journal) -> float:
    """Sum what earlier sessions searched for: up to the last event of the search in each."""
    sessions = read_sessions(journal.folder)[:-1]
    stamps = [event.at for event in journal.events if event.kind in SEARCHING]
    total = 0.0
    for index, session in enumerate(sessions):
        following = sessions[index + 1].started_at if index + 1 < len(sessions) else float("inf")
        inside = [at for at in stamps if session.started_at <= at < following]
        total += max(inside, default=session.started_at) - session.started_at
    return total
