"""Curves in TensorBoard."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from evomerge.callbacks.protocol import FinishedTrial, RunEnd, RunStart


class TensorBoard:
    """Writes event files for `tensorboard --logdir`.

    Steps are finished trials, wall-clock times those of the journal. A resumed run adds a file to
    the folder, which TensorBoard shows as one curve.

    Args:
        folder: where; `tensorboard` in the run directory by default.
    """

    package = "tensorboard"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._writer: Any = None

    def begin(self, run: RunStart) -> None:
        """Open a file; the study is shown beside the curves."""
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(self._folder or run.folder / "tensorboard"))
        if not run.resumed:
            study = json.dumps(run.study, indent=2)
            self._writer.add_text("study", f"```json\n{study}\n```", 0)

    def trial(self, trial: FinishedTrial) -> None:
        """Add a point to each curve."""
        for name, value in trial.numbers.items():
            self._writer.add_scalar(name, value, trial.count, walltime=trial.at)

    def end(self, end: RunEnd) -> None:
        """Close the file."""
        self._writer.add_text("ended", f"{end.state}: {end.reason}", end.finished)
        self._writer.close()
