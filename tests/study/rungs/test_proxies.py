"""Proxies before the first rung: whom they let through, and when they are given up."""

import math
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evomerge.errors import ConfigError
from evomerge.journal import read_events
from evomerge.study import load_study, resume_run, start_run
from evomerge.study.problems import Problems
from evomerge.study.rungs.checks import check_rungs
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.counts import rung_counts, rung_lines
from evomerge.study.rungs.proxies import EVERY, FIRST, Proxies
from evomerge.types import Completed, Objective
from evomerge.workers.spec import ObjectiveSpec, ProxySpec
from tests.study.fakes import ITEMS, config
from tests.study.rungs.test_run import (
    RUNGS,
    ByItem,
    answers,
    bounded,
    contents,
    events_of,
    rungs_of,
)
from tests.study.test_crash import in_child, kill_in_write_path

OBJECTIVE = Objective("acc", "maximize", bounds=(0.0, 1.0))
STUDY = {
    **RUNGS,
    "objectives": {
        "one": {"fitness": "f", "search": "s", "proxy": {"fitness": "p"}},
        "two": {"fitness": "f", "goal": "minimize", "search": "s", "proxy": {"fitness": "p"}},
    },
    "rungs": {"items": [5], "keep": 0.4},
    "budget": {"trials": 60},
}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    bounded(monkeypatch)


class ByProxy(ByItem):
    """Answers by proxies too: losses that order candidates as the scores do, or not at all."""

    def __init__(self, *args, blind=False, **options):
        super().__init__(*args, **options)
        self._blind = blind

    def scored(self, job):
        if not job.proxy:
            return super().scored(job)
        metrics = {}
        for name, sign in (("one", -1.0), ("two", 1.0)):
            scores = answers(job.recipe, name)
            positions = range(job.limit) if job.batch is None else job.batch[name]
            chosen = [scores[ITEMS[name][position]] for position in positions]
            metrics[name] = math.exp(sign * float(np.mean(chosen)))
            if self._blind:
                metrics[name] = zlib.crc32((job.id + name).encode()) / 2**32
        return Completed(metrics)


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
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
    fed(proxies, loss[:-1], accuracy[:-1])
    assert proxies.correlations() is None
    assert proxies.of_use
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
    fed(proxies, loss, accuracy)
    expected = stats.spearmanr(loss, -accuracy).statistic
    assert proxies.correlations()["acc"] == pytest.approx(expected)
    assert proxies.of_use
    wrong = Proxies({"acc": "maximize"}, [OBJECTIVE], 0.5, 0.3)
    fed(wrong, loss, accuracy)
    assert wrong.correlations()["acc"] == pytest.approx(-expected)
    assert not wrong.of_use


def test_scores_that_tie_foretell_nothing():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
    fed(proxies, np.arange(FIRST), np.full(FIRST, 0.25))
    assert proxies.correlations() == {"acc": 0.0}


def test_a_prediction_is_that_of_least_squares_kept_within_bounds():
    random = np.random.default_rng(1)
    loss = random.random(30)
    accuracy = 0.8 - 0.6 * loss + 0.05 * random.standard_normal(30)
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
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
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
    for number in range(3 * EVERY + FIRST):
        proxies.place(number)
        proxies.add(number, Completed({"acc": float(number)}))  # each worse than all before
        assert proxies.lets_through(number) == (number < FIRST or number % EVERY == 0)
        proxies.add_real(number, Completed({"acc": -float(number)}))


def test_nobody_is_stopped_before_enough_have_a_real_score():
    proxies = Proxies({"acc": "minimize"}, [OBJECTIVE], 0.5, 0.3)
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


def test_proxies_that_foretell_nothing_are_given_up(tmp_path):
    out = tmp_path / "run"
    start(out, ByProxy(blind=True))
    asked = [trial for trial, rungs in sorted(rungs_of(out).items()) if rungs[0] == -1]
    later = [trial for trial, rungs in rungs_of(out).items() if rungs[0] == 0]
    assert FIRST <= len(asked) < 45
    assert later
    assert min(later) > max(asked)


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


def part(name, proxied, search=None):
    proxy = ProxySpec("p", {}, None, "minimize") if proxied else None
    return ObjectiveSpec(Objective(name, bounds=(0, 1)), "f", proxy=proxy, search=search)


@pytest.mark.parametrize(
    ("proxied", "with_items", "says"),
    [
        ([True, False], ["one", "two"], ["objectives.two: 'one' has a proxy"]),
        ([True, True], ["one"], ["objectives.two.proxy: there are no search items"]),
        ([True, False], ["one"], []),
        ([False, False], [], ["rungs: no objective has search items"]),
    ],
)
def test_proxies_and_items_must_go_together(proxied, with_items, says):
    problems = Problems()
    parts = [part(name, own) for name, own in zip(("one", "two"), proxied, strict=True)]
    items = {name: {"search": tuple({"id": f"i{k}"} for k in range(9))} for name in with_items}
    check_rungs(RungsConfig(items=(5,)), parts, items, Path(), problems)
    assert len(problems.lines) == len(says)
    for line, start in zip(problems.lines, says, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("rungs", "says"),
    [
        ({"items": (5,), "keep": 0.2}, "rungs.keep: it is about proxies"),
        ({"items": (5,), "least_correlation": 0}, "rungs.least_correlation: it is about proxies"),
        ({"items": (5, 9)}, "rungs.items: 9 are not a part"),
        ({"items": (4, 12, 30)}, "rungs.items: 12 are not a part"),
    ],
)
def test_what_would_do_nothing_is_refused(rungs, says):
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    check_rungs(RungsConfig(**rungs), [part("one", False, "s")], items, Path(), problems)
    (line,) = problems.lines
    assert line.startswith(says)


def test_a_recorded_study_that_spells_out_every_default_is_sound():
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    recorded = RungsConfig.model_validate(RungsConfig(items=(5,)).model_dump(mode="json"))
    check_rungs(recorded, [part("one", False, "s")], items, Path(), problems)
    assert problems.lines == []


def test_items_that_could_not_be_read_are_not_said_to_be_none():
    problems = Problems()
    check_rungs(RungsConfig(items=(5,)), [part("one", True, "gone")], {}, Path(), problems)
    assert problems.lines == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"race": 0.1}, "objectives.one: race needs"),
        ({"order": "entropy"}, "objectives.one: an order or estimator"),
        ({"estimator": "gmp_irt"}, "objectives.one: an order or estimator"),
    ],
)
def test_what_counts_on_bounds_asks_for_them(changes, says):
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    loss = ObjectiveSpec(Objective("one", "minimize", bounds=(0, None)), "f", search="s")
    check_rungs(RungsConfig(items=(5,), **changes), [loss], items, Path(), problems)
    assert problems.lines[0].startswith(says)


def test_a_proxy_without_rungs_is_refused(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: small\nmodels: {base: ./base, donors: {a: ./a}}\nspace: task_arithmetic\n"
        "objectives:\n  one: {fitness: f, search: i.jsonl, proxy: {fitness: p}}\n"
        "budget: {trials: 10}\n"
    )
    with pytest.raises(ConfigError, match="add rungs"):
        load_study(file)
