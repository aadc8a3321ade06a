"""A cluster in this process whose actors sleep for a drawn time instead of evaluating.

It stands where Ray stands, below `ClusterExecutor`: what asks, records, tells and hands out is what
runs on a real cluster, in real time. What is left out is what is not the driver's work: Ray's
messages between processes, and the evaluations.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from evomerge.types import Completed
from evomerge.workers import Job, JobResult
from evomerge.workers.cluster import Node
from evomerge.workers.cluster.protocol import Fetch
from evomerge.workers.cluster.slot import Pending, Ready

SIGMA = 0.5
"""Of the logarithm of an evaluation's time: one in six takes more than 1.45 times the mean."""


class Durations:
    """Lognormal evaluation times.

    Args:
        mean_s: in seconds; 0 for answers at once.
        seed: of the drawing.
    """

    def __init__(self, mean_s: float, seed: int) -> None:
        self._mean_s = mean_s
        self._random = np.random.default_rng(seed)

    def draw(self) -> float:
        """Return the seconds that the next evaluation takes."""
        if not self._mean_s:
            return 0.0
        return float(self._mean_s * np.exp(SIGMA * self._random.standard_normal() - SIGMA**2 / 2))


class SleepingCall:
    """Answered at its time."""

    def __init__(self, answer: Any, at: float) -> None:
        self._answer = answer
        self.at = at

    def result(self) -> Any:
        """Return the answer."""
        return self._answer


class SleepingActor:
    """One worker.

    Attributes:
        busy_s: seconds it slept for jobs.
        idle_s: seconds from a job's end to when it got the next job.
    """

    def __init__(self, node: Node, durations: Durations, n_items: int) -> None:
        self._node = node
        self._durations = durations
        self._n_items = n_items
        self._free_since = time.perf_counter()
        self._job: Job | None = None
        self._slept = 0.0
        self.busy_s = 0.0
        self.idle_s = 0.0

    def call(self, method: str, *arguments: Any) -> SleepingCall:
        """Ask for something."""
        now = time.perf_counter()
        if method == "where":
            return SleepingCall(self._node, now)
        if method == "start":
            self._free_since = now
            return SleepingCall(Ready(), now)
        if method == "pulse":
            return SleepingCall(None, now)
        job, beat_s = arguments
        if job is not None:
            slept = self._durations.draw()
            if self.busy_s:  # filling all workers at the start is not waiting for the next job
                self.idle_s += now - self._free_since
            self.busy_s += slept
            self._job, self._slept, self._free_since = job, slept, now + slept
        if self._job is None or self._free_since > now + beat_s:
            return SleepingCall(Pending(), now + beat_s)
        outcome = scored(self._job, self._n_items)
        return SleepingCall(JobResult(self._job, outcome, score_s=self._slept), self._free_since)

    def end(self) -> None:
        """Nothing is left behind."""


class SleepingCluster:
    """One node with room for everybody.

    Args:
        mean_s: seconds of an evaluation.
        seed: of their drawing.
        n_items: scores of single items that each objective's result carries.
    """

    def __init__(self, mean_s: float, seed: int, n_items: int) -> None:
        self._durations = Durations(mean_s, seed)
        self._n_items = n_items
        self._node = Node("simulated", "simulated", {"CPU": 1e6})
        self.actors: list[SleepingActor] = []

    def nodes(self) -> list[Node]:
        """List the node."""
        return [self._node]

    def start(self, name: str, barred: Collection[str]) -> SleepingActor:  # noqa: ARG002
        """Add a worker."""
        self.actors.append(SleepingActor(self._node, self._durations, self._n_items))
        return self.actors[-1]

    def answered(
        self, calls: Sequence[SleepingCall], timeout_s: float | None
    ) -> list[SleepingCall]:
        """Sleep until the first answer is due; returns all that are, in their order."""
        first = min((call.at for call in calls), default=float("inf"))
        wait_s = first - time.perf_counter()
        if timeout_s is not None:
            wait_s = min(wait_s, timeout_s)
        if wait_s > 0:
            time.sleep(wait_s)
        now = time.perf_counter()
        due = [(call.at, position) for position, call in enumerate(calls) if call.at <= now]
        return [calls[position] for _, position in heapq.nsmallest(len(due), due)]

    def fetch(self) -> Fetch:
        """Fetch nothing: all files are on the node."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is left behind."""

    @property
    def idle_share(self) -> float:
        """The share of the workers' time in which they waited for a job that was going to come."""
        idle = sum(actor.idle_s for actor in self.actors)
        return idle / (idle + sum(actor.busy_s for actor in self.actors))


def scored(job: Job, n_items: int) -> Completed:
    """Score a recipe by its weights: each task likes one donor and is hurt by the others."""
    weights = np.array([one.parameters.get("weight", 0.0) for one in job.recipe.models or ()])
    metrics, examples = {}, {}
    for k, name in enumerate(("sort_up", "flip", "count_bits")):
        own = weights[k % len(weights)] if len(weights) else 0.0
        metrics[name] = float(1.0 - (own - 0.9) ** 2 - 0.1 * (weights.sum() - own))
        if n_items:
            examples[name] = {f"item-{i}": float(i % 3 == 0) for i in range(n_items)}
    return Completed(metrics, examples)
