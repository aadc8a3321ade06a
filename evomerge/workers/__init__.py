"""Where candidates are merged and scored."""

from evomerge.workers.cached import CachedExecutor, OutcomeStore
from evomerge.workers.guarded import GuardedExecutor
from evomerge.workers.local import LocalExecutor
from evomerge.workers.protocol import Executor, Held, Job, JobResult
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec

__all__ = [
    "CachedExecutor",
    "EvaluatorSpec",
    "Executor",
    "GuardedExecutor",
    "Held",
    "Job",
    "JobResult",
    "LocalExecutor",
    "ObjectiveSpec",
    "OutcomeStore",
]
