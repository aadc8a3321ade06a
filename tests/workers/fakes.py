"""Evaluators that do what a test tells them, importable by spawned workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from evomerge.errors import UserError
from evomerge.recipe import fingerprint
from evomerge.types import Completed
from evomerge.workers import Job, JobResult

PARENT_SIGNALS = {"orphan": signal.SIGKILL, "freeze": signal.SIGSTOP}
"""What a job does to the process that started its worker, and then sleeps."""


class Scripted:
    """Does what the job's id says: 'ok-1', 'sleep-30', 'kill', 'exit'."""

    def __init__(self, spec, name):
        self.name = name

    def evaluate(self, job: Job) -> JobResult:
        verb, _, argument = job.id.partition("-")
        if verb == "sleep":
            time.sleep(float(argument))
        elif verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb in PARENT_SIGNALS:
            os.kill(os.getppid(), PARENT_SIGNALS[verb])
            time.sleep(60)
        elif verb == "exit":
            os._exit(3)
        elif verb == "spawn":
            child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
            child.start()
            child.join()
        return JobResult(job, Completed({"x": float(os.getpid())}), worker=self.name)


def refuses(spec, name):
    raise UserError("models.base: ./gone does not exist")


def dies(spec, name):
    os._exit(5)


def hangs(spec, name):
    time.sleep(600)


def slow_to_start(spec, name):
    time.sleep(3)
    return Scripted(spec, name)


class ReadsModel:
    """Scores a job by where its first model is, which must be there."""

    def __init__(self, spec, name):
        self.template = spec.template.models[0].model.path

    def evaluate(self, job: Job) -> JobResult:
        path = job.recipe.models[0].model.path
        return JobResult(job, Completed({path: float(path == self.template)}))


class Rugged:
    """Scores the objectives of `tests.study.fakes` by a recipe's fingerprint: cheap to load."""

    deadly: tuple[str, ...] = ()

    def __init__(self, spec, name):
        pass

    def evaluate(self, job: Job) -> JobResult:
        if job.id in self.deadly:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        text = fingerprint(job.recipe)
        return JobResult(job, Completed({"one": int(text[:8], 16), "two": int(text[8:16], 16)}))


class Deadly(Rugged):
    """Two candidates kill their worker, whatever node it is on."""

    deadly = ("trial-000005", "trial-000009")
