"""Whole runs with rungs: what is scored, told, kept; interrupted, killed and in any order."""

import os
from pathlib import Path

import numpy as np
import pytest

from evomerge.errors import ConfigError, FitnessError, UserError
from evomerge.journal import outcome_from_json, read_events
from evomerge.journal.examples import read_examples
from evomerge.report import collect_front
from evomerge.report.run_history import run_history
from evomerge.study import load_study, open_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.course import Course
from evomerge.study.rungs.promotion import ordered
from evomerge.types import Completed, Failed, Objective
from evomerge.workers import JobResult
from tests.study import fakes
from tests.study.fakes import (
    ITEMS,
    FakeExecutor,
    Interrupting,
    config,
    staged_config,
    weights_of,
    without_models,
)
from tests.study.test_crash import in_child, kill_in_write_path

RUNGS = {
    "space": "tests.study.fakes:plain_space",
    "search": {"optimizer": "random"},
    "rungs": {"items": [5, 20], "promote": 0.4},
    "budget": {"trials": 36},
    "front": {"baselines": ["base", "donors"], "size": 6},
}
HALVING = {
    "search": {"optimizer": "nsga2", "population": 8},
    "rungs": {"items": [5, 20], "promote": 0.4, "rule": "halving", "cohort": 6},
}
IRT = {"rungs": {"items": [5, 20], "promote": 0.4, "order": "half_entropy", "estimator": "gmp_irt"}}
RACE = {"rungs": {"items": [5, 10, 20, 40], "promote": None, "race": 0.1}}


def bounded(monkeypatch):
    """No models, and objectives whose bounds are known."""
    without_models(monkeypatch, run_module)
    objectives = (Objective("one", bounds=(0, 1)), Objective("two", "minimize", bounds=(0, 1)))
    monkeypatch.setattr(fakes, "OBJECTIVES", objectives)


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    bounded(monkeypatch)


def answers(recipe, name):
    """Of each item a score in [0, 1], smoother in the weights the more items there are."""
    a, b = weights_of(recipe)
    quality = {"one": 1 - (a - 0.9) ** 2 - 0.1 * b, "two": 0.2 + (b - 0.8) ** 2 + 0.2 * a}[name]
    hardness = np.random.default_rng(len(name)).random(len(ITEMS[name]))
    return {
        item: round(float(np.clip(quality + 0.6 * (h - 0.5), 0, 1)), 3)
        for item, h in zip(ITEMS[name], hardness, strict=True)
    }


class ByItem(FakeExecutor):
    """Scores the items it is asked for, and remembers which."""

    def __init__(self, *args, spoilt=(), **options):
        super().__init__(*args, **options)
        self.jobs = []
        self.completed = []
        self._spoilt = spoilt

    def wait(self, timeout_s=None):
        results = []
        for result in super().wait(timeout_s):
            job, outcome = result.job, result.outcome
            if isinstance(outcome, Completed):
                outcome = self.scored(job)
            if job.id in self._spoilt and job.attempt < 2:
                outcome = Failed("lost", "the worker died")
            self.jobs.append(job)
            self.completed += [job] if isinstance(outcome, Completed) else []
            results.append(JobResult(job, outcome, 0.1, 0.2, "fake"))
        return results

    def scored(self, job):
        metrics, examples = {}, {}
        for name, items in ITEMS.items():
            scores = answers(job.recipe, name)
            chosen = range(len(items)) if job.batch is None else job.batch[name]
            if job.limit is not None:
                chosen = range(job.limit)
            if len(chosen) > 0:
                examples[name] = {items[p]: scores[items[p]] for p in chosen}
                metrics[name] = sum(examples[name].values()) / len(chosen)
        return Completed(metrics, examples)


class InterruptedByItem(ByItem, Interrupting):
    """Both."""


def start(out, executor=None, **changes):
    chosen = executor or ByItem()
    start_run(config(**{**RUNGS, **changes}), out.parent, out, executor=lambda _: chosen)
    return chosen


def events_of(out, *kinds):
    return [event for event in read_events(out) if event.kind in kinds]


def contents(out):
    return [event.content for event in read_events(out) if event.kind != "opened"]


def rungs_of(out):
    """Trial to the rungs it was measured at."""
    found = {}
    for event in events_of(out, "measured"):
        found.setdefault(event.trial, []).append(event.payload["rung"])
    return found


def known_trials(out):
    return {
        e.trial for e in events_of(out, "asked") if e.payload["origin"].startswith(("seed", "init"))
    }


