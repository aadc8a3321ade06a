"""A cluster in the driver's process on which everything goes wrong that a schedule says."""

from __future__ import annotations

from evomerge.types import Failed
from evomerge.workers import JobResult
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec, Lost
from evomerge.workers.cluster.slot import Order
from tests.faults.evaluation import affliction, outcome_of
from tests.workers.cluster.fakes import SILENT, FakeActor, FakeCall, FakeCluster, node


class _Call(FakeCall):
    """Knows its answer from the moment of asking."""

    def __init__(self, actor, method, answer):
        super().__init__(actor, method, ())
        self.answer = answer

    def result(self):
        if self.actor.gone or isinstance(self.answer, Exception):
            raise self.actor.gone or self.answer
        return self.answer


class _Actor(FakeActor):
    def call(self, method, *arguments):
        if method != "work":
            return super().call(method, *arguments)
        return _Call(self, method, self.cluster.befalls(self, arguments[0]))


class Machines(FakeCluster):
    """Nodes of two workers each; a node that is lost is made up for by another."""

    def __init__(self, folder, count):
        super().__init__(*(node(f"n{number}") for number in range(count)))
        self._folder = folder
        self._born = count

    def start(self, name, barred):
        self.actors.append(_Actor(self, name, barred))
        return self.actors[-1]

    def befalls(self, actor, job):
        """What a worker answers to a job."""
        befallen = affliction(self._folder, job)
        if befallen is None:
            return JobResult(job, outcome_of(job), 0.001, 0.001)
        if befallen == "kill_parent":  # the whole machine
            self.lose(actor.node.id)
            self.alive.append(node(f"n{self._born}"))
            self._born += 1
        return {
            "kill": Lost("its process was ended"),
            "freeze": SILENT,
            "hang": JobResult(job, Failed("timeout", "the evaluation took longer than 1 s")),
            "run_out_of_memory": JobResult(job, Failed("error", "MemoryError: ")),
            "break_device": JobResult(
                job, Failed("lost", "CUDA error: unspecified launch failure")
            ),
        }.get(befallen, SILENT)

    def _has_answer(self, call):
        if isinstance(call, _Call):
            return call.actor.gone is not None or call.answer is not SILENT
        return super()._has_answer(call)


def on_machines(spec, folder, count):
    """An executor on such a cluster."""
    cluster = Machines(folder, (count + 1) // 2)
    wanted = ClusterSpec("auto", count)
    return ClusterExecutor(cluster, wanted, Order(spec), beat_s=0.05, silence_s=0.2)
