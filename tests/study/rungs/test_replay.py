"""A run that ends after any of its events goes on to the same end: failures, twins, cohorts."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from evomerge.journal import DATABASE, read_events
from evomerge.study import resume_run, start_run
from tests.study.fakes import PlainSpace, staged_config
from tests.study.rungs.runs import (
    RUNGS,
    ByItem,
    bounded,
    contents,
    events_of,
    known_trials,
    rungs_of,
    start,
)

decode = PlainSpace.decode
COHORT = 5
HALVING = {"items": [5, 20], "promote": 0.4, "rule": "halving", "cohort": COHORT}
GENERATIONS = {"search": {"optimizer": "nsga2", "population": 4}, "rungs": HALVING}
RACE = {"rungs": RUNGS["rungs"] | {"race": 0.1}}
ENDPOINTS = {"rungs": RUNGS["rungs"] | {"order": "entropy", "estimator": "gmp_irt"}}
FAILS = {"trial-000007"}


@pytest.fixture(autouse=True)
def _few_recipes(monkeypatch):
    """No models, and so few recipes that many candidates are twins."""
    bounded(monkeypatch)
    monkeypatch.setattr(
        PlainSpace,
        "decode",
        lambda space, genotype: decode(space, tuple(round(4 * value) / 4 for value in genotype)),
    )


def cut(whole, out, length):
    """Leave what a run had written when it was killed after so many events."""
    shutil.copytree(whole, out)
    with closing(sqlite3.connect(out / DATABASE)) as database, database:
        database.execute("DELETE FROM event WHERE seq > ?", (length,))


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ({"rungs": HALVING}, 3),
        (GENERATIONS, 2),
        (RACE, 8),
        (ENDPOINTS, 8),
        ({"rungs": {**HALVING, "brackets": "all"}}, 5),
        ({"rungs": {**RUNGS["rungs"], "brackets": 2}}, 8),
    ],
)
def test_killed_after_any_event_it_is_the_same_run(tmp_path, changes, every):
    whole = tmp_path / "whole"
    start(whole, ByItem(spoilt=FAILS), workers={"retries": 1}, **changes)
    expected = contents(whole)
    assert any("same_as" in payload for _, _, payload in expected)
    searched = max(event.seq for event in events_of(whole, "finished"))
    for length in range(1, searched, every):
        out = tmp_path / f"cut-{length}"
        cut(whole, out, length)
        resume_run(out, executor=lambda _: ByItem(spoilt=FAILS))
        assert contents(out) == expected, length
        shutil.rmtree(out)


@pytest.mark.parametrize("seed", range(2))
def test_killed_among_many_workers_it_loses_and_doubles_nothing(tmp_path, seed):
    whole = tmp_path / "whole"
    start(whole, ByItem(capacity=4, seed=seed), rungs=HALVING)
    for length in range(10, len(read_events(whole)), 12):
        out = tmp_path / f"cut-{length}"
        cut(whole, out, length)
        resume_run(out, executor=lambda _: ByItem(capacity=4, seed=seed + 10))
        asked = sorted(event.trial for event in events_of(out, "asked"))
        assert sorted(event.trial for event in events_of(out, "finished")) == asked
        assert len(asked) == 36
        for rungs in rungs_of(out).values():
            assert sorted(set(rungs)) == rungs
        shutil.rmtree(out)


@pytest.mark.parametrize("rungs", [None, HALVING])
def test_a_search_that_finds_nothing_new_ends_though_it_costs_nothing(tmp_path, rungs):
    out = tmp_path / "run"
    start(out, rungs=rungs, budget={"items": 10**6})
    (stopped,) = events_of(out, "stopped")
    assert stopped.payload["reason"] == "1000 proposals in a row were nothing new"
    ended = resume_run(out, add={"items": 1000}, executor=lambda _: ByItem())
    assert ended.reason == stopped.payload["reason"]


def test_a_cohort_does_not_wait_for_twins_of_its_members(tmp_path):
    out = tmp_path / "run"
    start(out, rungs=HALVING)
    known = known_trials(out)
    asked = {e.trial: e.seq for e in events_of(out, "asked") if e.trial not in known}
    decided = {}
    for event in events_of(out, "decided"):
        for trial in (*event.payload["climb"], *event.payload["stop"]):
            decided.setdefault(trial, event.seq)
    members = sorted(asked)
    twins = {e.trial for e in events_of(out, "finished") if "same_as" in e.payload}
    together = 0
    for first in range(0, len(members) - 2 * COHORT, COHORT):
        cohort = members[first : first + COHORT]
        together += bool(twins & set(cohort))
        following = asked[members[first + COHORT]]
        for trial in set(cohort) & set(decided):
            assert decided[trial] < following + 3, trial  # at once when the next cohort begins
    assert together > 2


def test_a_known_point_is_measured_though_a_stage_before_stopped_its_recipe(tmp_path):
    plain = {"space": "tests.study.fakes:plain_space", "search": {"optimizer": "random"}}
    first = {"name": "first", "trials": 40, **plain, "search": {**plain["search"], "seeds": False}}
    study = staged_config(
        first, {"name": "second", "trials": 8, **plain}, rungs=RUNGS["rungs"], front=RUNGS["front"]
    )
    whole = tmp_path / "whole"
    start_run(study, tmp_path, whole, executor=lambda _: ByItem())
    asked = {event.trial: event.payload for event in events_of(whole, "asked")}
    finished = {event.trial: event.payload for event in events_of(whole, "finished")}
    recipes = {n: decode_of(payload["genotype"]) for n, payload in asked.items()}
    stopped = {recipes[n] for n in range(40) if "errors" in finished[n]}
    known = known_trials(whole)
    assert any(recipes[n] in stopped for n in known)
    assert not any("errors" in finished[n] for n in known)
    searched = max(event.seq for event in events_of(whole, "finished"))
    for length in range(min(e.seq for e in events_of(whole, "asked") if e.trial == 40), searched):
        out = tmp_path / f"cut-{length}"
        cut(whole, out, length)
        resume_run(out, executor=lambda _: ByItem())
        assert contents(out) == contents(whole), length
        shutil.rmtree(out)


def decode_of(genotype):
    return tuple(round(4 * value) for value in genotype)


MODEL = {
    "search": {"optimizer": "mobo", "initial": 3, "samples": 8, "raw_samples": 16, "restarts": 1},
    "budget": {"trials": 22},
}
CLIMB = {**RUNGS["rungs"], "measure_known": False}


@pytest.mark.parametrize(
    "changes",
    [
        {**MODEL, "rungs": CLIMB},
        {**MODEL, "search": {**MODEL["search"], "scalarize": "mean"}},
        {**MODEL, "search": {"optimizer": "auto", "scalarize": "mean"}},
        {"rungs": {**CLIMB, "rule": "halving", "cohort": 5}},
        {"search": GENERATIONS["search"], "rungs": {**CLIMB, "rule": "halving", "cohort": 5}},
    ],
    ids=["model", "combined", "auto", "cohorts", "generations"],
)
def test_what_a_model_expects_and_known_points_that_climb_are_replayed(tmp_path, changes):
    whole = tmp_path / "whole"
    start(whole, ByItem(), **changes)
    expected, count = contents(whole), len(read_events(whole))
    for length in range(9, count, max(3, count // 4)):
        out = tmp_path / f"cut-{length}"
        cut(whole, out, length)
        resume_run(out, executor=lambda _: ByItem())
        assert contents(out) == expected
