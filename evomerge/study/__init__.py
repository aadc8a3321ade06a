"""Studies: from a file to a finished, resumable run."""

from evomerge.study.config import StudyConfig
from evomerge.study.executors import described_workers
from evomerge.study.load import load_study, overridden, read_study
from evomerge.study.outline import Outline, open_study
from evomerge.study.preparation import Prepared, prepare
from evomerge.study.progress import Observer, Progress
from evomerge.study.run import Ended, resume_run, start_run
from evomerge.study.unseen import StandIns

__all__ = [
    "Ended",
    "Observer",
    "Outline",
    "Prepared",
    "Progress",
    "StandIns",
    "StudyConfig",
    "described_workers",
    "load_study",
    "open_study",
    "overridden",
    "prepare",
    "read_study",
    "resume_run",
    "start_run",
]
