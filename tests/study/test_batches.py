"""Batches of search items, and validation items on which the best of each batch compare."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.journal import read_events
from evomerge.report import collect_front, to_json
from evomerge.report.analysis import analyse
from evomerge.report.sheet import to_csv
from evomerge.report.table import text_of
from evomerge.study import load_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.batches import Windows, batch_positions
from evomerge.study.problems import Problems
from evomerge.types import Completed, Failed
from evomerge.workers import JobResult
from evomerge.workers.spec import part_of
from tests.study.fakes import (
    STAGES,
    VALIDATED,
    FakeExecutor,
    Interrupting,
    config,
    context_of,
    prepared,
    rehearsed,
    score,
    staged_config,
    without_models,
)
from tests.study.test_crash import in_child, kill_in_write_path

BATCHED = {
    **VALIDATED,
    "search": {"optimizer": "cma_es", "population": 5, "scalarize": "mean"},
    "batches": {"items": 20, "trials": 5, "keep": 1},
    "budget": {"trials": 27},
    "front": {"baselines": ["base", "donors"], "size": 6},
}
MIXED = [
    {
        "name": "whole",
        "space": "tests.study.fakes:plain_space",
        "search": {"optimizer": "nsga2", "population": 6},
        "trials": 12,
    },
    {
        "name": "batched",
        "take": {"merged": {"stage": "whole"}},
        "donors": ["merged", "b"],
        "space": {"path": "depthwise"},
        "search": {"optimizer": "cat_cma", "population": 4, "scalarize": "mean"},
        "batches": {"items": 10, "trials": 4, "keep": 2},
        "trials": 12,
    },
    {
        "name": "after",
        "through": {"stage": "batched"},
        "space": {
            "merge_method": "task_arithmetic",
            "parameters": {"normalize": False},
            "genes": {"weight": {"range": [0.0, 1.0]}},
        },
        "search": {"optimizer": "random", "seeds": False},
        "batches": {"items": 10, "trials": 3, "keep": 2},
        "trials": 7,
    },
]


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


class Lucky(FakeExecutor):
    """Scores on a batch are off by the luck of that batch, more than candidates differ."""

    def __init__(self, *args, spoilt=(), **options):
        super().__init__(*args, **options)
        self.jobs = []
        self._spoilt = spoilt

    def wait(self, timeout_s=None):
        results = []
        for result in super().wait(timeout_s):
            job, outcome = result.job, result.outcome
            self.jobs.append(job)
            if job.split == "validation" and job.id in self._spoilt:
                outcome = Failed("timeout", "took too long")
            elif job.batch is not None and isinstance(outcome, Completed):
                outcome = lucky(outcome, job.batch)
            results.append(JobResult(job, outcome, 0.0, 0.0, "fake"))
        return results


def lucky(outcome, batch):
    luck = {name: float(np.random.default_rng(batch[name]).uniform(2, 9)) for name in batch}
    one, two = outcome.metrics["one"], outcome.metrics["two"]
    return Completed({"one": one + luck["one"], "two": two - luck["two"]})


class InterruptedLuck(Lucky, Interrupting):
    """Both."""


def start(out, executor=None, study=None):
    chosen = executor or Lucky()
    start_run(study or config(**BATCHED), out.parent, out, executor=lambda _: chosen)
    return chosen


def events_of(out, *kinds):
    return [event for event in read_events(out) if event.kind in kinds]


def contents(out):
    return [event.content for event in read_events(out) if event.kind != "opened"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A batched run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_models(patch, run_module)
        return out, start(out).jobs, contents(out)


@given(
    n_items=st.integers(1, 60),
    size=st.integers(1, 60),
    seed=st.integers(0, 9),
    rounds=st.integers(1, 4),
)
def test_a_batch_is_a_function_and_no_item_comes_twice_before_a_shuffle(
    n_items, size, seed, rounds
):
    size = min(size, n_items)
    per_shuffle = n_items // size
    dealt = [batch_positions(n_items, size, w, (seed, 2)) for w in range(rounds * per_shuffle)]
    assert dealt[::-1] == [
        batch_positions(n_items, size, w, (seed, 2)) for w in reversed(range(len(dealt)))
    ]
    for first in range(0, len(dealt), per_shuffle):
        together = [item for batch in dealt[first : first + per_shuffle] for item in batch]
        assert len(set(together)) == len(together) == per_shuffle * size
        assert set(together) <= set(range(n_items))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    trials=st.integers(1, 8),
    whole=st.booleans(),
    known=st.integers(0, 3),
)
def test_windows_follow_one_another_and_split_no_generation(sizes, trials, whole, known):
    origins = [f"seed:{n}" for n in range(known)]
    origins += [f"cma:gen{n}" for n, size in enumerate(sizes) for _ in range(size)]
    windows = Windows(lambda _: trials, whole_generations=whole)
    placed = [windows.place(origin) for origin in origins]
    assert placed[:known] == [None] * known
    numbers = placed[known:]
    if not whole:
        assert numbers == [n // trials for n in range(len(numbers))]
        return
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(numbers[-1] + 1))
    by_origin = {}
    for origin, number in zip(origins[known:], numbers, strict=True):
        by_origin.setdefault(origin, set()).add(number)
    assert all(len(found) == 1 for found in by_origin.values())
    counts = [numbers.count(n) for n in range(numbers[-1] + 1)]
    last_generation = dict(zip(_last(by_origin), sizes, strict=True))
    for n, count in enumerate(counts[:-1]):
        assert trials <= count < trials + last_generation[n]


def _last(by_origin):
    return [next(iter(found)) for found in by_origin.values()]


def test_trials_of_a_generation_share_items_and_known_points_are_validated_at_once(whole):
    out, jobs, _ = whole
    asked = events_of(out, "asked")
    assert [e.payload["batch"] for e in asked[:4]] == [None] * 4
    assert [e.payload["batch"] for e in asked[4:]] == [n // 5 for n in range(23)]
    by_trial = {job.id: job for job in jobs if job.split == "search"}
    items = {}
    for event in asked[4:]:
        job = by_trial.get(f"trial-{event.trial:06d}")
        if job is not None:
            items.setdefault(event.payload["batch"], set()).add(
                (job.batch["one"], job.batch["two"])
            )
    assert [len(found) for found in items.values()] == [1] * 5
    ((one, two),) = items[0]
    assert len(one) == len(two) == 20
    assert set(one) <= set(range(50))
    assert set(two) <= set(range(45))
    ((next_one, _),) = items[1]
    assert not set(one) & set(next_one)


def test_the_best_of_every_batch_is_validated_the_last_one_at_the_end(whole):
    out, _, _ = whole
    metrics = {e.trial: e.payload.get("metrics") for e in events_of(out, "finished")}
    batches = {}
    for event in events_of(out, "asked"):
        batch = event.payload["batch"]
        if batch is not None and metrics[event.trial]:
            cost = metrics[event.trial]["two"] - metrics[event.trial]["one"]
            batches.setdefault(batch, []).append((cost, event.trial))
    validated = [event.trial for event in events_of(out, "validated")]
    assert validated == [min(batches[batch])[1] for batch in range(5)]
    kinds = [event.kind for event in read_events(out)]
    assert kinds.index("stopped") > len(kinds) - 1 - kinds[::-1].index("validated")


def test_a_lucky_batch_wins_nothing(whole):
    out, _, _ = whole
    front = collect_front(out)
    assert front.picked_on == "validation"
    finished = {
        e.trial: e.payload["metrics"] for e in events_of(out, "finished") if "metrics" in e.payload
    }
    luckiest = max(finished, key=lambda trial: finished[trial]["one"])
    asked = {e.trial: e.payload for e in events_of(out, "asked")}
    assert asked[luckiest]["batch"] is not None
    truth = {row.trial: score(row.recipe).metrics for row in front.members}
    for row in front.members:
        assert row.search == truth[row.trial]  # without luck
    assert max(row.search["one"] for row in front.members) <= 1.0 < finished[luckiest]["one"]
    known = {n for n, payload in asked.items() if payload["batch"] is None and n in finished}
    final = known | {event.trial for event in events_of(out, "validated")}
    assert {row.trial for row in front.members} <= final
    best = max(
        finished[n]["one"] if n in known else _validated(out)[n]["one"] for n in sorted(final)
    )
    assert max(row.search["one"] for row in front.members) == best


def _validated(out):
    return {event.trial: event.payload["metrics"] for event in events_of(out, "validated")}


def test_reports_call_validation_scores_so(whole):
    out, _, _ = whole
    front = collect_front(out)
    document = to_json(front)
    assert "search" not in document["front"][0]
    by_trial = {row["trial"]: row["validation"]["one"]["score"] for row in document["front"]}
    assert by_trial == {row.trial: row.search["one"] for row in front.members}
    assert {row.name for row in front.baselines} == {"base", "donor:a", "donor:b"}
    for row in front.baselines:
        assert row.search == score(row.recipe).metrics
    judged = analyse(front)
    text = text_of(judged)
    assert "in brackets on validation items" in text
    assert "search items" not in text
    assert "one.validation" in to_csv(judged).splitlines()[0]
    scored = [(e.payload["name"], e.payload["split"]) for e in events_of(out, "scored")]
    assert ("base", "validation") in scored
    assert not any(split == "search" for _, split in scored)


@pytest.mark.parametrize("at", range(1, 33, 2))
def test_interrupted_and_resumed_it_is_the_same_run(tmp_path, whole, at):
    _, _, expected = whole
    out = tmp_path / "run"
    start(out, InterruptedLuck(at=at))
    again = Lucky()
    resume_run(out, executor=lambda _: again)
    assert contents(out) == expected


@pytest.mark.parametrize("scenario", range(8))
def test_killed_at_any_write_it_is_the_same_run(tmp_path, whole, scenario):
    _, _, expected = whole
    out = tmp_path / "run"

    def body(countdown=60 + 37 * scenario):
        kill_in_write_path(countdown)
        start(out)

    os_status = _wait(in_child(body))
    assert os_status == "killed"
    resume_run(out, executor=lambda _: Lucky())
    assert contents(out) == expected


def _wait(pid):
    _, status = os.waitpid(pid, 0)
    return "killed" if os.WIFSIGNALED(status) else status


@pytest.mark.parametrize("seed", range(4))
def test_the_front_does_not_depend_on_the_order_of_finishing(tmp_path, whole, seed):
    expected = to_json(collect_front(whole[0]))
    out = tmp_path / "run"
    start(out, Lucky(capacity=4, seed=seed))
    found = to_json(collect_front(out))
    assert found["front"] == expected["front"]
    assert found["history"] == expected["history"]
    numbers = [{e.trial for e in events_of(o, "validated")} for o in (out, whole[0])]
    assert numbers[0] == numbers[1]


def test_one_that_fails_on_validation_items_is_retried_then_replaced(tmp_path, whole):
    first = events_of(whole[0], "validated")[1].trial
    out = tmp_path / "run"
    executor = start(out, Lucky(spoilt={f"trial-{first:06d}"}))
    tries = [
        job.attempt
        for job in executor.jobs
        if job.id == f"trial-{first:06d}" and job.split == "validation"
    ]
    assert tries == [0, 1]
    validated = events_of(out, "validated")
    assert validated[1].payload["failed"] == "timeout"
    batch = {e.trial: e.payload["batch"] for e in events_of(out, "asked")}
    assert [batch[event.trial] for event in validated] == [0, 1, 1, 2, 3, 4]
    assert first not in {row.trial for row in collect_front(out).members}


def test_more_trials_continue_the_last_batch(tmp_path, whole):
    out = tmp_path / "run"
    start(out)
    resume_run(out, add={"trials": 6}, executor=lambda _: Lucky())
    batches = [e.payload["batch"] for e in events_of(out, "asked")]
    assert batches[4:] == [n // 5 for n in range(29)]
    validated = {batches[e.trial] for e in events_of(out, "validated")}
    assert validated == set(range(6))


def test_stages_with_and_without_batches_meet_on_validation_items(tmp_path):
    out = tmp_path / "run"
    study = staged_config(*MIXED, objectives=BATCHED["objectives"], front=BATCHED["front"])
    start(out, study=study)
    asked = {e.trial: e.payload for e in events_of(out, "asked")}
    assert not any("batch" in asked[n] for n in range(12))
    known = [n for n in range(12, 24) if asked[n]["batch"] is None]
    assert known
    validated = _validated(out)
    early = [n for n in validated if n < 12]
    finished = {
        e.trial: e.payload["metrics"] for e in events_of(out, "finished") if "metrics" in e.payload
    }
    for trial in early:  # a front: no trial of the stage is better in both
        mine = finished[trial]
        assert not any(
            other["one"] > mine["one"] and other["two"] < mine["two"]
            for n, other in finished.items()
            if n < 12
        )
    assert early
    per_batch = [sum(asked[n].get("batch") == b for n in validated if n >= 24) for b in range(3)]
    assert per_batch == [2, 2, 1]
    path = events_of(out, "staged")[2].payload["through"]["trial"]
    assert path in validated or path in known
    members = {row.trial for row in collect_front(out).members}
    assert members <= set(validated) | set(known)
    expected = contents(out)
    other = tmp_path / "again"
    start(other, InterruptedLuck(at=25), study)
    resume_run(other, executor=lambda _: Lucky())
    assert contents(other) == expected


def test_validation_items_are_the_last_search_items_or_their_own():
    items = list(range(10))
    assert part_of(items, "search", 3) == tuple(range(7))
    assert part_of(items, "validation", 3) == (7, 8, 9)
    assert part_of(items, "holdout", 3) == tuple(range(10))
    assert part_of(items, "search", "v.jsonl") == part_of(items, "validation", "v.jsonl")


TEXT = """name: small
models: {base: ./base, donors: {a: ./a}}
space: block_weights
objectives:
  one:
    fitness: ./fit.py:one
    search: items.jsonl
    VALIDATION
