"""A cluster as Ray has it: nodes, actors, and what Ray says when they are gone.

Ray's own restarts and retries are off: which job is tried again is decided, and recorded, by who
searches.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import UserError
from evomerge.workers.cluster.models import read_piece
from evomerge.workers.cluster.protocol import Fetch, Lost, Node
from evomerge.workers.cluster.ray_connection import (
    connect,
    first_line,
    import_ray,
    is_listening,
    kept_signals,
    with_absolute_paths,
    with_variables,
)
from evomerge.workers.cluster.slot import Slot
from evomerge.workers.cluster.spec import ClusterSpec

NODE_LABEL = "ray.io/node-id"
LOOK_EVERY_S = 5.0
HEADLESS_S = 40.0
"""A head that cannot be reached for so long is gone; Ray itself ends the process after 60 s."""


class RayCluster:
    """A connection to a Ray cluster.

    A process that is connected already stays with its cluster, and connected when this is closed.

    Args:
        wanted: the cluster, and what each worker needs.
        folder: where relative paths of the runtime environment start.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, wanted: ClusterSpec, folder: Path) -> None:
        self._ray = import_ray()
        self._wanted = wanted
        self._actors: dict[str, Any] = {}
        self._reader: Any = None
        environment = with_variables(with_absolute_paths(wanted.runtime_env, folder))
        self._owns = not self._ray.is_initialized()
        self._own_environment = {} if self._owns else environment
        if self._owns:
            connect(self._ray, wanted.address, environment)
        self._head = str(self._ray.get_runtime_context().gcs_address)
        self._looked_at = self._seen_at = time.monotonic()

    def nodes(self) -> list[Node]:
        """List the nodes that are alive."""
        return [
            Node(one["NodeID"], one["NodeManagerHostname"], one["Resources"], one["Labels"])
            for one in self._ray.nodes()
            if one["Alive"]
        ]

    def start(self, name: str, barred: Collection[str]) -> RayActor:
        """Ask for an actor; Ray places it when there is room."""
        labels = dict(self._wanted.labels)
        if barred:
            labels[NODE_LABEL] = f"!in({','.join(sorted(barred))})"
        options = {
            "num_cpus": self._wanted.cpus,
            "num_gpus": self._wanted.gpus,
            "memory": self._wanted.memory or None,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD" if self._wanted.strategy == "spread" else "DEFAULT",
            "label_selector": labels or None,
            "runtime_env": self._own_environment or None,
        }
        try:
            handle = self._ray.remote(_RaySlot).options(**options).remote()
        except ValueError as error:
            raise UserError(f"workers.runtime_env: Ray refuses it: {first_line(error)}") from error
        self._actors[name] = handle
        return RayActor(handle)

    def answered(self, calls: Sequence[Any], timeout_s: float | None) -> list[Any]:
        """Block until one of the calls has an answer or the timeout passes; returns all that do.

        Raises:
            UserError: the head is gone, so that no call will be answered any more.
        """
        self._require_head()
        if not calls:
            time.sleep(timeout_s or 0.0)
            return []
        by_ref = {call.ref: call for call in calls}
        refs = list(by_ref)
        if not self._ray.wait(refs, num_returns=1, timeout=timeout_s)[0]:
            return []
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return [by_ref[ref] for ref in done]

    def _require_head(self) -> None:
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        answers = is_listening(self._head)
        self._looked_at = time.monotonic()
        if answers:
            self._seen_at = self._looked_at
        elif self._looked_at - self._seen_at >= HEADLESS_S:
            raise UserError(
                f"workers.address: the head of the Ray cluster, {self._head}, does not answer any "
                "more (often: it was ended, or has no memory left); start it again where it is not "
                "the run's own, then resume the run"
            )

    def fetch(self) -> Fetch:
        """Return what reads the driver's files through an actor on the driver's node."""
        if self._reader is None:
            here = self._ray.get_runtime_context().get_node_id()
            self._reader = (
                self._ray.remote(_Reader)
                .options(num_cpus=0, label_selector={NODE_LABEL: here})
                .remote()
            )
        return _RayFetch(self._reader)

    def close(self) -> None:
        """End all actors, and Ray with them where it is ours."""
        for handle in (*self._actors.values(), *([self._reader] if self._reader else [])):
            RayActor(handle).end()
        self._actors.clear()
        self._reader = None
        if self._owns and self._ray.is_initialized():
            with kept_signals():
                self._ray.shutdown()


class RayCall:
    """Something an actor was asked to do.

    Attributes:
        ref: Ray's name of the answer.
    """

    def __init__(self, ref: Any) -> None:
        self.ref = ref

    def result(self) -> Any:
        """Return the answer; see `Call`."""
        import ray  # noqa: PLC0415 an extra
        from ray import exceptions  # noqa: PLC0415

        try:
            return ray.get(self.ref)
        except exceptions.RuntimeEnvSetupError as error:
            raise UserError(
                f"workers.runtime_env: Ray cannot set it up: {first_line(error)}"
            ) from error
        except exceptions.ActorUnavailableError as error:
            raise Lost("the connection to its node broke", with_node=True) from error
        except exceptions.ActorDiedError as error:
            raise self._death(error) from error
        except exceptions.NodeDiedError as error:
            raise Lost("its node was lost", with_node=True) from error
        except exceptions.RayTaskError as error:
            raise Lost(first_line(error.cause or error)) from error
        except exceptions.RayError as error:
            raise Lost(first_line(error)) from error

    def _death(self, error: Any) -> Lost:
        if error.preempted:
            return Lost("its node was preempted", with_node=True)
        text = str(error)
        if "node" in text and ("terminated" in text or "node has died" in text):
            return Lost("its node was lost", with_node=True)
        if "exits with a connection error" in text or "SYSTEM_ERROR" in text:
            return Lost("its process was ended (often: out of memory)")
        return Lost(text.strip().splitlines()[-1])


@dataclass(frozen=True, slots=True)
class RayActor:
    """A handle of an actor."""

    handle: Any

    def call(self, method: str, *arguments: Any) -> RayCall:
        """Ask for something, without waiting."""
        return RayCall(getattr(self.handle, method).remote(*arguments))

    def end(self) -> None:
        """End it at once."""
        import ray  # noqa: PLC0415 an extra

        with suppress(Exception):  # it is gone, and so may the connection be
            ray.kill(self.handle, no_restart=True)


class _RaySlot(Slot):
    """A slot that knows its node."""

    def where(self) -> Node:
        import ray  # noqa: PLC0415 an extra

        return Node(ray.get_runtime_context().get_node_id(), platform.node(), {})


class _Reader:
    """Reads files on the driver's node."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        return read_piece(path, offset, length)


@dataclass(frozen=True, slots=True)
class _RayFetch:
    """Asks a reader, from any node."""

    reader: Any

    def __call__(self, path: str, offset: int, length: int) -> bytes:
        import ray  # noqa: PLC0415 an extra

        piece: bytes = ray.get(self.reader.read.remote(path, offset, length))
        return piece
