"""Local execution: one process a worker, donors mapped from the same files."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeAlias

from evomerge.errors import UserError
from evomerge.types import Completed, Failed
from evomerge.workers.machine import available_gpus
from evomerge.workers.protocol import Held, Job, JobResult
from evomerge.workers.spec import EvaluatorSpec

MAX_FAILED_STARTS = 3
HUNG_S, HUNG_TIMES = 3600.0, 100.0
"""Without a time-out a worker has hung after an hour, or after so many times what the longest
evaluation before took, if that is more: a hang must not last the night."""
DRIVER_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEAD = object()


class Evaluates(Protocol):
    """What a worker process runs."""

    def evaluate(self, job: Job) -> JobResult:
        """Merge and score one recipe; never raises."""
        ...


EvaluatorFactory: TypeAlias = Callable[[EvaluatorSpec, str], Evaluates]


def build_evaluator(spec: EvaluatorSpec, name: str) -> Evaluates:
    """Build the evaluator; imports torch, so only worker processes call it."""
    from evomerge.workers.evaluator import Evaluator  # noqa: PLC0415

    return Evaluator(spec, name)


@dataclass(slots=True)
class _Worker:
    """The driver's view of one worker process."""

    name: str
    process: BaseProcess
    pipe: Connection
    started_at: float
    ready: bool = False
    job: Job | None = None
    since: float = 0.0


