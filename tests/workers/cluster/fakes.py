"""A cluster in this process: nodes come and go, and actors do what a test tells them."""

from __future__ import annotations

import time

from evomerge.types import Completed, Failed
from evomerge.workers import JobResult
from evomerge.workers.cluster import Lost, Node
from evomerge.workers.cluster.slot import Pending, Ready

SILENT = object()


def node(name, cpus=2, **labels):
    """A node of a few CPUs."""
    return Node(name, f"host-{name}", {"CPU": float(cpus)}, labels)


def done(job):
    """What an evaluation gives."""
    return JobResult(job, Completed({"x": 1.0}))


def failed(job, kind):
    """What an evaluation gives that lost its process."""
    return JobResult(job, Failed(kind, f"the evaluation was {kind}"))


class FakeCall:
    """Answered as soon as the actor knows what to say."""

    def __init__(self, actor, method, arguments):
        self.actor = actor
        self.method = method
        self.arguments = arguments

    def result(self):
        if self.actor.gone:
            raise self.actor.gone
        answer = self.actor.answer(self.method, *self.arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeActor:
    """One worker; its node is decided when there is room."""

    def __init__(self, cluster, name, barred):
        self.cluster = cluster
        self.name = name
        self.barred = set(barred)
        self.node = None
        self.ended = False
        self.gone = None

    def call(self, method, *arguments):
        return FakeCall(self, method, arguments)

    def end(self):
        self.ended = True

    def answer(self, method, *arguments):
        if method == "where":
            return self.node
        script = self.cluster.script
        answer = script(self.node.id, method, *arguments) if script else None
        if answer is not None:
            return answer
        if method == "work":
            return done(arguments[0]) if arguments[0] is not None else Pending()
        return Ready() if method == "start" else None


class FakeCluster:
    """Nodes that hold one worker a CPU.

    `script(node, method, *arguments)` says what the actors there answer: a value, an exception to
    raise, `SILENT` for no answer at all, None for what goes well.
    """

    def __init__(self, *nodes, script=None):
        self.alive = list(nodes)
        self.actors = []
        self.script = script
        self.fetches = 0
        self.closed = False

    def nodes(self):
        return list(self.alive)

    def start(self, name, barred):
        self.actors.append(FakeActor(self, name, barred))
        return self.actors[-1]

    def answered(self, calls, timeout_s):
        self._place()
        found = [call for call in calls if self._has_answer(call)]
        if not found:
            time.sleep(min(timeout_s or 0.01, 0.01))
        return found

    def fetch(self):
        self.fetches += 1
        return "fetch"

    def close(self):
        self.closed = True

    def lose(self, name):
        """Take a node away, with everything on it."""
        self.alive = [one for one in self.alive if one.id != name]
        for actor in self.living(name):
            actor.gone = Lost("its node was lost", with_node=True)

    def living(self, name):
        return [a for a in self.actors if not a.ended and a.node is not None and a.node.id == name]

    def _place(self):
        for actor in self.actors:
            if actor.node is None and not actor.ended:
                for one in self.alive:
                    if (
                        one.id not in actor.barred
                        and len(self.living(one.id)) < one.resources["CPU"]
                    ):
                        actor.node = one
                        break

    def _has_answer(self, call):
        actor = call.actor
        if actor.gone:
            return True
        if actor.node is None:
            return False
        script = self.script
        if script is None or call.method == "where":
            return True
        return script(actor.node.id, call.method, *call.arguments) is not SILENT
