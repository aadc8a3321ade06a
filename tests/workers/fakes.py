"""Evaluators that do what a test tells them, importable by spawned workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from evomerge.errors import UserError
from evomerge.types import Completed
from evomerge.workers import Job, JobResult


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
