"""Scores shared between studies: one recipe on the same items by the same fitness has one score.

Whatever may change a score is in its key: the recipe, the base, the items and their content, the
fitness with its arguments, the file it is defined in and what it says itself that it depends on
(`evomerge.fitness.Fingerprinted`), the libraries' versions, the device (cpu, cuda, ...). Which kind
of GPU that is, what else a fitness imports from files of its own or asks of a server, is not: name
another cache, or none, when that changes. Nor is which other rows shared a batch, which in 16 bits
may decide a near tie.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from evomerge.errors import UserError
from evomerge.fitness import FITNESSES
from evomerge.recipe.fingerprint import fingerprint
from evomerge.types import Completed, Outcome
from evomerge.workers.protocol import Executor, Held, Job, JobResult
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec

Score: TypeAlias = dict[str, Any]
"""'metric', 'examples' and 'notes' of one objective."""

_BUSY_S = 60.0


class OutcomeStore:
    """A file of scores by key, which several studies may use at the same time.

    Args:
        path: of the SQLite file; created with its folders when it is not there.

    Raises:
        UserError: the file cannot be used, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.check(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cache: {path}: {error.strerror}; name another file") from error
        with _opened(path) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS score"
                " (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"
            )

    @staticmethod
    def check(path: Path) -> None:
        """Find out whether a file can be used, and leave everything as it is.

        Raises:
            UserError: see the class.
        """
        if not path.exists():
            parent = next(folder for folder in path.parents if folder.exists())
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                why = "cannot be written" if parent.is_dir() else "is no folder"
                raise UserError(f"cache: {path}: {parent} {why}; name another file")
            return
        with _opened(path) as database:
            database.execute("BEGIN IMMEDIATE")  # fails where nothing can be written
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.rollback()
        if names and "score" not in names:
            raise UserError(f"cache: {path} is another database; name another file")

    def get(self, key: str) -> Score | None:
        """Return what is stored under a key."""
        with _opened(self._path) as database:
            row = database.execute("SELECT value FROM score WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, score: Score) -> None:
        """Store a score; one that is there already stays."""
        text = json.dumps(score, allow_nan=False)
        with _opened(self._path) as database:
            database.execute("INSERT OR IGNORE INTO score VALUES (?, ?)", (key, text))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as database, database:
            yield database
    except sqlite3.Error as error:
        raise UserError(
            f"cache: {path} cannot be used ({error}); name another file, or remove 'cache'"
        ) from error


class CachedExecutor:
    """Answers jobs from a store where it can, and lets another executor do the rest.

    An objective that is known is left out of the job, so that studies with some objectives in
    common share these. Failures are not kept.

    Args:
        workers: what scores the rest.
        store: of scores.
        spec: what the workers were built from.
        versions: of the libraries that scores depend on.
    """

    def __init__(
        self,
        workers: Executor,
        store: OutcomeStore,
        spec: EvaluatorSpec,
        versions: Mapping[str, str],
    ) -> None:
        self._workers = workers
        self._store = store
        self._spec = spec
        self._versions = versions
        self._device = _known_device(spec.device)
        self._answered: list[JobResult] = []
        self._asked: dict[tuple[str, str], tuple[Job, dict[str, Score]]] = {}

    @property
    def capacity(self) -> int:
        """That of the workers."""
        return self._workers.capacity

    def submit(self, job: Job) -> None:
        """Answer the job, or hand over what of it is not known."""
        known: dict[str, Score] = {}
        wanted = [part for part in self._spec.objectives if _is_scored(part, job)]
        for part in wanted:
            score = self._store.get(self._key(part, job))
            if score is not None:
                known[part.objective.name] = score
        if len(known) == len(wanted):
            self._answered.append(JobResult(job, _outcome(known), worker="cache"))
            return
        self._asked[job.id, job.split] = (job, known)
        left_out = dict.fromkeys(known, ())
        asked = replace(job, batch={**(job.batch or {}), **left_out}) if left_out else job
        self._workers.submit(asked)

    def wait(self, timeout_s: float | None = None) -> Sequence[JobResult]:
        """Return what was answered and is done, or wait for the workers where nothing was."""
        answered, self._answered = self._answered, []
        done = self._workers.wait(0.0 if answered else timeout_s)
        return [*answered, *map(self._completed, done)]

    def held(self) -> Held:
        """Say what the workers hold."""
        return self._workers.held()

    def close(self) -> None:
        """Close the workers."""
        self._workers.close()

    def _completed(self, result: JobResult) -> JobResult:
        job, known = self._asked.pop((result.job.id, result.job.split))
        outcome = result.outcome
        if not isinstance(outcome, Completed):
            return replace(result, job=job)
        scores: dict[str, Score] = {}
        for part in self._spec.objectives:
            name = part.objective.name
            if name in known:
                scores[name] = known[name]
            elif name in outcome.metrics:
                scores[name] = _score_of(name, outcome)
                self._store.put(self._key(part, job), scores[name])
        return replace(result, job=job, outcome=_outcome(scores))

    def _key(self, part: ObjectiveSpec, job: Job) -> str:
        proxy = part.proxy if job.proxy else None
        what = proxy or part
        described = {
            "recipe": fingerprint(job.recipe),
            "base": str(self._spec.base.sha256 or self._spec.base),
            "split": job.split if job.recipe.path is not None else "",  # paths differ on hold-out
            "items": part.digests.get(job.split, ""),
            "part": _positions(part, job),
            "limit": job.limit,
            "fitness": what.fitness,
            "args": what.args,
            "metric": what.metric,
            "source": _source_digest(what.fitness, str(self._spec.folder)),
            **({"fingerprint": what.fingerprint} if what.fingerprint else {}),
            "device": self._device,
            **({"code": sorted(code)} if (code := [one for _, one in self._spec.trusted]) else {}),
            "versions": dict(self._versions),
        }
        text = json.dumps(described, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _positions(part: ObjectiveSpec, job: Job) -> tuple[int, ...] | None:
    """Return the positions of the items that a job scores; None where that is all of them."""
    chosen = (job.batch or {}).get(part.objective.name)
    return None if chosen is not None and len(chosen) == part.objective.n_items else chosen


def _known_device(device: str) -> str:
    """Return the device that 'auto' stands for; only that question needs torch."""
    if device != "auto":
        return device
    from evomerge.merging import resolve_device  # noqa: PLC0415

    return str(resolve_device(device))


def _is_scored(part: ObjectiveSpec, job: Job) -> bool:
    return (job.batch or {}).get(part.objective.name) != ()


def _score_of(name: str, outcome: Completed) -> Score:
    prefix = f"{name}/"
    return {
        "metric": outcome.metrics[name],
        "examples": dict(outcome.examples.get(name, {})),
        "notes": {
            key.removeprefix(prefix): value
            for key, value in outcome.notes.items()
            if key.startswith(prefix)
        },
    }


def _outcome(scores: Mapping[str, Score]) -> Outcome:
    return Completed(
        {name: score["metric"] for name, score in scores.items()},
        {name: score["examples"] for name, score in scores.items() if score["examples"]},
        {f"{name}/{key}": one for name, s in scores.items() for key, one in s["notes"].items()},
    )


@cache
def _source_digest(fitness: str, folder: str) -> str:
    """Identify the file in which a fitness is defined; '' where it has none."""
    target = FITNESSES.load(fitness, Path(folder))
    try:
        file = inspect.getsourcefile(target)
    except TypeError:  # an object whose class is built in
        file = None
    return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
