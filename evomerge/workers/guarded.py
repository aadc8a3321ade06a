"""Scores are handed on only while the files they depend on stay as they were.

Workers map model files into memory: whoever changes one in the middle of a night changes every
candidate from then on, and nothing else tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from evomerge.errors import UserError
from evomerge.workers.protocol import Executor, Held, Job, JobResult


class GuardedExecutor:
    """Passes jobs on to workers, and ends the search when a file has changed or is gone.

    Args:
        workers: what evaluates.
        files: models and plug-ins, as the driver sees them.
    """

    def __init__(self, workers: Executor, files: Iterable[Path]) -> None:
        self._workers = workers
        self._seen = {path: _look(path) for path in files}

    @property
    def capacity(self) -> int:
        """That of the workers."""
        return self._workers.capacity

    def submit(self, job: Job) -> None:
        """Hand over a job."""
        self._workers.submit(job)

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:
        """Return what the workers found.

        Raises:
            UserError: a file is not what it was; nothing that was found since is returned.
        """
        results = self._workers.wait(timeout_s)
        if results:
            self._require_unchanged()
        return results

    def held(self) -> Held:
        """Say what the workers hold."""
        return self._workers.held()

    def close(self) -> None:
        """Close the workers."""
        self._workers.close()

    def _require_unchanged(self) -> None:
        for path, seen in self._seen.items():
            now = _look(path)
            if None not in (now, seen) and now != seen:
                what = "changed" if now else "went away"
                raise UserError(
                    f"{path} {what} while the search went on, so old and new scores would not "
                    "compare; restore it, then resume the run"
                )


def _look(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; nothing in it when it is gone, None when none can tell."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError:  # storage that does not answer now says nothing of the file
        return None
    return found.st_size, found.st_mtime_ns
