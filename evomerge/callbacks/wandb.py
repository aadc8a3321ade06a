"""A run in Weights & Biases."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from evomerge.callbacks.protocol import FinishedTrial, RunEnd, RunStart


class WeightsAndBiases:
    """Logs to one run of Weights & Biases, which later sessions continue.

    The key comes from WANDB_API_KEY or `wandb login`, never from the study.

    Args:
        project: its name; that of the study by default.
        entity: user or team; the user's default one otherwise.
        mode: 'offline' writes files that `wandb sync` sends later.
    """

    package = "wandb"

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        mode: Literal["online", "offline"] = "online",
    ) -> None:
        self._project = project
        self._entity = entity
        self._mode = mode
        self._run: Any = None

    def begin(self, run: RunStart) -> None:
        """Open the run under an id of its own, so that a resumed one is the same."""
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(
            project=self._project or run.name,
            entity=self._entity,
            name=run.name,
            id=run.id,
            resume="allow",
            mode=self._mode,
            dir=str(run.folder),
            config=dict(run.study),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("finished")
        self._run.define_metric("*", step_metric="finished")

    def trial(self, trial: FinishedTrial) -> None:
        """Log the numbers of a trial over the finished trials."""
        self._run.log({"finished": trial.count, **trial.numbers})

    def end(self, end: RunEnd) -> None:
        """Say how it ended, and wait until everything is sent."""
        self._run.summary["state"] = end.state
        self._run.summary["reason"] = end.reason
        self._run.finish(exit_code=0 if end.state == "done" else 1)