@pytest.fixture(scope="module", params=["asynchronous", "halving", "race", "irt"])
def whole(request, tmp_path_factory):
    """A run that nothing disturbed, and what it was started with."""
    every = {"asynchronous": {}, "halving": HALVING, "race": RACE, "irt": IRT}
    changes = every[request.param]
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        bounded(patch)
        return out, changes, start(out, **changes)


def test_no_item_is_scored_twice_and_everyone_on_the_same(whole):
    _, _, executor = whole
    by_trial = {}
    for job in executor.completed:
        if job.split == "search" and job.id.startswith("trial"):
            assert job.batch is not None
            by_trial.setdefault(job.id, []).append(job.batch)
    first = set()
    for batches in by_trial.values():
        for name, items in ITEMS.items():
            seen = [position for batch in batches for position in batch[name]]
            assert len(set(seen)) == len(seen) <= len(items)
        if len(batches[0]["one"]) == 5:
            first.add((batches[0]["one"], batches[0]["two"]))
    assert len(first) == 1  # common random numbers


def test_known_points_are_measured_in_full_at_once(whole):
    out, _, _ = whole
    top = max(rung for rungs in rungs_of(out).values() for rung in rungs)
    known = known_trials(out)
    assert known
    finished = {e.trial for e in events_of(out, "finished") if "same_as" not in e.payload}
    for trial in known & finished:
        assert rungs_of(out).get(trial, [top]) == [top]


def test_what_is_told_is_measured_or_says_how_uncertain_it_is(whole):
    out, _, _ = whole
    top = max(rung for rungs in rungs_of(out).values() for rung in rungs)
    asked = {e.trial: e.payload for e in events_of(out, "asked")}
    measured = estimated = 0
    for event in events_of(out, "finished"):
        if "failed" in event.payload or "same_as" in event.payload:
            continue
        examples = read_examples(out, event.payload["examples"])
        full = rungs_of(out)[event.trial][-1] == top
        assert ("errors" in event.payload) == (not full), asked[event.trial]
        for name, scores in examples.items():
            if full:
                assert set(scores) == set(ITEMS[name])
                mean = sum(scores.values()) / len(scores)
                assert event.payload["metrics"][name] == pytest.approx(mean, abs=1e-12)
            else:
                assert 0 < event.payload["errors"][name] < 0.5
        measured, estimated = measured + full, estimated + (not full)
    assert measured > 5
    assert estimated > 5


def test_estimates_are_near_the_truth_within_their_errors(whole):
    out, _, _ = whole
    study, events = open_study(out)
    course = Course.of(study, events)
    asked = {e.trial: e.payload for e in events if e.kind == "asked"}
    off = []
    for event in events:
        if event.kind == "finished" and "errors" in event.payload:
            recipe = course.decode(event.trial, tuple(asked[event.trial]["genotype"]))
            for name, error in event.payload["errors"].items():
                scores = answers(recipe, name)
                truth = sum(scores.values()) / len(scores)
                off.append((event.payload["metrics"][name] - truth) / error)
    assert len(off) > 10
    assert np.mean(np.abs(off) < 3) > 0.95


def test_only_what_was_measured_is_on_the_front_or_called_best(whole):
    out, _, _ = whole
    finished = {e.trial: e.payload for e in events_of(out, "finished")}
    front = collect_front(out)
    assert front.members
    for row in front.members:
        assert "errors" not in finished[row.trial]
        truth = {name: answers(row.recipe, name) for name in ITEMS}
        for name, scores in truth.items():
            assert row.search[name] == pytest.approx(sum(scores.values()) / len(scores))
        assert set(row.search_examples["one"]) == set(ITEMS["one"])
    history = run_history(read_events(out))
    assert not {n for n in history.scored if "errors" in finished[n]}


def test_nobody_climbs_without_having_been_measured_below(whole):
    out, _, _ = whole
    top = max(rung for rungs in rungs_of(out).values() for rung in rungs)
    for trial, rungs in rungs_of(out).items():
        if trial not in known_trials(out):
            assert rungs == list(range(len(rungs)))
            assert rungs[-1] <= top
    climbed = [number for e in events_of(out, "decided") for number in e.payload["climb"]]
    for number in set(climbed):
        assert climbed.count(number) == rungs_of(out)[number][-1]


