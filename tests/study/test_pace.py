"""How many proposals wait ready: none unless workers would wait for the driver."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from evomerge.journal import read_events
from evomerge.study import pace, start_run
from evomerge.study import run as run_module
from evomerge.study.pace import Pace
from tests.study.fakes import FakeClock, FakeExecutor, config, without_models
from tests.study.rungs.runs import ByItem, start


class Timed(FakeExecutor):
    """Says how long each evaluation took, and notes how many jobs it held at most."""

    def __init__(self, capacity, took_s):
        super().__init__(capacity, handful=2)
        self._took_s = took_s
        self.most = 0

    def submit(self, job):
        super().submit(job)
        self.most = max(self.most, len(self._jobs))

    def wait(self, timeout_s=None):
        return [replace(one, score_s=self._took_s) for one in super().wait(timeout_s)]


@pytest.fixture
def clock(monkeypatch):
    found = FakeClock()
    monkeypatch.setattr(pace, "time", found)
    return found


def observed(clock, *, busy_s, job_s, results=8):
    """A pace that has seen a driver and workers of one speed."""
    found = Pace()
    for _ in range(results):
        found.take([SimpleNamespace(merge_s=0.0, score_s=job_s)])
        clock.pass_by(busy_s)
        found.rest()
    return found


@pytest.mark.parametrize(
    ("busy_s", "job_s", "capacity", "expected"),
    [
        (0.03, 60.0, 8, 0),  # a hundredth of an evaluation is nothing
        (0.025, 1.0, 256, 13),  # 6.4 results while the driver is busy, twice over
        (0.03, 0.33, 2, 1),
        (5.0, 1.0, 4, 4),  # never more than one each
        (5.0, 1.0, 1, 0),  # one worker: the seed decides
    ],
)
def test_as_many_as_are_used_up_while_the_driver_is_busy(clock, busy_s, job_s, capacity, expected):
    assert observed(clock, busy_s=busy_s, job_s=job_s).ahead(capacity) == expected


def test_nothing_is_known_before_the_first_result():
    assert Pace().ahead(64) == 0


def test_known_scores_say_nothing_of_how_long_evaluations_take(clock):
    assert observed(clock, busy_s=1.0, job_s=0.0).ahead(64) == 0


@pytest.mark.parametrize(
    ("capacity", "took_s", "ahead"), [(4, 1e-6, True), (4, 1e6, False), (1, 1e-6, False)]
)
def test_a_search_hands_over_more_than_there_are_workers(
    tmp_path, monkeypatch, capacity, took_s, ahead
):
    without_models(monkeypatch, run_module)
    executor = Timed(capacity, took_s)
    start_run(
        config(search={"optimizer": "random"}),
        tmp_path,
        tmp_path / "run",
        executor=lambda _: executor,
    )
    assert (executor.most > capacity) == ahead


def test_generations_are_the_same(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    found = []
    for name, took_s in (("ahead", 1e-6), ("behind", 1e6)):
        executor = Timed(4, took_s)
        start_run(config(), tmp_path, tmp_path / name, executor=lambda _, one=executor: one)
        events = read_events(tmp_path / name)
        found.append({one.trial: one.content for one in events if one.kind == "finished"})
        assert (executor.most > 4) == (name == "ahead")
    assert found[0] == found[1]


def test_who_climbs_finds_its_merge_in_memory(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)

    class Quick(ByItem):
        most = 0

        def submit(self, job):
            super().submit(job)
            self.most = max(self.most, len(self._jobs))

        def wait(self, timeout_s=None):
            return [replace(one, score_s=1e-6) for one in super().wait(timeout_s)]

    executor = Quick(4, handful=2)
    start(tmp_path / "run", executor)
    assert executor.most == 4
