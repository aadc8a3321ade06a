"""The executor contract: where jobs run, whatever carries them (a process, a Ray actor)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evomerge.recipe.model import Recipe
from evomerge.types import Outcome, Split


@dataclass(frozen=True, slots=True)
class Job:
    """One recipe to merge and score.

    Attributes:
        id: names the job in outcomes and in the journal's side files ('trial-000012', 'base').
        recipe: what to merge.
        split: which items to score.
        attempt: 0 for the first try.
        limit: score at most this many items of each objective (a rehearsal); None scores all.
    """

    id: str
    recipe: Recipe
    split: Split = "search"
    attempt: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job, and what it took (wall seconds on the worker)."""

    job: Job
    outcome: Outcome
    merge_s: float = 0.0
    score_s: float = 0.0
    worker: str = ""


class Executor(Protocol):
    """Runs jobs; whatever a candidate does wrong comes back as a failed outcome."""

    @property
    def capacity(self) -> int:
        """How many jobs may be submitted and not yet returned."""
        ...

    def submit(self, job: Job) -> None:
        """Hand over a job; the caller keeps within `capacity`."""
        ...

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:
        """Block until at least one job is done (or the timeout passes: then empty).

        Never raises for anything a job does. Raises UserError when no worker can be started,
        because then no job can ever finish.
        """
        ...

    def close(self) -> None:
        """Stop the workers; jobs in flight are abandoned."""
        ...