class LocalExecutor:
    """Runs jobs in worker processes on this machine.

    A worker that dies or exceeds the time-out is replaced; its job comes back as a failed outcome
    ('lost' or 'timeout') for the caller to retry. Time-outs count from the moment a ready worker
    gets the job, start-up excluded.

    Args:
        spec: what each worker builds.
        count: number of worker processes.
        timeout_s: seconds a job may take; None for `HUNG_S` and `HUNG_TIMES`, and for no limit
            before the first is completed.
        start_timeout_s: seconds a worker may take to become ready.
        build: makes a worker's evaluator in the worker process; importable by name.

    Raises:
        UserError: no worker could be started; what the worker said is in the message.
    """

    def __init__(
        self,
        spec: EvaluatorSpec,
        *,
        count: int,
        timeout_s: float | None = None,
        start_timeout_s: float = 1800.0,
        build: EvaluatorFactory = build_evaluator,
    ) -> None:
        self._spec = spec
        self._build = build
        self._timeout_s = timeout_s
        self._longest_s: float | None = None
        self._start_timeout_s = start_timeout_s
        self._context = mp.get_context("spawn")
        self._queue: list[Job] = []
        self._failed_starts = 0
        self._devices = devices_of_workers(spec.device, count, spec.gpus)
        self._started = time.monotonic()
        self._workers: list[_Worker] = []
        # Not daemons, so that a fitness may start processes of its own: end them ourselves.
        self._finalizer = weakref.finalize(self, _end_all, self._workers)
        self._workers += [self._start(slot) for slot in range(count)]

    @property
    def capacity(self) -> int:
        """One job a worker."""
        return len(self._workers)

    def ready(self, timeout_s: float) -> bool:
        """Say whether every worker is ready, waiting for it before the first job.

        Raises:
            UserError: as `wait`.
        """
        deadline = time.monotonic() + timeout_s
        while not all(worker.ready for worker in self._workers):
            if time.monotonic() >= deadline:
                return False
            self._collect(deadline)
        return True

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
            if not self._queue and not any(worker.job for worker in self._workers):
                return results

    def held(self) -> Held:
        """Say what is held: a worker that is lost is replaced at once."""
        return Held.throughout(self._devices, time.monotonic() - self._started)

    def close(self) -> None:
        """Stop every worker now."""
        _end_all(self._workers)

    def _start(self, slot: int) -> _Worker:
        here, there = self._context.Pipe()
        name = f"local-{slot}"
        spec = replace(self._spec, device=self._devices[slot])
        process = self._context.Process(
            target=_work, args=(self._build, spec, name, there, os.getpid()), name=name
        )
        # A signal meant for the driver must not end a worker, not even while it starts.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, DRIVER_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        there.close()
        return _Worker(name, process, here, time.monotonic())

    def _dispatch(self) -> None:
        for worker in self._workers:
            if self._queue and worker.ready and worker.job is None:
                job = self._queue.pop(0)
                worker.job, worker.since = job, time.monotonic()
                with suppress(OSError):  # it just died: `_collect` sees the closed pipe
                    worker.pipe.send(job)

    def _collect(self, deadline: float | None) -> list[JobResult]:
        """Wait once for messages, deaths and time-outs, whichever comes first."""
        # A process of the fitness may hold the pipe open after its worker died: watch both.
        watched: dict[Any, int] = {}
        for slot, worker in enumerate(self._workers):
            watched |= {worker.pipe: slot, worker.process.sentinel: slot}
        seconds = self._patience(deadline)
        results: list[JobResult] = []
        for slot in sorted({watched[one] for one in wait(list(watched), timeout=seconds)}):
            worker = self._workers[slot]
            try:
                message: Any = worker.pipe.recv() if worker.pipe.poll() else _DEAD
            except (EOFError, OSError):
                message = _DEAD
            if message is _DEAD:
                results += self._replace(slot, "lost", self._death(slot))
            else:
                results += self._receive(slot, message)
        now = time.monotonic()
        for slot, worker in enumerate(self._workers):
            limit = self._job_limit_s if worker.ready else self._start_timeout_s
            begun = worker.since if worker.ready else worker.started_at
            if (worker.job or not worker.ready) and limit is not None and now - begun > limit:
                what = "the evaluation" if worker.ready else "the start of a worker"
                results += self._replace(slot, "timeout", f"{what} took longer than {limit:g} s")
        return results

    def _patience(self, deadline: float | None) -> float | None:
        """Return how long to wait before something must be looked at."""
        moments = [] if deadline is None else [deadline]
        for worker in self._workers:
            if not worker.ready:
                moments.append(worker.started_at + self._start_timeout_s)
            elif worker.job and self._job_limit_s is not None:
                moments.append(worker.since + self._job_limit_s)
        return max(0.0, min(moments) - time.monotonic()) + 0.001 if moments else None

    @property
    def _job_limit_s(self) -> float | None:
        """How long a job may take; None without a limit."""
        if self._timeout_s is not None or self._longest_s is None:
            return self._timeout_s
        return max(HUNG_S, HUNG_TIMES * self._longest_s)

    def _receive(self, slot: int, message: JobResult | str | None) -> list[JobResult]:
        worker = self._workers[slot]
        if isinstance(message, JobResult):
            worker.job = None
            if isinstance(message.outcome, Completed):
                took_s = time.monotonic() - worker.since
                self._longest_s = max(took_s, self._longest_s or 0.0)
            if message.is_lost:
                self._replace(slot, "lost", "")
            return [message]
        if message is None:
            worker.ready = True
            self._failed_starts = 0
            return []
        self.close()
        raise UserError(message)

    def _replace(self, slot: int, kind: str, message: str) -> list[JobResult]:
        worker = self._workers[slot]
        _end(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                self.close()
                raise UserError(f"no worker can be started: {message}")
        self._workers[slot] = self._start(slot)
        if worker.job is None:
            return []
        failure = Failed("timeout" if kind == "timeout" else "lost", message)
        return [JobResult(worker.job, failure, worker=worker.name)]

    def _death(self, slot: int) -> str:
        process = self._workers[slot].process
        process.join(timeout=5)
        code = process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (often: out of memory)" if name == "SIGKILL" else ""
            return f"the worker process was ended by {name}{hint}"
        return f"the worker process ended with exit code {code}"


def devices_of_workers(device: str, count: int, gpus: int = 1) -> list[str]:
    """Spread workers over the GPUs when the device is left open.

    Args:
        device: as the study says.
        count: how many workers there are.
        gpus: of each; several are named with commas between, and belong to one worker alone.

    Raises:
        UserError: there are not enough for workers of several.
    """
    if device not in {"auto", "cuda"}:
        return [device] * count
    there = available_gpus()
    if gpus > 1:
        if there < count * gpus:
            raise UserError(
                f"workers.gpus_per_worker: {count} x {gpus} GPUs are asked for and this machine "
                f"has {there}; lower count or gpus_per_worker"
            )
        return [
            ",".join(f"cuda:{slot * gpus + index}" for index in range(gpus))
            for slot in range(count)
        ]
    if not there:
        return [device] * count
    return [f"cuda:{slot % there}" for slot in range(count)]


def _end_all(workers: list[_Worker]) -> None:
    while workers:
        _end(workers.pop())


def _end(worker: _Worker) -> None:
    """End a worker and whatever its fitness started: they share a process group."""
    worker.pipe.close()
    with suppress(ProcessLookupError, PermissionError):  # it is gone, or has no group yet
        if worker.process.pid is not None:
            os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.kill()
    worker.process.join()


def _work(
    build: EvaluatorFactory, spec: EvaluatorSpec, name: str, pipe: Connection, driver: int
) -> None:
    """Body of a worker process: say ready (None) or why not (text), then answer jobs."""
    os.setsid()  # out of the terminal's group, and a group that can be ended as one
    for number in DRIVER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DRIVER_SIGNALS)
    threading.Thread(target=_leave_with, args=(driver,), daemon=True).start()
    try:
        evaluator = build(spec, name)
    except UserError as error:
        pipe.send(str(error))
        return
    except Exception as error:  # noqa: BLE001 a fitness's constructor may raise anything
        pipe.send(f"a worker cannot be built: {type(error).__name__}: {error}")
        return
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        result = evaluator.evaluate(job)
        try:
            pipe.send(result)
        except BrokenPipeError:  # the driver was killed meanwhile: nobody is left to tell
            return


def _leave_with(driver: int) -> None:
    """End the worker when its driver was killed, even in the middle of an evaluation."""
    while os.getppid() == driver:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)
