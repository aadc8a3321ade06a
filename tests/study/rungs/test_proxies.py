"""Proxies before the first rung: whom they let through, and when they are given up."""

import math
import os

import numpy as np
import pytest
from scipy import stats

from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study.rungs.counts import rung_counts, rung_lines
from evomerge.study.rungs.proxies import CONFIDENCE, EVERY, FIRST, Proxies, upper_limit
from evomerge.types import Completed, Objective
from tests.study.fakes import Interrupting, config
from tests.study.rungs.runs import (
    PROXIES,
    RUNGS,
    ByProxy,
    bounded,
    contents,
    events_of,
    rungs_of,
)
from tests.study.test_crash import in_child, kill_in_write_path

OBJECTIVE = Objective("acc", "maximize", bounds=(0.0, 1.0))
STUDY = {**RUNGS, **PROXIES, "budget": {"trials": 60}}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    bounded(monkeypatch)


def start(out, executor=None, **changes):
    chosen = executor or ByProxy()
    start_run(config(**{**STUDY, **changes}), out.parent, out, executor=lambda _: chosen)
    return chosen


def fed(proxies, foretold, real):
    for number, (cheap, dear) in enumerate(zip(foretold, real, strict=True)):
        proxies.place(number)
        proxies.add(number, Completed({"acc": cheap}))
        proxies.add_real(number, Completed({"acc": dear}))