search: {optimizer: cma_es}
BATCHES
budget: {trials: 10}
"""


@pytest.mark.parametrize(
    ("validation", "batches", "line"),
    [
        ("validation: 5", "batches: {items: 0, trials: 3}", "10: batches.items"),
        ("validation: 5", "batches: {items: 4}", "10: batches.trials"),
        ("validation: 5", "batches: {items: 4, trials: 2, keep: 3}", "10: batches: keep 3 of 2"),
        ("holdout: h.jsonl", "batches: {items: 4, trials: 3}", "5: objectives.one: batches need"),
        ("validation: 0", "batches: {items: 4, trials: 3}", "8: objectives.one.validation"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(tmp_path, validation, batches, line):
    file = tmp_path / "study.yaml"
    file.write_text(TEXT.replace("VALIDATION", validation).replace("BATCHES", batches))
    with pytest.raises(ConfigError) as error:
        load_study(file)
    assert any(f"study.yaml:{line}" in problem for problem in error.value.problems)


@pytest.mark.parametrize("optimizer", ["nsga2", "optuna", "como_cat_cma"])
def test_optimizers_that_compare_all_trials_are_refused(optimizer):
    study = config(**BATCHED | {"search": {"optimizer": optimizer}})
    problems = Problems()
    rehearsed(study, Path("/study"), context_of(study), problems)
    assert len(problems.lines) == 1
    assert problems.lines[0].startswith(f"batches: optimizer '{optimizer}' compares candidates")
    assert "use cat_cma, cma_wm or cma_es" in problems.lines[0]


def test_a_study_without_batches_records_none():
    for study in (config(), staged_config(*STAGES)):
        record = json.dumps(prepared(study).record()["study"])
        assert "batches" not in record
        assert "validation" not in record
