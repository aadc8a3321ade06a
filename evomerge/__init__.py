"""evomerge: search for the best way to merge models.

The command line is thin; everything it does can be done from Python:

    from pathlib import Path
    from evomerge import load_study, start_run, collect_front

    study = Path("study.yaml")
    start_run(load_study(study), study.parent, Path("runs/mine"))
    front = collect_front(Path("runs/mine"))

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.errors import EvomergeError, UserError
    from evomerge.fitness import FitnessResult, MergedModel
    from evomerge.merging import MergeEngine, load_resident
    from evomerge.recipe import Recipe, fingerprint
    from evomerge.report import Front, collect_front, export_front
    from evomerge.study import StudyConfig, load_study, prepare, resume_run, start_run

__version__ = "0.1.0"

_HOMES = {
    "EvomergeError": "evomerge.errors",
    "UserError": "evomerge.errors",
    "FitnessResult": "evomerge.fitness",
    "MergedModel": "evomerge.fitness",
    "MergeEngine": "evomerge.merging",
    "load_resident": "evomerge.merging",
    "Recipe": "evomerge.recipe",
    "fingerprint": "evomerge.recipe",
    "Front": "evomerge.report",
    "collect_front": "evomerge.report",
    "export_front": "evomerge.report",
    "StudyConfig": "evomerge.study",
    "load_study": "evomerge.study",
    "prepare": "evomerge.study",
    "resume_run": "evomerge.study",
    "start_run": "evomerge.study",
}

__all__ = [
    "EvomergeError",
    "FitnessResult",
    "Front",
    "MergeEngine",
    "MergedModel",
    "Recipe",
    "StudyConfig",
    "UserError",
    "__version__",
    "collect_front",
    "export_front",
    "fingerprint",
    "load_resident",
    "load_study",
    "prepare",
    "resume_run",
    "start_run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'evomerge' has no attribute '{name}'")
