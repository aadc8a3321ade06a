"""What a cluster must offer so that workers can run on it, whatever carries them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Fetch: TypeAlias = Callable[[str, int, int], bytes]
"""Reads (file, offset, length) of the driver's files, from any node."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: unique, and never used again when it is gone.
        host: how messages name it.
        resources: what it has in all, used or not: 'CPU', 'GPU', 'memory' in bytes, ...
        labels: of the node.
    """

    id: str
    host: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


class Lost(Exception):
    """An actor is gone, or cannot be reached.

    Args:
        message: what happened to it, for users.
        with_node: its node went, which is no fault of what it was doing.
    """

    def __init__(self, message: str, *, with_node: bool = False) -> None:
        super().__init__(message)
        self.with_node = with_node


class Call(Protocol):
    """Something an actor was asked to do."""

    def result(self) -> Any:
        """Return the answer, once `Cluster.answered` has named the call.

        Raises:
            Lost: there will be none.
            UserError: the workers cannot be made as the study says.
        """
        ...


class Actor(Protocol):
    """A `Slot` on some node; it does what it is asked in the order of asking.

    Asked 'where', it answers with its `Node` as soon as it has a place.
    """

    def call(self, method: str, *arguments: Any) -> Call:
        """Ask for something, without waiting; before it has a place too."""
        ...

    def end(self) -> None:
        """End it at once, and whatever it is doing."""
        ...


class Cluster(Protocol):
    """Machines, and a way to run actors on them."""

    def nodes(self) -> Sequence[Node]:
        """List the nodes that are alive."""
        ...

    def start(self, name: str, barred: Collection[str]) -> Actor:
        """Ask for an actor; it gets a place when there is room on a node that is not barred."""
        ...

    def answered(self, calls: Sequence[Call], timeout_s: float | None) -> Sequence[Call]:
        """Block until one of the calls has an answer or the timeout passes; returns all that do.

        Raises:
            UserError: the cluster is gone, so that no call will be answered any more.
        """
        ...

    def fetch(self) -> Fetch:
        """Return what workers read the driver's model files with; it travels to any node."""
        ...

    def close(self) -> None:
        """End all actors and leave the cluster."""
        ...
