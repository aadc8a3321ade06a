"""Whole runs with rungs: what is scored, told, kept; interrupted, killed and in any order."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evomerge.errors import FitnessError, UserError
from evomerge.journal import outcome_from_json, read_events
from evomerge.journal.examples import read_examples
from evomerge.report import collect_front, save_html, to_json
from evomerge.report.pair import collect_pair
from evomerge.report.run_history import run_history
from evomerge.report.run_report import write_report
from evomerge.study import open_study, preparation, resume_run, start_run
from evomerge.study.course import Course, Part
from evomerge.study.rungs.counts import rung_counts, rung_lines
from evomerge.study.rungs.estimates import DOUBT
from evomerge.study.rungs.promotion import ordered
from evomerge.types import Completed
from tests.study import fakes
from tests.study.fakes import ITEMS, config, staged_config
from tests.study.rungs.runs import (
    BRACKETS,
    CLUSTERS,
    HALVING,
    HALVING_BRACKETS,
    IRT,
    RACE,
    REFIT,
    RUNGS,
    ByItem,
    InterruptedByItem,
    answers,
    bounded,
    contents,
    events_of,
    known_trials,
    rungs_of,
    start,
)
from tests.study.test_crash import in_child, kill_in_write_path


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    bounded(monkeypatch)


EVERY = {
    "asynchronous": {},
    "halving": HALVING,
    "race": RACE,
    "irt": IRT,
    "clusters": CLUSTERS,
    "refit": REFIT,
    "brackets": BRACKETS,
    "halving brackets": HALVING_BRACKETS,
}


@pytest.fixture(scope="module", params=EVERY)
def whole(request, tmp_path_factory):
    """A run that nothing disturbed, and what it was started with."""
    changes = EVERY[request.param]
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


def test_a_rung_that_nobody_reached_is_told_as_such(tmp_path):
    out = tmp_path / "run"
    start(out, search={"optimizer": "random", "seeds": False}, rungs=HALVING["rungs"])
    events = read_events(out)
    first = next(event.seq for event in events if event.kind == "decided")
    counts = rung_counts(events[:first])
    assert [rung["items"] for rung in counts] == [5, 20, "all"]
    assert [rung["scored"] for rung in counts] == [6, 0, 0]
    assert rung_lines(counts)[-2] == "all items: 0 candidates"
    assert rung_lines(rung_counts(events))[-2].startswith("all items: ")


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


def test_items_are_fitted_anew_once_enough_candidates_answered_all(tmp_path):
    once, anew = tmp_path / "once", tmp_path / "anew"
    estimator = {**REFIT["rungs"]["estimator"]}
    start(anew, **REFIT)
    start(once, rungs={**REFIT["rungs"], "estimator": estimator["name"]})
    full = [
        event.seq
        for event in events_of(anew, "measured")
        if event.payload["rung"] == 2 and event.trial not in known_trials(anew)
    ]
    at = full[estimator["refit"] - 1]
    before, after = ([one[:at], one[at:]] for one in (contents(once), contents(anew)))
    assert before[0][1:] == after[0][1:]  # but for the study itself
    assert before[1] != after[1]


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
    estimated = sorted(n for n, payload in finished.items() if "errors" in payload)
    assert [one.trial for one in history.stopped] == estimated
    assert front.stopped == history.stopped
    for one in front.stopped:
        assert one.scores == finished[one.trial]["metrics"]
        assert one.reach("one") == pytest.approx(1.96 * finished[one.trial]["errors"]["one"], 1e-3)


def test_pages_show_estimates_apart_from_results(tmp_path):
    out = tmp_path / "run"
    start(out)
    front = collect_front(out)
    save_html(front, tmp_path / "front.html")
    write_report(out, tmp_path / "report")
    pages = [
        (path.read_text(encoding="utf-8"), text)
        for path, text in (
            (tmp_path / "front.html", "estimates of search scores"),
            (tmp_path / "report" / "report.html", f"the {len(front.stopped)} trials that stopped"),
        )
    ]
    for page, text in pages:
        assert text in page
        figures = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)
        (data,) = [one for one in figures if "diamond-open" in one][:1]
        for one in front.stopped:
            assert f"trial {one.trial}" in data
    with pytest.raises(UserError, match="it stopped on a rung and has an estimate only"):
        collect_pair(out, (str(front.stopped[0].trial), str(front.members[0].trial)), "search")
    members = {row.trial for row in front.members}
    assert members.isdisjoint(one.trial for one in front.stopped)
    document = to_json(front)
    assert document["trials"]["stopped"] == len(front.stopped) > 8
    assert any("stopped on a rung" in note for note in document["notes"])


def test_nobody_climbs_without_having_been_measured_below(whole):
    out, _, _ = whole
    top = max(rung for rungs in rungs_of(out).values() for rung in rungs)
    first = {e.trial: e.payload.get("bracket", 0) for e in events_of(out, "asked")}
    for trial, rungs in rungs_of(out).items():
        if trial not in known_trials(out):
            assert rungs == list(range(first[trial], first[trial] + len(rungs)))
            assert rungs[-1] <= top
    climbed = [number for e in events_of(out, "decided") for number in e.payload["climb"]]
    for number in set(climbed):
        assert climbed.count(number) == rungs_of(out)[number][-1] - first[number]


def test_the_asynchronous_rule_takes_the_share_of_the_latest(tmp_path):
    out = tmp_path / "run"
    start(out)
    reached = rungs_of(out)
    seen, by_rank = {}, 0
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
        latest = np.array(cumulative[-12:])  # of 12 a share of 0.4 is 5
        going_on = max(1, round(0.4 * len(latest)))
        own = (np.arange(len(latest)) == len(latest) - 1).astype(float)
        luckiest, unluckiest = (
            list(ordered(latest, lots)).index(len(latest) - 1) < going_on for lots in (-own, own)
        )
        assert luckiest >= (rung + 1 in reached[event.trial]) >= unluckiest
        by_rank += luckiest == unluckiest
    assert by_rank > 25


@pytest.mark.parametrize("at", range(2, 40, 12))
def test_interrupted_and_resumed_it_is_the_same_run(tmp_path, whole, at):
    _, changes, _ = whole
    expected = contents(whole[0])
    out = tmp_path / "run"
    start(out, InterruptedByItem(at=at), **changes)
    resume_run(out, executor=lambda _: ByItem())
    assert contents(out) == expected


@pytest.mark.parametrize("scenario", range(2))
def test_killed_at_any_write_it_is_the_same_run(tmp_path, whole, scenario):
    _, changes, _ = whole
    expected = contents(whole[0])
    out = tmp_path / "run"

    def body(countdown=104 + 134 * scenario):
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


def test_the_folder_of_a_run_is_as_small_as_it_can_be(tmp_path):
    out = tmp_path / "run"
    start(out)
    names = {
        Path(e.payload["examples"]).name for e in read_events(out) if e.payload.get("examples")
    }
    assert names == {file.name for file in (out / "examples").iterdir()}


@pytest.mark.parametrize("changes", [BRACKETS, HALVING_BRACKETS])
def test_brackets_get_their_shares_and_are_compared_apart(tmp_path, changes):
    out = tmp_path / "run"
    start(out, budget={"trials": 90}, **changes)
    known = known_trials(out)
    of = {e.trial: e.payload.get("bracket") for e in events_of(out, "asked")}
    assert {trial for trial, bracket in of.items() if bracket is None} == known
    counts = Counter(of[trial] for trial in of if trial not in known)
    due = [1 / (10 + 0.4 * 40 + 0.16 * 95), 1 / (40 + 0.4 * 95), 1 / 95]
    for bracket, share in enumerate(due):
        expected = share / sum(due) * (90 - len(known))
        assert abs(counts[bracket] - expected) < (2 if changes is BRACKETS else 8)
    for event in events_of(out, "decided"):
        assert len({of[t] for t in (*event.payload["climb"], *event.payload["stop"])} - {None}) <= 1
    shown = rung_counts(read_events(out))
    assert [rung["begun"] for rung in shown] == [counts[bracket] for bracket in range(3)]
    assert rung_lines(shown)[1].endswith(f"; {counts[1]} began here")


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


@pytest.mark.parametrize(
    ("rungs", "doubt"),
    [
        (None, 1.0),
        ({"items": [5]}, DOUBT),
        ({"items": [5], "estimator": "random"}, 1.0),
        ({"items": [5], "estimator": "gmp_irt"}, 1.0),
    ],
)
def test_a_search_is_told_to_doubt_estimates_by_regression(rungs, doubt, monkeypatch):
    told = []
    monkeypatch.setattr(preparation, "stage_optimizer", lambda *_, **given: told.append(given))
    changes = {} if rungs is None else {"rungs": rungs}
    study = fakes.prepared(config(**changes))
    study.optimizer(Part(study.config.plan[0], 0, 0, 1, None, 0, study.space, {}))
    assert told[0]["doubt"] == doubt
