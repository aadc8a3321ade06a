"""What the workers of a cluster need, and which nodes have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evomerge.errors import UserError
from evomerge.workers.cluster.protocol import Node

_CONDITION = frozenset("!(")


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """How many workers run on which cluster, and what each of them gets.

    Attributes:
        address: 'local' starts a Ray of our own on this machine, 'auto' takes the one that runs
            here or that RAY_ADDRESS names, 'host:port' any other.
        count: how many workers there are when there is room for all of them.
        cpus: of each worker; a part of one is legal.
        gpus: of each worker; a part of one shares a GPU between workers.
        memory: bytes that Ray sets apart for each worker; 0 sets none apart.
        device: 'cpu', 'cuda', or 'auto' for the one that `gpus` stands for.
        strategy: 'pack' is Ray's default, which fills nodes up to a half before it goes round
            them; 'spread' goes round them at once.
        labels: what a node must be labelled with, as Ray's label selectors have it.
        on_demand: the cluster starts nodes when they are asked for, so that there need be none
            yet that can hold a worker.
        runtime_env: Ray's runtime environment of the workers.
    """

    address: str = "local"
    count: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    device: str = "auto"
    strategy: Literal["pack", "spread"] = "pack"
    labels: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, float]:
        """What a worker needs, by Ray's names."""
        needs = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        return {name: amount for name, amount in needs.items() if amount}

    @property
    def devices(self) -> str:
        """The kind of device that workers use."""
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        """Say what a worker needs."""
        labels = ", ".join(f"{name}: {value}" for name, value in self.labels.items())
        return amounts(self.resources) + (f" on nodes with {labels}" if labels else "")

    def room(self, nodes: Iterable[Node]) -> int:
        """Count the workers that nodes could hold if nothing else ran on them."""
        return sum(self._room_on(node) for node in nodes)

    def require_room(self, nodes: Iterable[Node]) -> None:
        """Refuse workers that cannot be placed.

        Raises:
            UserError: no node can hold one; this machine, which no other joins, cannot hold them
                all; or it is left open whether they use the GPUs that are there.
        """
        nodes = list(nodes)
        room = self.room(nodes)
        there = "; ".join(sorted({amounts(node.resources) for node in nodes})) or "nothing"
        if self.device == "auto" and not self.gpus and any("GPU" in one.resources for one in nodes):
            raise UserError(
                "workers.gpus_per_worker: there are GPUs; say how many each worker gets (0.5 "
                "shares one), or device: cpu"
            )
        if self.address == "local" and room < self.count:
            raise UserError(
                f"workers: {self.count} of {self} do not fit on this machine, which has {there}; "
                "lower count or what each gets (cpus_per_worker: 0.5 shares a core)"
            )
        if room == 0 and not self.on_demand:
            raise UserError(
                f"workers: no node of the cluster can hold one of {self}; its nodes have {there}; "
                "lower what each gets, or say placement: {on_demand: true} where the cluster "
                "starts such nodes when they are asked for"
            )

    def _room_on(self, node: Node) -> int:
        if not all(_is_met(node, name, value) for name, value in self.labels.items()):
            return 0
        shares = [node.resources.get(name, 0.0) / n for name, n in self.resources.items()]
        return int(min(shares) + 1e-9) if shares else self.count


def amounts(resources: Mapping[str, float]) -> str:
    """Write what a node has or a worker needs: '2 CPUs, 0.5 GPUs, 16.0 GB'."""
    words = []
    for name in ("CPU", "GPU"):
        amount = resources.get(name, 0.0)
        if amount or name == "CPU":
            words.append(f"{amount:g} {name}{'' if amount == 1 else 's'}")
    if resources.get("memory"):
        words.append(f"{resources['memory'] / 1e9:.1f} GB")
    return ", ".join(words)


def _is_met(node: Node, name: str, value: str) -> bool:
    """Say whether a node has a label; a condition such as 'in(a,b)' is Ray's to judge."""
    return bool(_CONDITION & set(value)) or node.labels.get(name) == value
