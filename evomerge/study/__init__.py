"""Studies: from a file to a finished, resumable run."""

from evomerge.study.config import StudyConfig
from evomerge.study.load import load_study
from evomerge.study.outline import Outline, open_study
from evomerge.study.preparation import Prepared, prepare
from evomerge.study.progress import Observer, Progress
from evomerge.study.run import Ended, resume_run, start_run

__all__ = [
    "Ended",
    "Observer",
    "Outline",
    "Prepared",
    "Progress",
    "StudyConfig",
    "load_study",
    "open_study",
    "prepare",
    "resume_run",
    "start_run",
]
