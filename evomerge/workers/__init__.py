"""Where candidates are merged and scored."""

from evomerge.workers.local import LocalExecutor
from evomerge.workers.protocol import Executor, Job, JobResult
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec

__all__ = [
    "EvaluatorSpec",
    "Executor",
    "Job",
    "JobResult",
    "LocalExecutor",
    "ObjectiveSpec",
]
