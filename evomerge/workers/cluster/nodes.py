"""Which nodes of a cluster can be trusted with work."""

from __future__ import annotations

MAX_FAILED_STARTS = 3
MAX_DEATHS = 3


class Nodes:
    """Keeps count of what fails where.

    A worker may die of its node (a broken GPU, no memory left) or of its candidate. Deaths count
    against a node when different candidates died there since the last one that was completed; one
    that dies on a second node is itself to blame and counts nowhere.

    Attributes:
        barred: nodes that get no work any more, and why.
    """

    def __init__(self) -> None:
        self.barred: dict[str, str] = {}
        self._died: dict[str, set[str]] = {}
        self._failed_starts: dict[str, int] = {}

    def started(self, node: str) -> None:
        """Note that a worker became ready."""
        self._failed_starts.pop(node, None)

    def failed_start(self, node: str) -> bool:
        """Note that a worker did not become ready; says whether that happened too often."""
        self._failed_starts[node] = self._failed_starts.get(node, 0) + 1
        return self._failed_starts[node] >= MAX_FAILED_STARTS

    def completed(self, node: str) -> None:
        """Note that a worker did a job and lives."""
        self._died.pop(node, None)

    def died(self, node: str, job: str) -> bool:
        """Note that a worker was lost in the middle of a job; says whether too many were."""
        if self.suspects(job) - {node}:
            for jobs in self._died.values():
                jobs.discard(job)
            return False
        jobs = self._died.setdefault(node, set())
        jobs.add(job)
        return len(jobs) >= MAX_DEATHS

    def suspects(self, job: str) -> set[str]:
        """Return the nodes on which a job has lost its worker."""
        return {node for node, jobs in self._died.items() if job in jobs}