def test_correlation_is_spearmans_of_costs_whatever_the_goals():
    random = np.random.default_rng(0)
    loss = random.random(FIRST)
    accuracy = np.round(0.9 - 0.5 * loss + 0.1 * random.random(FIRST), 2)
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(proxies, loss[:-1], accuracy[:-1])
    assert proxies.correlations() is None
    assert proxies.of_use
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(proxies, loss, accuracy)
    expected = stats.spearmanr(loss, -accuracy).statistic
    assert proxies.correlations()["acc"] == pytest.approx(expected)
    assert proxies.of_use
    wrong = Proxies({"acc": "maximize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(wrong, loss, accuracy)
    assert wrong.correlations()["acc"] == pytest.approx(-expected)
    assert not wrong.of_use


def test_scores_that_tie_foretell_nothing_and_show_nothing():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(proxies, np.arange(FIRST), np.full(FIRST, 0.25))
    assert proxies.correlations() == {"acc": 0.0}
    assert proxies.of_use


@pytest.mark.parametrize(("true", "n"), [(0.0, 16), (0.3, 16), (0.3, 64), (0.8, 32)])
def test_the_upper_limit_is_above_the_true_correlation_as_often_as_it_says(true, n):
    pearson = 2 * math.sin(math.pi * true / 6)  # of a normal pair with that rank correlation
    random = np.random.default_rng(n)
    covers = []
    for _ in range(1500):
        a, b = random.standard_normal((2, n))
        found = stats.spearmanr(a, pearson * a + math.sqrt(1 - pearson**2) * b).statistic
        covers.append(upper_limit(float(found), n) >= true)
    assert np.mean(covers) == pytest.approx(CONFIDENCE, abs=0.02)


def test_one_look_that_is_low_by_chance_gives_nothing_up():
    random = np.random.default_rng(3)
    given_up = {0.0: 0, 0.3: 0, 0.6: 0}
    for true in given_up:
        pearson = 2 * math.sin(math.pi * true / 6)
        for _ in range(100):
            proxies = Proxies({"acc": "minimize"}, [Objective("acc", "minimize")], 0.5, 0.3, 0)
            a, b = random.standard_normal((2, 4 * FIRST))
            with_both(proxies, a, pearson * a + math.sqrt(1 - pearson**2) * b)
            given_up[true] += not proxies.of_use
    assert given_up[0.6] == 0
    assert given_up[0.3] < 20  # three looks of 5 %
    assert given_up[0.0] > 60


def with_both(proxies, foretold, real):
    """Give candidates both scores, as if all went on whatever the proxies say."""
    for number, (cheap, dear) in enumerate(zip(foretold, real, strict=True)):
        proxies.place(number)
        proxies._in_any_case.add(number)
        proxies.add(number, Completed({"acc": cheap}))
        proxies.add_real(number, Completed({"acc": dear}))


def test_a_real_score_without_a_proxys_is_no_pair():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(proxies, np.arange(FIRST) / 100, np.arange(FIRST) / 50)
    proxies.add_real(99, Completed({"acc": 0.5}))
    proxies.place(100)
    proxies.add(100, Completed({"acc": 0.03}))
    assert proxies.predictions(100)["acc"][0] == pytest.approx(0.06)


def test_a_prediction_is_that_of_least_squares_kept_within_bounds():
    random = np.random.default_rng(1)
    loss = random.random(30)
    accuracy = 0.8 - 0.6 * loss + 0.05 * random.standard_normal(30)
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    fed(proxies, loss, accuracy)
    line = stats.linregress(loss, accuracy)
    for number, at in ((100, 0.4), (101, 5.0)):
        proxies.place(number)
        proxies.add(number, Completed({"acc": at}))
        value, error = proxies.predictions(number)["acc"]
        assert value == pytest.approx(max(0.0, line.intercept + line.slope * at))
        left = accuracy - line.intercept - line.slope * loss
        assert error == pytest.approx(math.sqrt((left**2).sum() / 28))


def test_the_first_go_on_in_any_case_and_then_one_in_so_many():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    for number in range(3 * EVERY + FIRST):
        proxies.place(number)
        proxies.add(number, Completed({"acc": float(number)}))  # each worse than all before
        assert proxies.lets_through(number) == (number < FIRST or number % EVERY == 0)
        proxies.add_real(number, Completed({"acc": -float(number)}))


def test_nobody_is_stopped_before_enough_have_a_real_score():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3, 0)
    for number in range(2 * FIRST):  # many workers, or candidates that cannot be scored
        proxies.place(number)
        proxies.add(number, Completed({"acc": float(number)}))
        assert proxies.lets_through(number)


def test_with_more_workers_than_are_needed_first_nothing_is_stopped_too_early(tmp_path):
    out = tmp_path / "run"
    start(out, ByProxy(capacity=FIRST + 20, seed=1))
    assert len(events_of(out, "finished")) == 60


def test_whoever_the_proxies_stop_costs_no_real_evaluation(tmp_path):
    out = tmp_path / "run"
    executor = start(out)
    stopped = {trial for trial, rungs in rungs_of(out).items() if rungs == [-1]}
    assert len(stopped) > 8
    real = {job.id for job in executor.completed if job.split == "search" and not job.proxy}
    finished = {e.trial: e.payload for e in events_of(out, "finished")}
    for trial in stopped:
        assert f"trial-{trial:06d}" not in real
        assert set(finished[trial]["errors"]) == {"one", "two"}
    counts = rung_counts(read_events(out))
    assert [rung["items"] for rung in counts] == ["proxy", 5, "all"]
    assert counts[0]["scored"] - counts[0]["climbed"] == len(stopped)
    assert rung_lines(counts)[0].startswith("by the proxies: ")


def test_a_budget_of_items_counts_those_of_proxies_by_their_cost(tmp_path):
    for cost in (1.0, 0.1):
        objectives = {
            name: {**one, "proxy": {"fitness": "p", "cost": cost}}
            for name, one in STUDY["objectives"].items()
        }
        out = tmp_path / f"run-{cost}"
        start(out, InterruptedByProxy(at=40), objectives=objectives, budget={"items": 900})
        resume_run(out, executor=lambda _: ByProxy())
        paid = {-1: 0, 0: 0, 1: 0}
        for event in events_of(out, "measured"):
            paid[event.payload["rung"]] += event.payload["n_items"]
        assert 900 <= cost * paid[-1] + paid[0] + paid[1] <= 900 + 95
        assert paid[-1] > 100


class InterruptedByProxy(ByProxy, Interrupting):
    """Both."""


def test_proxies_that_are_shown_not_to_foretell_are_given_up(tmp_path):
    out = tmp_path / "run"
    start(out, ByProxy(contrary=True))
    asked = [trial for trial, rungs in sorted(rungs_of(out).items()) if rungs[0] == -1]
    later = [trial for trial, rungs in rungs_of(out).items() if rungs[0] == 0]
    assert FIRST <= len(asked) < 45
    assert later
    assert min(later) > max(asked)
    (note,) = events_of(out, "noted")
    assert note.payload["of"] == "rungs"
    assert note.payload["text"].startswith(
        f"proxies: rank correlation with the first rung over {FIRST} candidates: one -"
    )
    assert note.payload["text"].endswith("; given up")


def test_what_the_correlation_is_stands_in_the_journal(tmp_path):
    out = tmp_path / "run"
    start(out)
    (note,) = events_of(out, "noted")
    assert f"over {FIRST} candidates: one 1.00 (at most 1.00), two" in note.payload["text"]
    assert "given up" not in note.payload["text"]


@pytest.mark.parametrize("scenario", range(4))
def test_killed_at_any_write_it_is_the_same_run(tmp_path, scenario):
    whole, out = tmp_path / "whole", tmp_path / "run"
    start(whole)

    def body(countdown=150 + 97 * scenario):
        kill_in_write_path(countdown)
        start(out)

    _, status = os.waitpid(in_child(body), 0)
    assert os.WIFSIGNALED(status)
    resume_run(out, executor=lambda _: ByProxy())
    assert contents(out) == contents(whole)
