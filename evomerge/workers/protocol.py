"""The executor contract: where jobs run, whatever carries them (a process, a Ray actor)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evomerge.recipe.model import Recipe
from evomerge.types import Failed, Outcome, Split

_NO_GPU = {"cpu", "auto"}
"""'auto' is left open only where there is no GPU."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recipe to merge and score.

    Attributes:
        id: names the job in outcomes and in the journal's side files ('trial-000012', 'base').
        recipe: what to merge.
        split: which items to score.
        attempt: 0 for the first try.
        limit: score at most this many items of each objective (a rehearsal); None scores all.
        batch: objective name to the positions of the items to score, none to leave an objective
            out; one that is not there is scored on all of its items, and so are all when it is
            None.
        proxy: score by the proxies of objectives that have one, and by the others as ever.
    """

    id: str
    recipe: Recipe
    split: Split = "search"
    attempt: int = 0
    limit: int | None = None
    batch: Mapping[str, tuple[int, ...]] | None = None
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job, and what it took.

    Attributes:
        job: what was to be done.
        outcome: what became of it.
        merge_s: wall seconds of merging, on the worker.
        score_s: wall seconds of scoring.
        worker: names the worker.
        hops: tokens times layers that the forward passes of a layer path called for.
        hops_reused: how many of them the cache of common prefixes answered.
        cost: what the fitnesses charged.
    """

    job: Job
    outcome: Outcome
    merge_s: float = 0.0
    score_s: float = 0.0
    worker: str = ""
    hops: int = 0
    hops_reused: int = 0
    cost: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether the worker went with it, or can do nothing more."""
        return isinstance(self.outcome, Failed) and self.outcome.kind == "lost"

    @property
    def retryable(self) -> bool:
        """Whether it is a failure that another attempt may mend."""
        return isinstance(self.outcome, Failed) and self.outcome.kind != "invalid"

    @property
    def timing(self) -> dict[str, float]:
        """What the journal keeps beside the outcome."""
        timing: dict[str, float] = {"merge_s": self.merge_s, "score_s": self.score_s}
        if self.hops:
            timing |= {"hops": self.hops, "hops_reused": self.hops_reused}
        if self.cost:
            timing["cost"] = self.cost
        return timing


@dataclass(frozen=True, slots=True)
class Held:
    """What an executor holds, and held since it was made.

    Attributes:
        workers: how many there are now.
        gpus: how many GPUs they hold now; one that workers share is one.
        worker_s: seconds that workers were held, starting up included, summed over them.
        gpu_s: seconds that GPUs were held, summed over them.
    """

    workers: float = 0.0
    gpus: float = 0.0
    worker_s: float = 0.0
    gpu_s: float = 0.0

    @classmethod
    def throughout(cls, devices: Sequence[str], seconds: float) -> Held:
        """Return what workers hold that were all there from the beginning.

        Args:
            devices: of each worker, such as 'cuda:1', or 'cuda:0,cuda:1'.
            seconds: how long ago that was.
        """
        each = {device for own in devices for device in own.split(",")}
        gpus = {device for device in each if device.partition(":")[0] not in _NO_GPU}
        workers = len(devices)
        return cls(workers, len(gpus), workers * seconds, len(gpus) * seconds)


class Executor(Protocol):
    """Runs jobs; whatever a candidate does wrong comes back as a failed outcome."""

    @property
    def capacity(self) -> int:
        """How many jobs are done at a time, at least one.

        It may change while jobs run, as workers come and go.
        """
        ...

    def submit(self, job: Job) -> None:
        """Hand over a job; what is more than `capacity` waits, first in first out."""
        ...

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:
        """Block until at least one job is done (or the timeout passes: then empty).

        Never raises for anything a job does. Raises UserError when no worker can be started,
        because then no job can ever finish.
        """
        ...

    def held(self) -> Held:
        """Say what is held: budgets of GPU-hours and of money count it, busy or not."""
        ...

    def close(self) -> None:
        """Stop the workers; jobs in flight are abandoned."""
        ...
