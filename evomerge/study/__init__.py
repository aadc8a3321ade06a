"""Studies: from a file to a finished, resumable run.

Names are imported on first use, so that what reads a run needs no back end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.study.config import StudyConfig
    from evomerge.study.continued import holds_run, require_same_study
    from evomerge.study.executors import described_workers
    from evomerge.study.load import load_study, overridden, read_study
    from evomerge.study.outline import Outline, open_study
    from evomerge.study.preparation import Prepared, prepare
    from evomerge.study.progress import Observer, Progress
    from evomerge.study.run import Ended, check_budget, resume_run, start_run
    from evomerge.study.unseen import StandIns

_HOMES = {
    "StudyConfig": "evomerge.study.config",
    "holds_run": "evomerge.study.continued",
    "require_same_study": "evomerge.study.continued",
    "described_workers": "evomerge.study.executors",
    "load_study": "evomerge.study.load",
    "overridden": "evomerge.study.load",
    "read_study": "evomerge.study.load",
    "Outline": "evomerge.study.outline",
    "open_study": "evomerge.study.outline",
    "Prepared": "evomerge.study.preparation",
    "prepare": "evomerge.study.preparation",
    "Observer": "evomerge.study.progress",
    "Progress": "evomerge.study.progress",
    "Ended": "evomerge.study.run",
    "check_budget": "evomerge.study.run",
    "resume_run": "evomerge.study.run",
    "start_run": "evomerge.study.run",
    "StandIns": "evomerge.study.unseen",
}

__all__ = [
    "Ended",
    "Observer",
    "Outline",
    "Prepared",
    "Progress",
    "StandIns",
    "StudyConfig",
    "check_budget",
    "described_workers",
    "holds_run",
    "load_study",
    "open_study",
    "overridden",
    "prepare",
    "read_study",
    "require_same_study",
    "resume_run",
    "start_run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'evomerge.study' has no attribute '{name}'")
