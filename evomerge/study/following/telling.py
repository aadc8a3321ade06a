"""From the events of a journal to the calls of a callback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

from evomerge.callbacks import Callback, FinishedTrial, RunEnd, RunStart
from evomerge.journal import Event
from evomerge.journal.events import canonical
from evomerge.study.seen import SeenRun, SeenTrial
from evomerge.types import Failed

EndState: TypeAlias = Literal["done", "interrupted", "failed", "killed"]


class Told:
    """Tells a callback of a run, beginning where an earlier session ended.

    Args:
        callback: who is told.
        folder: the run directory.
        after: number of the last event that an earlier session told of; 0 for none.

    Attributes:
        seq: number of the last event that was told of.
    """

    def __init__(self, callback: Callback, folder: Path, after: int) -> None:
        self.seq = after
        self._callback = callback
        self._folder = folder
        self._run: SeenRun | None = None

    def tell(self, events: Iterable[Event]) -> None:
        """Pass on what follows what was passed on before."""
        for event in events:
            if self._run is None:
                self._run = SeenRun(event)
                self._begin(event, self._run)
                continue
            trial = self._run.see(event)
            if event.kind == "finished" and trial is not None and event.seq > self.seq:
                show = getattr(self._callback, "trial", None)
                if show is not None:
                    show(_finished(self._run, trial, event))
            self.seq = max(self.seq, event.seq)

    def end(self, state: EndState, reason: str) -> None:
        """Say that the session is over; nothing where it was never told of its beginning."""
        end = getattr(self._callback, "end", None)
        if self._run is None or end is None:
            return
        standing = self._run.standing
        end(
            RunEnd(
                state,
                reason,
                self._run.n_finished,
                standing.failed,
                dict(standing.best),
                len(standing.front),
                standing.hypervolume(),
            )
        )

    def _begin(self, opening: Event, run: SeenRun) -> None:
        begin = getattr(self._callback, "begin", None)
        if begin is None:
            return
        study = opening.payload["study"]
        text = f"{opening.at!r}|{canonical(opening.payload)}"
        begin(
            RunStart(
                hashlib.sha256(text.encode()).hexdigest()[:16],
                study["name"],
                self._folder,
                study,
                run.objectives,
                resumed=self.seq > opening.seq,
            )
        )


def _finished(run: SeenRun, trial: SeenTrial, event: Event) -> FinishedTrial:
    standing, outcome = run.standing, trial.outcome
    if trial.state == "running":
        raise RuntimeError(f"trial {trial.number} is not finished")
    return FinishedTrial(
        number=trial.number,
        count=run.n_finished,
        stage=trial.label,
        origin=trial.origin,
        genes=trial.genes,
        state=trial.state,
        metrics=trial.metrics,
        failure=outcome.message if isinstance(outcome, Failed) else "",
        rung=trial.rung,
        seconds=event.timing.get("merge_s", 0.0) + event.timing.get("score_s", 0.0),
        at=event.at,
        best=dict(standing.best),
        front=len(standing.front),
        hypervolume=standing.hypervolume(),
        failed=standing.failed,
    )
