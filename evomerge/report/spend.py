"""What a run took: time, by what it was spent on, single items, GPU hours and money.

This is the one place where a report reads any of it from the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evomerge.journal import Event, Session
from evomerge.journal.examples import read_examples
from evomerge.study.budgets.meter import SEARCHING, spent_in


@dataclass(frozen=True, slots=True)
class Spend:
    """What a run took so far, over all its sessions.

    Attributes:
        started_at: wall-clock seconds since the epoch.
        last_at: when it last did something.
        sessions: how many processes worked on it.
        wall_s: seconds in which a process worked on it.
        search_s: seconds of these that the search took.
        worker_s: seconds workers were held, summed over them.
        n_workers: how many evaluate at once; of a cluster, at most.
        merge_s: seconds of merging in the search, over all workers.
        score_s: seconds of scoring in the search, over all workers.
        after_s: seconds of merging and scoring baselines and the front.
        items: single items the search scored, over all objectives; None where fitnesses name none.
        items_after: the same of baselines and the front.
        repeated: trials whose recipe had been scored before, which took nothing.
        gpu_s: seconds GPUs were held, summed over them.
        cost: what fitnesses charged; None where they charge nothing.
    """

    started_at: float
    last_at: float
    sessions: int
    wall_s: float
    search_s: float
    worker_s: float
    n_workers: int
    merge_s: float
    score_s: float
    after_s: float
    items: int | None
    items_after: int | None
    repeated: int
    gpu_s: float
    cost: float | None

    @property
    def idle_s(self) -> float:
        """Seconds of workers in the search that were neither merging nor scoring."""
        return max(0.0, self.n_workers * self.search_s - self.merge_s - self.score_s)


def spend_of(run: Path, events: Sequence[Event], sessions: Sequence[Session]) -> Spend:
    """Add up what a run took.

    Args:
        run: its directory; files with scores of items are counted where the journal does not say.
        events: of its journal; at least one.
        sessions: the same.
    """
    spans = list(_spans(events, sessions))
    searching = [event for event in events if event.kind in SEARCHING]
    spent = spent_in(sessions, events)
    after = [event for event in events if event.kind == "scored"]
    workers = events[0].payload["study"].get("workers", {})
    charged = [event.timing["cost"] for event in events if "cost" in event.timing]
    return Spend(
        started_at=events[0].at if not sessions else sessions[0].started_at,
        last_at=max(event.at for event in events),
        sessions=len(sessions),
        wall_s=sum(last - first for first, last in spans),
        search_s=spent.search_s,
        worker_s=spent.worker_s,
        n_workers=workers.get("count", 1),
        merge_s=sum(event.timing.get("merge_s", 0.0) for event in searching),
        score_s=sum(event.timing.get("score_s", 0.0) for event in searching),
        after_s=sum(
            event.timing.get("merge_s", 0.0) + event.timing.get("score_s", 0.0) for event in after
        ),
        items=_items(run, [event for event in searching if event.kind != "validated"]),
        items_after=_items(run, [event for event in after if event.timing]),
        repeated=sum("same_as" in event.payload for event in events if event.kind == "finished"),
        gpu_s=spent.gpu_s,
        cost=sum(charged) if charged else None,
    )


def _spans(events: Sequence[Event], sessions: Sequence[Session]) -> Iterator[tuple[float, float]]:
    """Yield when each session began and ended; a killed one ended with its last event."""
    for index, session in enumerate(sessions):
        later = sessions[index + 1].started_at if index + 1 < len(sessions) else float("inf")
        inside = [event.at for event in events if session.started_at <= event.at < later]
        last = max(inside, default=session.started_at)
        ended = session.ended_at if session.ended_at is not None else last
        yield session.started_at, max(ended, session.started_at)  # clocks are set back sometimes


def _items(run: Path, events: Sequence[Event]) -> int | None:
    """Count scored items: as noted with rungs, otherwise from the files of what was paid for."""
    rungs = any(event.kind == "measured" for event in events)
    total = 0
    for event in events:
        if "items" in event.timing:
            total += int(event.timing["items"])
        elif rungs:
            total += event.payload.get("n_items", 0) if event.kind == "measured" else 0
        elif event.payload.get("examples") and "same_as" not in event.payload:
            scores = read_examples(run, event.payload["examples"])
            total += sum(map(len, scores.values()))
    return total or None
