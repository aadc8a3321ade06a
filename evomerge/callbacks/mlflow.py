"""A run in MLflow."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from evomerge.callbacks.protocol import FinishedTrial, RunEnd, RunStart

RUN_TAG = "evomerge.run"
STATES = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "killed": "KILLED"}
MAX_VALUE = 500
MAX_PARAMETERS = 100
_NOT_ALLOWED = re.compile(r"[^\w\-./: ]")


class Mlflow:
    """Logs to one MLflow run, which later sessions continue.

    Args:
        experiment: its name; that of the study by default.
        tracking_uri: where to; what MLflow takes by default (MLFLOW_TRACKING_URI). Give user and
            password by MLflow's environment variables, since the journal keeps what stands here.
    """

    package = "mlflow"

    def __init__(self, experiment: str | None = None, tracking_uri: str | None = None) -> None:
        self._experiment = experiment
        self._tracking_uri = tracking_uri
        self._client: Any = None
        self._run = ""

    def begin(self, run: RunStart) -> None:
        """Find the run of an earlier session, or create one with the study as its parameters."""
        mlflow = importlib.import_module("mlflow")
        self._client = mlflow.MlflowClient(tracking_uri=self._tracking_uri)
        name = self._experiment or run.name
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        runs = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.id}'")
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        created = self._client.create_run(experiment, tags={RUN_TAG: run.id}, run_name=run.name)
        self._run = created.info.run_id
        entities = importlib.import_module("mlflow.entities")
        parameters = [entities.Param(_named(key), value) for key, value in _flat(run.study)]
        self._client.log_batch(self._run, params=parameters[:MAX_PARAMETERS])

    def trial(self, trial: FinishedTrial) -> None:
        """Log a metric each, with the finished trials as steps."""
        entities = importlib.import_module("mlflow.entities")
        at_ms = int(trial.at * 1000)
        metrics = [
            entities.Metric(_named(name), float(value), at_ms, trial.count)
            for name, value in trial.numbers.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, end: RunEnd) -> None:
        """Say how it ended."""
        self._client.set_tag(self._run, "evomerge.reason", end.reason)
        self._client.set_terminated(self._run, STATES[end.state])


def _named(text: str) -> str:
    """Return a name that MLflow takes."""
    return _NOT_ALLOWED.sub("_", text)


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)[:MAX_VALUE]
