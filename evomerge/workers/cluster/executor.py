"""Execution on a cluster: every worker an actor, kept busy, watched and replaced."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from evomerge.errors import UserError
from evomerge.types import Failed
from evomerge.workers.cluster.nodes import Nodes
from evomerge.workers.cluster.protocol import Actor, Call, Cluster, Fetch, Lost, Node
from evomerge.workers.cluster.slot import Missing, Order, Pending, Ready, Refused
from evomerge.workers.cluster.spec import ClusterSpec
from evomerge.workers.protocol import Held, Job, JobResult

MAX_MOVES = 5
MAX_LOST_PLACES = 3


class _Step(Enum):
    """What the driver waits for."""

    PLACING = "a place on a node"
    STARTING = "the worker process"
    IDLE = "a job"
    WORKING = "a result"


@dataclass(slots=True)
class _Slot:
    """The driver's view of one worker."""

    name: str
    actor: Actor
    call: Call | None
    step: _Step = _Step.PLACING
    node: Node | None = None
    placed_at: float = 0.0
    fetch: Fetch | None = None
    heard_at: float = 0.0
    job: Job | None = None


class ClusterExecutor:
    """Runs jobs on the nodes of a cluster.

    A worker that dies, hangs or exceeds the time-out is replaced, on any node that is not barred;
    its job comes back as a failed outcome ('lost' or 'timeout') for the caller to retry. A job
    whose whole node went is done again elsewhere, which is no attempt of its own. Time-outs count
    from the moment a ready worker gets the job.

    Capacity follows the cluster: workers for which there is no room are waited for as long as the
    search lasts, and count once they are ready.

    Args:
        cluster: where there is room for workers.
        wanted: how many, and what each needs.
        order: what each worker builds.
        note: told what users should know, a line at a time.
        beat_s: every so many seconds a worker shows that it is alive.
        silence_s: one that has not for so many seconds longer is taken for dead.
        room_s: seconds to wait for the first place, while there is work and no worker.

    Raises:
        UserError: the workers cannot be placed.
    """

    def __init__(
        self,
        cluster: Cluster,
        wanted: ClusterSpec,
        order: Order,
        *,
        note: Callable[[str], None] = lambda _: None,
        beat_s: float = 10.0,
        silence_s: float = 60.0,
        room_s: float = 1800.0,
    ) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._order = order
        self._note = note
        self._beat_s = beat_s
        self._silence_s = silence_s
        self._room_s = room_s
        self._queue: list[Job] = []
        self._nodes = Nodes()
        self._moves: Counter[tuple[str, str, int]] = Counter()
        self._lost_places = 0
        self._roomless_since: float | None = None
        self._looked_at = 0.0
        self._held_s = 0.0
        self._slots: list[_Slot] = []
        self._ready: set[str] = set()
        self._idle: dict[str, _Slot] = {}
        wanted.require_room(cluster.nodes())
        self._slots = [self._open(number) for number in range(wanted.count)]

    @property
    def capacity(self) -> int:
        """As many jobs as there are ready workers; one before there are any."""
        return max(1, len(self._ready))

    def submit(self, job: Job) -> None:
        """Hand over a job; it starts as soon as a worker is free."""
        self._queue.append(job)
        self._dispatch()

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:
        """Block until a job is done or the timeout passes."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            results = self._collect(deadline)
            self._dispatch()
            if results or (deadline is not None and time.monotonic() >= deadline):
                return results
            if not self._queue and not any(slot.job for slot in self._slots):
                return results

    def held(self) -> Held:
        """Say what is held: a worker counts from when it has a place until that is given back."""
        now = time.monotonic()
        placed = [slot for slot in self._slots if slot.node is not None]
        worker_s = self._held_s + sum(now - slot.placed_at for slot in placed)
        workers, gpus = len(placed), self._wanted.gpus
        return Held(workers, workers * gpus, worker_s, worker_s * gpus)

    def close(self) -> None:
        """End every worker now, and leave the cluster."""
        for slot in self._slots:
            self._leave(slot)
        self._slots.clear()
        self._cluster.close()

    def _open(self, number: int) -> _Slot:
        name = f"worker-{number}"
        actor = self._cluster.start(name, self._nodes.barred.keys())
        return _Slot(name, actor, actor.call("where"))

    def _turn(self, slot: _Slot, step: _Step) -> None:
        """Let a worker take the next step; who is ready, and idle, is asked at every trial."""
        slot.step = step
        if step in (_Step.IDLE, _Step.WORKING):
            self._ready.add(slot.name)
        else:
            self._ready.discard(slot.name)
        if step is _Step.IDLE:
            self._idle[slot.name] = slot
        else:
            self._idle.pop(slot.name, None)

    def _dispatch(self) -> None:
        while self._queue and self._idle:
            job = self._queue.pop(0)
            slot = self._choose(self._nodes.suspects(job.id))
            self._turn(slot, _Step.WORKING)
            slot.job = job
            self._ask(slot, "work", job, self._beat_s)

    def _choose(self, suspects: Collection[str]) -> _Slot:
        """Return an idle worker, where a job has not lost one yet if there is one."""
        elsewhere = (
            slot
            for slot in self._idle.values()
            if slot.node is not None and slot.node.id not in suspects
        )
        return next(elsewhere, None) or next(iter(self._idle.values()))

    def _ask(self, slot: _Slot, method: str, *arguments: object) -> None:
        slot.call = slot.actor.call(method, *arguments)
        slot.heard_at = time.monotonic()

    def _collect(self, deadline: float | None) -> list[JobResult]:
        """Wait once for answers, deaths and silence, whichever comes first."""
        asked = {slot.call: slot for slot in self._slots if slot.call is not None}
        results: list[JobResult] = []
        for call in self._cluster.answered(list(asked), self._patience(deadline)):
            if asked[call].call is call:  # it was not replaced for what another one said
                results += self._hear(asked[call], call)
        now = time.monotonic()
        for slot in list(self._slots):
            if slot.step is _Step.PLACING:
                continue
            unheard = now - slot.heard_at
            if slot.call is None and unheard >= self._beat_s:
                self._ask(slot, "pulse")
            elif unheard >= self._beat_s + self._silence_s:
                results += self._lose(slot, Lost(f"it gave no sign of life for {unheard:.0f} s"))
        self._require_workers(now)
        return results

    def _patience(self, deadline: float | None) -> float:
        """Return how long to wait before something must be looked at."""
        now = time.monotonic()
        moments = [now + self._beat_s] + ([] if deadline is None else [deadline])
        for slot in self._slots:
            if slot.step is not _Step.PLACING:
                silence = 0.0 if slot.call is None else self._silence_s
                moments.append(slot.heard_at + self._beat_s + silence)
        return max(0.0, min(moments) - now) + 0.001

    def _hear(self, slot: _Slot, call: Call) -> list[JobResult]:
        try:
            answer = call.result()
        except Lost as lost:
            return self._lose(slot, lost)
        except UserError:
            self.close()
            raise
        slot.call, slot.heard_at = None, time.monotonic()
        if slot.step is _Step.PLACING:
            self._place(slot, answer)
        elif isinstance(answer, Refused):
            self._refuse(slot, answer.message)
        elif slot.step is _Step.STARTING:
            self._go_on_starting(slot, answer)
        elif isinstance(answer, Pending):
            self._ask(slot, "work", None, self._beat_s)
        elif isinstance(answer, JobResult):
            return [self._finish(slot, answer)]
        return []

    def _place(self, slot: _Slot, node: Node) -> None:
        slot.node, slot.placed_at = node, time.monotonic()
        self._turn(slot, _Step.STARTING)
        self._lost_places = 0
        if node.id in self._nodes.barred:  # it was asked for before the node was
            self._reopen(slot)
        else:
            self._ask(slot, "start", self._order, slot.fetch, self._beat_s)

    def _go_on_starting(self, slot: _Slot, answer: object) -> None:
        if isinstance(answer, Ready) and slot.node is not None:
            self._turn(slot, _Step.IDLE)
            self._nodes.started(slot.node.id)
            return
        if isinstance(answer, Missing):
            slot.fetch = self._cluster.fetch()
        self._ask(slot, "start", self._order, slot.fetch, self._beat_s)

    def _finish(self, slot: _Slot, result: JobResult) -> JobResult:
        """Take a result from a worker, under the name of the job as the caller knows it."""
        job, node = slot.job, slot.node
        if job is None or node is None:
            raise RuntimeError(f"{slot.name} has a result of no job")
        slot.job = None
        self._turn(slot, _Step.IDLE)
        outcome = result.outcome
        if isinstance(outcome, Failed) and outcome.kind in ("lost", "timeout"):
            outcome = replace(outcome, message=f"{outcome.message}, on {node.host}")
            self._blame(node, job, outcome.message)
        else:
            self._nodes.completed(node.id)
        if node.id in self._nodes.barred and slot.node is node:
            self._reopen(slot)
        return replace(result, job=job, outcome=outcome, worker=f"{node.host}/{slot.name}")

    def _lose(self, slot: _Slot, lost: Lost) -> list[JobResult]:
        """Replace a worker that is gone; returns what became of its job."""
        job, node, actor, step = slot.job, slot.node, slot.actor, slot.step
        slot.job = None
        results = []
        if node is None:
            self._lost_places += not lost.with_node
            if self._lost_places >= MAX_LOST_PLACES:
                self._give_up(f"no worker can be started: {lost}")
        else:
            message = f"the worker on {node.host} was lost: {lost}"
            if lost.with_node:
                self._note(message + ("; its job is done elsewhere" if job else ""))
            elif step is _Step.STARTING and self._nodes.failed_start(node.id):
                self._bar(node, f"no worker can be started: {lost}", useless=True)
            if job is not None and not self._moves_on(job, lost):
                self._blame(node, job, message)
                failure = Failed("lost", message)
                results = [JobResult(job, failure, worker=f"{node.host}/{slot.name}")]
        if slot.actor is actor:
            self._reopen(slot)
        return results

    def _moves_on(self, job: Job, lost: Lost) -> bool:
        """Put a job back that lost its worker through no fault of its own, as far as is known."""
        key = (job.id, job.split, job.attempt)
        if not lost.with_node or self._moves[key] >= MAX_MOVES:
            return False
        self._moves[key] += 1
        self._queue.insert(0, job)
        return True

    def _refuse(self, slot: _Slot, why: str) -> None:
        """Leave a node on which nothing can be evaluated; the job is done elsewhere."""
        job, node, actor = slot.job, slot.node, slot.actor
        if node is None:
            raise RuntimeError(f"{slot.name} refused before it had a place")
        if job is not None:
            self._queue.insert(0, job)
            slot.job = None
        self._bar(node, why, useless=True)
        if slot.actor is actor:
            self._reopen(slot)

    def _blame(self, node: Node, job: Job, message: str) -> None:
        if self._nodes.died(node.id, job.id):
            self._bar(node, f"candidates in a row lose their worker there: {message}")

    def _bar(self, node: Node, why: str, *, useless: bool = False) -> None:
        """Leave a node out.

        Args:
            node: which.
            why: for users.
            useless: it can do nothing, so that without another the search ends; one that is
                only doubtful is kept then.
        """
        barred = self._nodes.barred
        if node.id in barred:
            return
        if not self._wanted.room(one for one in self._unbarred() if one.id != node.id):
            if not useless:
                return
            if not self._wanted.on_demand:
                self._give_up(why)
        barred[node.id] = why
        self._note(f"node {node.host} is left out: {why}")
        for slot in self._slots:
            if slot.job is None and (slot.node is None or slot.node.id == node.id):
                self._reopen(slot)

    def _reopen(self, slot: _Slot) -> None:
        """Replace an actor by a new one, wherever there is room."""
        slot.actor.end()
        slot.actor = self._cluster.start(slot.name, self._nodes.barred.keys())
        self._turn(slot, _Step.PLACING)
        self._leave(slot)
        slot.job = slot.fetch = None
        slot.call = slot.actor.call("where")

    def _leave(self, slot: _Slot) -> None:
        """Give a worker's place back."""
        if slot.node is not None:
            self._held_s += time.monotonic() - slot.placed_at
        slot.node = None

    def _require_workers(self, now: float) -> None:
        """End a search whose work finds no worker."""
        if not self._queue or any(slot.step is not _Step.PLACING for slot in self._slots):
            self._roomless_since = None
            return
        if self._roomless_since is None:
            self._roomless_since = self._looked_at = now
        if now - self._roomless_since >= self._room_s:
            self._give_up(
                f"workers: no place for one of {self._wanted} in {self._room_s / 60:.0f} minutes; "
                "free some of the cluster, or lower what each gets"
            )
        if self._nodes.barred and now - self._looked_at >= self._beat_s:
            self._looked_at = now
            if not self._wanted.on_demand and not self._wanted.room(self._unbarred()):
                self._give_up(list(self._nodes.barred.values())[-1])

    def _unbarred(self) -> list[Node]:
        return [one for one in self._cluster.nodes() if one.id not in self._nodes.barred]

    def _give_up(self, message: str) -> None:
        self.close()
        raise UserError(message)
