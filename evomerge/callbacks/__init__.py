"""Where a run is shown elsewhere: TensorBoard, MLflow, Weights & Biases, a class of the user's.

A callback runs in a process of its own that reads the journal (see `evomerge.study.following`):
whatever it does, the search goes on.
"""

from evomerge.callbacks.build import CALLBACKS, build_callback, check_callback
from evomerge.callbacks.protocol import Callback, FinishedTrial, RunEnd, RunStart

__all__ = [
    "CALLBACKS",
    "Callback",
    "FinishedTrial",
    "RunEnd",
    "RunStart",
    "build_callback",
    "check_callback",
]
