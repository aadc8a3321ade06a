"""The search loop: nothing is handed to a worker before what it follows from is on disk."""

import pytest

from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.records import number_of
from tests.study.fakes import FakeExecutor, config, without_models


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


class Witness(FakeExecutor):
    """Returns results in handfuls, and reads the journal's file at every job it is given."""

    def __init__(self, out, capacity, waves=()):
        super().__init__(capacity, handful=4)
        self._out = out
        self._waves = list(waves)
        self._returned = set()

    def submit(self, job):
        if job.id.startswith("trial-") and job.split == "search":
            events = read_events(self._out)
            asked = {one.trial for one in events if one.kind == "asked"}
            done = {one.trial for one in events if one.kind in ("finished", "retried")}
            assert number_of(job.id) in asked
            assert done >= self._returned, "a result was not on disk"
        super().submit(job)

    def wait(self, timeout_s=None):
        results = super().wait(timeout_s)
        names = [result.job.id for result in results]
        self._returned |= {number_of(name) for name in names if name.startswith("trial-")}
        if self._waves:
            self.capacity = self._waves.pop(0)
        return results


@pytest.mark.parametrize("optimizer", ["nsga2", "random", "dirichlet"])
def test_jobs_follow_from_what_is_on_disk(tmp_path, optimizer):
    out = tmp_path / "run"
    witness = Witness(out, 7)
    study = config(search={"optimizer": optimizer})
    start_run(study, tmp_path, out, executor=lambda _: witness)
    finished = [one.trial for one in read_events(out) if one.kind == "finished"]
    assert sorted(finished) == list(range(40))


@pytest.mark.parametrize("optimizer", ["nsga2", "random"])
def test_capacity_that_comes_and_goes_changes_nothing_for_who_waits(tmp_path, optimizer):
    study = config(search={"optimizer": optimizer})
    waves = [1, 9, 3, 1, 1, 8, 2, 12, 1, 5] * 4
    found = []
    for name, executor in (
        ("steady", FakeExecutor(2)),
        ("changing", Witness(tmp_path / "changing", 1, waves=waves)),
    ):
        start_run(study, tmp_path, tmp_path / name, executor=lambda _, one=executor: one)
        events = read_events(tmp_path / name)
        found.append({one.trial: one.content for one in events if one.kind == "finished"})
    assert found[0] == found[1]


def test_a_run_of_changing_capacity_is_replayed(tmp_path):
    out = tmp_path / "run"
    study = config(search={"optimizer": "dirichlet"})
    witness = Witness(out, 1, waves=[4, 1, 7, 2, 9] * 9)
    start_run(study, tmp_path, out, executor=lambda _: witness)
    before = [one.content for one in read_events(out)]
    resume_run(out, add={"trials": 5}, executor=lambda _: FakeExecutor(3))
    assert [one.content for one in read_events(out)][: len(before)] == before