def test_the_asynchronous_rule_takes_the_share_of_those_seen_so_far(tmp_path):
    out = tmp_path / "run"
    start(out)
    reached = rungs_of(out)
    seen = {}
    for event in events_of(out, "measured"):
        rung = event.payload["rung"]
        if event.trial in known_trials(out) or rung == 2:
            continue
        ids = read_examples(out, event.payload["examples"])
        seen.setdefault(rung, []).append((event.trial, ids))
        cumulative = []
        for trial, _ in seen[rung]:
            rows = []
            for name, sign in (("one", -1), ("two", 1)):
                parts = [
                    read_examples(out, e.payload["examples"])[name]
                    for e in events_of(out, "measured")
                    if e.trial == trial and e.payload["rung"] <= rung
                ]
                scores = [v for part in parts for v in part.values()]
                rows.append(sign * sum(scores) / len(scores))
            cumulative.append(rows)
        costs = np.array([cumulative[-1], *cumulative[:-1]])
        place = list(ordered(np.vstack([costs[1:], costs[:1]]))).index(len(costs) - 1)
        assert (rung + 1 in reached[event.trial]) == (place < 0.4 * len(costs))


@pytest.mark.parametrize("at", range(2, 40, 6))
def test_interrupted_and_resumed_it_is_the_same_run(tmp_path, whole, at):
    _, changes, _ = whole
    expected = contents(whole[0])
    out = tmp_path / "run"
    start(out, InterruptedByItem(at=at), **changes)
    resume_run(out, executor=lambda _: ByItem())
    assert contents(out) == expected


@pytest.mark.parametrize("scenario", range(4))
def test_killed_at_any_write_it_is_the_same_run(tmp_path, whole, scenario):
    _, changes, _ = whole
    expected = contents(whole[0])
    out = tmp_path / "run"

    def body(countdown=70 + 67 * scenario):
        kill_in_write_path(countdown)
        start(out, **changes)

    _, status = os.waitpid(in_child(body), 0)
    assert os.WIFSIGNALED(status)
    resume_run(out, executor=lambda _: ByItem())
    assert contents(out) == expected


@pytest.mark.parametrize("seed", range(2))
def test_many_workers_lose_and_double_nothing(tmp_path, whole, seed):
    _, changes, _ = whole
    out = tmp_path / "run"
    executor = start(out, ByItem(capacity=5, seed=seed), **changes)
    seen = set()
    for job in executor.completed:
        if job.split == "search" and job.id.startswith("trial"):
            for name, positions in job.batch.items():
                for position in positions:
                    assert (job.id, name, position) not in seen
                    seen.add((job.id, name, position))
    assert len(events_of(out, "finished")) == len(events_of(out, "asked")) == 36


def test_one_that_is_lost_on_a_rung_is_tried_again_there(tmp_path):
    out = tmp_path / "run"
    whole_run = tmp_path / "whole"
    start(whole_run)
    trial = next(t for t, rungs in rungs_of(whole_run).items() if len(rungs) > 1)
    executor = ByItem(spoilt={f"trial-{trial:06d}"})
    start(out, executor, workers={"retries": 2})
    tries = [job.attempt for job in executor.jobs if job.id == f"trial-{trial:06d}"]
    assert tries[:3] == [0, 1, 2]
    assert rungs_of(out)[trial] == rungs_of(whole_run)[trial]
    gone = tmp_path / "gone"
    start(gone, ByItem(spoilt={f"trial-{trial:06d}"}), workers={"retries": 0})
    (event,) = [e for e in events_of(gone, "finished") if e.trial == trial]
    assert event.payload["failed"] == "lost"


