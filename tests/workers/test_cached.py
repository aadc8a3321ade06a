"""A shared store of scores: what it answers, what it does not, and who may use it at once."""

import multiprocessing
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from evomerge.errors import UserError
from evomerge.journal import read_events
from evomerge.recipe import ModelRef, Recipe
from evomerge.study import load_study, start_run
from evomerge.types import Completed, Failed, Objective
from evomerge.workers import (
    CachedExecutor,
    EvaluatorSpec,
    Held,
    Job,
    JobResult,
    ObjectiveSpec,
    OutcomeStore,
)
from evomerge.workers.spec import ProxySpec

VERSIONS = {"torch": "2"}
FITNESS = '''
def right(model):
    """Scores a model."""
    return 1.0
'''


def recipe(weight: float) -> Recipe:
    source = {"model": "/m/a", "parameters": {"weight": weight}}
    return Recipe.model_validate(
        {"merge_method": "task_arithmetic", "base_model": "/m/base", "models": [source]}
    )


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "fit.py").write_text(FITNESS)
    parts = tuple(
        ObjectiveSpec(
            Objective(name), "./fit.py:right", {"k": 1}, digests={"search": "s", "holdout": "h"}
        )
        for name in ("one", "two")
    )
    return EvaluatorSpec(recipe(1.0), ModelRef(path="/m/base"), parts, tmp_path)


class Workers:
    """Scores by a formula and remembers what it was asked for."""

    capacity = 2

    def held(self):
        return Held(2, 1, 20.0, 10.0)

    def __init__(self, spec, fail=False):
        self.jobs = []
        self._spec = spec
        self._queue = []
        self._fail = fail

    def submit(self, job):
        self.jobs.append(job)
        self._queue.append(job)

    def wait(self, timeout_s=None):
        if not self._queue:
            return []
        job = self._queue.pop(0)
        if self._fail:
            return [JobResult(job, Failed("error", "broken"))]
        names = [
            part.objective.name
            for part in self._spec.objectives
            if (job.batch or {}).get(part.objective.name) != ()
        ]
        weight = job.recipe.models[0].parameters["weight"]
        metrics = {name: weight / 3 + len(name) + (job.split == "holdout") for name in names}
        examples = {name: {"i1": metrics[name], "i2": 0.1} for name in names}
        notes = {f"{name}/stderr": 0.25 for name in names}
        return [JobResult(job, Completed(metrics, examples, notes), 1.0, 2.0, "w")]

    def close(self):
        pass


def run(spec, path, job, versions=VERSIONS, **options):
    workers = Workers(spec, **options)
    executor = CachedExecutor(workers, OutcomeStore(path), spec, versions)
    executor.submit(job)
    (result,) = executor.wait(1.0)
    assert result.job == job
    return result, workers.jobs


def test_what_was_scored_is_answered_to_the_last_bit(spec, tmp_path):
    path = tmp_path / "deep" / "cache.sqlite"
    job = Job("trial-000001", recipe(0.1), "search")
    first, asked = run(spec, path, job)
    assert asked == [job]
    again, asked = run(spec, path, replace(job, id="trial-000009"))
    assert asked == []
    assert again.outcome == first.outcome
    assert again.worker == "cache"


@pytest.mark.parametrize(
    "change",
    [
        *("recipe", "split", "batch", "limit", "proxy", "fitness", "args", "items", "fingerprint"),
        *("version", "device"),
    ],
)
def test_whatever_may_change_a_score_makes_it_another(spec, tmp_path, change):
    path = tmp_path / "cache.sqlite"
    job = Job("t", recipe(0.1), "search", batch={"one": (1, 2), "two": (3,)})
    run(spec, path, job)
    versions, other = VERSIONS, spec
    if change == "recipe":
        job = replace(job, recipe=recipe(0.1000000001))
    elif change == "split":
        job = replace(job, split="holdout")
    elif change == "batch":
        job = replace(job, batch={"one": (1, 3), "two": (4,)})
    elif change == "limit":
        job = replace(job, limit=2)
    elif change == "proxy":
        proxy = ProxySpec("./fit.py:right", {"k": 2}, None, "maximize")
        other = replace(spec, objectives=tuple(replace(o, proxy=proxy) for o in spec.objectives))
        job = replace(job, proxy=True)
    elif change == "fitness":
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (folder / "fit.py").write_text(FITNESS.replace("1.0", "2.0"))
        other = replace(spec, folder=folder)
    elif change == "args":
        other = replace(spec, objectives=tuple(replace(o, args={"k": 2}) for o in spec.objectives))
    elif change == "items":
        digests = {"search": "another"}
        other = replace(
            spec, objectives=tuple(replace(o, digests=digests) for o in spec.objectives)
        )
    elif change == "fingerprint":
        own = {"words.txt": "1"}
        other = replace(
            spec, objectives=tuple(replace(o, fingerprint=own) for o in spec.objectives)
        )
    elif change == "version":
        versions = {"torch": "3"}
    else:
        other = replace(spec, device="cuda")
    _, asked = run(other, path, job, versions)
    assert len(asked) == 1
    assert () not in (asked[0].batch or {}).values()


def test_all_items_are_all_items_however_a_job_says_so(spec, tmp_path):
    path = tmp_path / "cache.sqlite"
    counted = tuple(
        replace(part, objective=replace(part.objective, n_items=3), args={"k": k})
        for k, part in enumerate(spec.objectives)
    )
    spec = replace(spec, objectives=counted)
    job = Job("t", recipe(0.1), "search", batch={"one": (0, 1, 2), "two": (0, 1)})
    run(spec, path, job)
    _, asked = run(spec, path, replace(job, batch=None))
    assert [one.batch for one in asked] == [{"one": ()}]


