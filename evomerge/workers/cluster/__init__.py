"""Execution on a Ray cluster: one actor a worker, wherever there is room for it."""

from evomerge.workers.cluster.executor import ClusterExecutor
from evomerge.workers.cluster.protocol import Actor, Call, Cluster, Lost, Node
from evomerge.workers.cluster.spec import ClusterSpec

__all__ = ["Actor", "Call", "Cluster", "ClusterExecutor", "ClusterSpec", "Lost", "Node"]
