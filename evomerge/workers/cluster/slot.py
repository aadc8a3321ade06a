"""A worker's end on its node: the local executor with one process, asked from afar.

What kills an evaluation kills that process and not the actor, which says so and starts another;
while the process works, the actor answers. It leaves no process behind when it is ended itself.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

from evomerge.errors import UserError
from evomerge.workers.cluster.models import ModelFolder, Source, relocated, relocated_ref
from evomerge.workers.cluster.protocol import Fetch
from evomerge.workers.local import EvaluatorFactory, LocalExecutor, build_evaluator
from evomerge.workers.protocol import Job, JobResult
from evomerge.workers.spec import EvaluatorSpec


@dataclass(frozen=True, slots=True)
class Order:
    """What a slot is told to build.

    Attributes:
        spec: of the evaluator, as the driver would build it.
        models: the driver's folders.
        versions: of libraries on the driver, which must be the same here.
        ships_folder: the runtime environment brings the study's folder along as the working
            directory.
        timeout_s: seconds a job may take; None for no limit.
        start_timeout_s: seconds the worker process may take to become ready.
        build: makes the evaluator; importable by name.
    """

    spec: EvaluatorSpec
    models: Mapping[Source, ModelFolder] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    ships_folder: bool = False
    timeout_s: float | None = None
    start_timeout_s: float = 1800.0
    build: EvaluatorFactory = build_evaluator


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing can be evaluated on this node; the message says why."""

    message: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Model files are not on this node; `Slot.start` wants to be told how to fetch them."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not done yet, and alive."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Waiting for a job."""


Started: TypeAlias = Ready | Pending | Missing | Refused
Worked: TypeAlias = JobResult | Pending | Refused


class Slot:
    """One worker of a cluster.

    Every call comes back within about `beat_s` seconds, done or not: whoever asks again sees that
    it is alive.
    """

    def __init__(self) -> None:
        self._places: dict[Source, str] = {}
        self._copying: Future[dict[Source, str]] | None = None
        self._executor: LocalExecutor | None = None

    def start(self, order: Order, fetch: Fetch | None, beat_s: float) -> Started:
        """Start the worker process, or go on waiting for it.

        Args:
            order: the same at every call.
            fetch: reads the driver's model files; only wanted after `Missing`.
            beat_s: how long to wait, at most.
        """
        try:
            if self._executor is None:
                self._require_sameness(order)
                answer = self._find_models(order, fetch, beat_s)
                if answer is not None:
                    return answer
                self._executor = self._begin(order)
            return Ready() if self._executor.ready(beat_s) else Pending()
        except UserError as error:
            return Refused(str(error))

    def work(self, job: Job | None, beat_s: float) -> Worked:
        """Do a job, or go on waiting for the one that is being done.

        Args:
            job: what to do; None goes on.
            beat_s: how long to wait, at most.

        Raises:
            RuntimeError: it was not made ready.
        """
        executor = self._executor
        if executor is None:
            raise RuntimeError("a slot was given work before it was ready")
        try:
            if job is not None:
                executor.submit(replace(job, recipe=relocated(job.recipe, self._places)))
            results = executor.wait(beat_s)
        except UserError as error:
            return Refused(str(error))
        return results[0] if results else Pending()

    def pulse(self) -> None:
        """Answer, to show that it is alive."""

    def _require_sameness(self, order: Order) -> None:
        """Refuse a node whose scores would not compare with those of the others."""
        for name, wanted in order.versions.items():
            here = _version(name)
            if here not in (None, wanted):  # whoever needs one that is not there will say so
                raise UserError(
                    f"{name} is {here} on {platform.node()} and {wanted} where the search runs, so "
                    "scores would not compare; install the same version"
                )

    def _find_models(self, order: Order, fetch: Fetch | None, beat_s: float) -> Started | None:
        """Find out where the models are here, copying what is not; None when that is known."""
        if self._copying is None:
            if fetch is None:
                if not all(folder.is_here() for folder in order.models.values()):
                    return Missing()
                self._places = {source: folder.path for source, folder in order.models.items()}
                return None
            self._copying = ThreadPoolExecutor(1).submit(_copied, order.models, fetch)
        try:
            self._places = self._copying.result(beat_s)
        except NotYet:
            return Pending()
        return None

    def _begin(self, order: Order) -> LocalExecutor:
        spec = order.spec
        if not spec.folder.is_dir() and not order.ships_folder:
            raise UserError(
                f"{spec.folder}, the study's folder, is not on {platform.node()}; put it on shared "
                "storage, or send it along: workers.runtime_env: {working_dir: .}"
            )
        return LocalExecutor(
            replace(
                spec,
                template=relocated(spec.template, self._places),
                base=relocated_ref(spec.base, self._places),
                trusted=tuple(
                    (relocated_ref(ref, self._places), digest) for ref, digest in spec.trusted
                ),
                folder=spec.folder if spec.folder.is_dir() else Path.cwd(),
                # the first GPU that Ray gives it, or as many as it asked for
                device="cuda:0" if spec.device == "cuda" and spec.gpus == 1 else spec.device,
            ),
            count=1,
            timeout_s=order.timeout_s,
            start_timeout_s=order.start_timeout_s,
            build=order.build,
        )


def _copied(models: Mapping[Source, ModelFolder], fetch: Fetch) -> dict[Source, str]:
    return {
        source: folder.path if folder.is_here() else str(folder.copied(fetch))
        for source, folder in models.items()
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