def test_a_device_that_is_chosen_counts_as_what_was_chosen(spec, tmp_path, monkeypatch):
    path = tmp_path / "cache.sqlite"
    job = Job("t", recipe(0.1), "search")
    run(replace(spec, device="auto"), path, job)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    _, asked = run(replace(spec, device="auto"), path, job)
    assert len(asked) == 1
    _, asked = run(replace(spec, device="cuda"), path, job)
    assert asked == []


def test_what_workers_finish_does_not_wait_for_the_store_to_run_out_of_answers(spec, tmp_path):
    store = OutcomeStore(tmp_path / "cache.sqlite")
    executor = CachedExecutor(Workers(spec), store, spec, VERSIONS)
    job = Job("known", recipe(0.1), "search")
    executor.submit(job)
    executor.wait(1.0)
    executor.submit(Job("new", recipe(0.2), "search"))
    executor.submit(job)
    assert {result.job.id for result in executor.wait(1.0)} == {"known", "new"}


def test_objectives_in_common_are_shared(spec, tmp_path):
    path = tmp_path / "cache.sqlite"
    job = Job("t", recipe(0.1), "search")
    whole, _ = run(spec, path, job)
    only_one = replace(spec, objectives=spec.objectives[:1])
    found, asked = run(only_one, path, job)
    assert asked == []
    assert found.outcome.metrics == {"one": whole.outcome.metrics["one"]}
    third = ObjectiveSpec(Objective("three"), "./fit.py:right", digests={"search": "s"})
    more = replace(spec, objectives=(third, *spec.objectives))
    found, asked = run(more, path, job)
    assert [one.batch for one in asked] == [{"one": (), "two": ()}]
    assert list(found.outcome.metrics) == ["three", "one", "two"]
    assert found.outcome.examples["two"] == whole.outcome.examples["two"]
    assert found.outcome.notes == whole.outcome.notes | {"three/stderr": 0.25}


def test_failures_are_not_kept(spec, tmp_path):
    path = tmp_path / "cache.sqlite"
    job = Job("t", recipe(0.1), "search")
    failed, _ = run(spec, path, job, fail=True)
    assert failed.outcome == Failed("error", "broken")
    _, asked = run(spec, path, job)
    assert len(asked) == 1


def _fill(path, first):
    store = OutcomeStore(Path(path))
    for k in range(first, first + 60):
        store.put(f"key-{k % 90}", {"metric": float(k % 90)})


def test_studies_use_it_at_the_same_time(tmp_path):
    path = tmp_path / "cache.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(str(path), n)) for n in (0, 20, 40)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = OutcomeStore(path)
    assert [store.get(f"key-{k}")["metric"] for k in range(90)] == [float(k) for k in range(90)]


def test_a_file_that_is_something_else_is_refused_in_one_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database\n" * 100)
    with pytest.raises(UserError, match=r"notes\.txt cannot be used .*; name another file"):
        OutcomeStore(path)
    assert path.read_text().startswith("these are my notes")
    journal = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("CREATE TABLE event (seq INTEGER)")
    with pytest.raises(UserError, match=r"journal\.sqlite is another database; name another"):
        OutcomeStore(journal)


def test_a_check_finds_what_cannot_be_used_and_changes_nothing(tmp_path):
    fresh = tmp_path / "deep" / "er" / "cache.sqlite"
    OutcomeStore.check(fresh)
    assert not fresh.parent.exists()
    OutcomeStore(fresh)
    content = fresh.read_bytes()
    OutcomeStore.check(fresh)
    assert fresh.read_bytes() == content
    assert [file.name for file in fresh.parent.iterdir()] == ["cache.sqlite"]
    for path, why in (
        (tmp_path, "cannot be used"),
        (fresh / "cache.sqlite", "is no folder"),
    ):
        with pytest.raises(UserError, match=why) as caught:
            OutcomeStore.check(path)
        assert str(caught.value).startswith(f"cache: {path}")


def test_what_cannot_be_written_is_found_by_the_check(tmp_path, monkeypatch):
    path = tmp_path / "cache.sqlite"
    OutcomeStore(path)
    monkeypatch.setattr("evomerge.workers.cached._BUSY_S", 0.0)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="locked"):
            OutcomeStore.check(path)
    OutcomeStore.check(path)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="cannot be written; name another file"):
        OutcomeStore.check(tmp_path / "other.sqlite")


STUDY = """
name: small
seed: {seed}
models: {{base: "zoo:base", donors: {{flip: "zoo:flip"}}}}
space: task_arithmetic
objectives:
  flip: {{fitness: exact_match, search: "zoo:flip.search.jsonl", limit: 4}}
search: {{optimizer: random}}
budget: {{trials: 5}}
workers: {{backend: inline, threads: 1}}
cache: shared/cache.sqlite
"""


def test_a_second_study_pays_for_nothing(tmp_path):
    for name in ("first", "second"):
        (tmp_path / "study.yaml").write_text(STUDY.format(seed=1))
        study = load_study(tmp_path / "study.yaml")
        start_run(study, tmp_path, tmp_path / name)
    runs = [read_events(tmp_path / name) for name in ("first", "second")]
    assert [e.content for e in runs[0] if e.kind != "opened"] == [
        e.content for e in runs[1] if e.kind != "opened"
    ]
    seconds = [
        sum(e.timing.get("score_s", 0.0) for e in events if e.kind in ("finished", "scored"))
        for events in runs
    ]
    assert seconds[0] > 0 == seconds[1]