def test_a_budget_of_items_ends_the_search_and_can_be_added_to(tmp_path):
    out = tmp_path / "run"
    start(out, budget={"items": 700})
    scored = sum(
        len(scores)
        for e in events_of(out, "measured")
        for scores in read_examples(out, e.payload["examples"]).values()
    )
    assert 700 <= scored <= 700 + 95
    (stopped,) = events_of(out, "stopped")
    assert stopped.payload["reason"] == "budget: 700 items"
    resume_run(out, add={"items": 200}, executor=lambda _: ByItem())
    assert events_of(out, "stopped")[-1].payload["reason"] == "budget: 900 items"
    plain = tmp_path / "plain"
    start(plain, budget={"items": 700}, rungs=None)
    finished = [e for e in events_of(plain, "finished") if "metrics" in e.payload]
    paid = [e for e in finished if "same_as" not in e.payload]
    assert len(paid) == -(-700 // 95)


def test_stages_begin_from_what_was_measured(tmp_path):
    out = tmp_path / "run"
    study = staged_config(rungs={"items": [5, 20]}, front=RUNGS["front"])
    start_run(study, tmp_path, out, executor=lambda _: ByItem())
    finished = {e.trial: e.payload for e in events_of(out, "finished")}
    for event in events_of(out, "staged"):
        for chosen in event.payload.get("chosen", {}).values():
            assert "errors" not in finished[chosen]
    assert rungs_of(out)


class Silent(ByItem):
    """A fitness that gives no score for each item."""

    def scored(self, job):
        return Completed(super().scored(job).metrics)


class Odd(ByItem):
    """A fitness whose metric is not the mean of its items' scores."""

    def scored(self, job):
        found = super().scored(job)
        return Completed({**found.metrics, "two": 0.123}, found.examples)


@pytest.mark.parametrize(("executor", "says"), [(Silent, "a score for each"), (Odd, "the mean")])
def test_a_fitness_that_rungs_cannot_use_is_found_in_the_rehearsal(tmp_path, executor, says):
    with pytest.raises(FitnessError, match=says):
        start(tmp_path / "run", executor())
    assert not (tmp_path / "run").exists()


class Beyond(ByItem):
    """A fitness whose later scores leave the bounds that it gives."""

    def scored(self, job):
        found = super().scored(job)
        if job.id != "trial-000009":
            return found
        beyond = {name: dict.fromkeys(own, 3.0) for name, own in found.examples.items()}
        return Completed(dict.fromkeys(beyond, 3.0), beyond)


@pytest.mark.parametrize("changes", [RACE, IRT])
def test_a_score_beyond_its_bounds_fails_its_candidate_alone(tmp_path, changes):
    out = tmp_path / "run"
    start(out, Beyond(), **changes)
    finished = {event.trial: event.payload for event in events_of(out, "finished")}
    assert "'one'" in finished[9]["message"]
    assert "beyond its bounds [0, 1]" in finished[9]["message"]
    assert len(finished) == 36


TEXT = """name: small
models: {base: ./base, donors: {a: ./a}}
space: task_arithmetic
objectives:
  one: {fitness: ./fit.py:one, search: items.jsonl}
RUNGS
budget: {trials: 10}
"""


@pytest.mark.parametrize(
    ("rungs", "says"),
    [
        ("rungs: {items: []}", "rungs.items"),
        ("rungs: {items: [20, 10]}", "each rung has more items than the one below"),
        ("rungs: {items: [10], promote: 1.0}", "rungs.promote"),
        ("rungs: {items: [10], promote: null}", "give promote or race"),
        ("rungs: {items: [10], cohort: 5}", "cohort goes with rule: halving"),
        ("rungs: {items: [10], share: 0.5}", "rungs.share"),
        ("rungs: {items: [10]}\nbatches: {items: 4, trials: 2}", "remove one of both"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, rungs, says):
    file = tmp_path / "study.yaml"
    file.write_text(TEXT.replace("RUNGS", rungs))
    with pytest.raises(ConfigError) as caught:
        load_study(file)
    assert says in str(caught.value)


def test_no_budget_at_all_is_refused():
    with pytest.raises((UserError, ValueError), match="give trials, items, hours"):
        config(budget={})


def test_the_folder_of_a_run_is_as_small_as_it_can_be(tmp_path):
    out = tmp_path / "run"
    start(out)
    names = {
        Path(e.payload["examples"]).name for e in read_events(out) if e.payload.get("examples")
    }
    assert names == {file.name for file in (out / "examples").iterdir()}


def test_halving_compares_whole_generations_whatever_the_cohort(tmp_path):
    out = tmp_path / "run"
    start(out, **HALVING)
    origin = {e.trial: e.payload["origin"] for e in events_of(out, "asked")}
    first = {}
    for event in events_of(out, "decided"):
        together = [*event.payload["climb"], *event.payload["stop"]]
        for trial in together:
            if not origin[trial].startswith(("seed", "init")):
                first.setdefault(trial, (event.seq, together))
    generations = {}
    for trial, (seq, _) in first.items():
        generations.setdefault(origin[trial], set()).add(seq)
    assert len(generations) > 2
    assert all(len(found) == 1 for found in generations.values())


@pytest.mark.parametrize("optimizer", ["mobo", "map", "cma_es", "auto"])
def test_a_combined_cost_is_searched_by_what_models_scores_too(tmp_path, optimizer):
    pytest.importorskip("botorch")
    out = tmp_path / "run"
    search = {"optimizer": optimizer, "scalarize": "mean"}
    start(out, search=search, budget={"trials": 24})
    finished = events_of(out, "finished")
    assert len(finished) == 24
    outcomes = [outcome_from_json(event.payload) for event in finished]
    assert any(isinstance(outcome, Completed) and outcome.errors for outcome in outcomes)
