"""Execution in the calling process: for debugging a fitness, and for tests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from evomerge.merging import resolve_device
from evomerge.workers.evaluator import Evaluator
from evomerge.workers.local import devices_of_workers
from evomerge.workers.protocol import Held, Job, JobResult
from evomerge.workers.spec import EvaluatorSpec


class InlineExecutor:
    """Runs each job when it is waited for, in this very process; a crash takes the run with it.

    Raises:
        UserError: models, data or fitnesses cannot be loaded.
    """

    capacity = 1

    def __init__(self, spec: EvaluatorSpec) -> None:
        self._started = time.monotonic()
        (device,) = devices_of_workers(spec.device, 1, spec.gpus)
        self._device = device if "," in device else resolve_device(device)
        self._evaluator = Evaluator(replace(spec, device=self._device))
        self._queue: list[Job] = []

    def submit(self, job: Job) -> None:
        """Keep the job until it is waited for."""
        self._queue.append(job)

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:  # noqa: ARG002
        """Run the oldest job."""
        return [self._evaluator.evaluate(self._queue.pop(0))] if self._queue else []

    def held(self) -> Held:
        """Say what this process holds: it is the one worker."""
        return Held.throughout([self._device], time.monotonic() - self._started)

    def close(self) -> None:
        """Forget what was not run."""
        self._queue.clear()
