"""Evaluations that fail as a schedule says; worker processes import this, so it stays light."""

from __future__ import annotations

import json
import os
import resource
import signal
import time

from evomerge.types import Completed, Failed
from evomerge.workers import JobResult

N_ITEMS = {"one": 50, "two": 45}
"""As `tests.study.fakes.ITEMS` has them."""

DIARY, PLAN = "evaluations", "plan.json"
_LINE = 40


def outcome_of(job):
    """What a candidate is worth: a smooth conflict, item by item, and a region that means nothing.

    Failures that another attempt may mend are left to the schedule.
    """
    share = {"/models/a": 0.0, "/models/b": 0.0}
    for source in job.recipe.models:
        share[source.model.path] += source.parameters["weight"]
    a, b = share.values()
    if 0.6 < a < 0.7:
        return Failed("invalid", "a region without a meaning")
    quality = {"one": 1 - (a - 0.9) ** 2 - 0.1 * b, "two": 0.2 + (b - 0.8) ** 2 + 0.2 * a}
    metrics, examples = {}, {}
    for name, n_items in N_ITEMS.items():
        chosen = range(n_items) if job.batch is None else job.batch[name]
        if job.limit is not None:
            chosen = range(job.limit)
        if chosen:
            examples[name] = {
                f"i{k}": round(quality[name] + 0.6 * (k * 0.618034 % 1 - 0.5), 3) for k in chosen
            }
            metrics[name] = sum(examples[name].values()) / len(chosen)
    return Completed(metrics, examples)


def noted(folder, job):
    """Write an evaluation into the schedule's diary; returns how many came before it."""
    line = f"{job.id}/{job.split}/{job.attempt}".ljust(_LINE - 1) + "\n"
    diary = os.open(folder / DIARY, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        os.write(diary, line.encode())
        return os.lseek(diary, 0, os.SEEK_CUR) // _LINE - 1
    finally:
        os.close(diary)


def affliction(folder, job):
    """Note an evaluation; returns what befalls it, each time something else or nothing."""
    plan = json.loads((folder / PLAN).read_text())
    return plan.get(str(noted(folder, job)))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_parent():
    """Of a Ray worker that is the actor, of a local one the driver."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def hang():
    time.sleep(600)


def freeze():
    os.kill(os.getpid(), signal.SIGSTOP)


def run_out_of_memory():
    """Take more memory than there is, for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
    try:
        bytearray(4 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def break_device():
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


AFFLICTIONS = {
    one.__name__: one for one in (kill, hang, freeze, run_out_of_memory, break_device, kill_parent)
}


class Afflicted:
    """A worker's evaluator; the plan of the schedule lies in the study's folder."""

    def __init__(self, spec, name):
        self._folder = spec.folder

    def evaluate(self, job):
        befallen = affliction(self._folder, job)
        try:
            if befallen is not None:
                AFFLICTIONS[befallen]()
        except MemoryError as error:
            return JobResult(job, Failed("error", f"MemoryError: {error}"))
        except RuntimeError as error:
            return JobResult(job, Failed("lost", str(error)))
        return JobResult(job, outcome_of(job), 0.001, 0.001, "afflicted")
