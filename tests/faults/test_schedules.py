"""Random schedules of faults: whatever happens, in whatever order, the run comes to its end."""

import pytest

from evomerge.study import run as run_module
from tests.faults.schedules import STUDIES, Schedule, play
from tests.study.fakes import without_models

FEW, MANY = range(8), range(8, 208)


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def test_schedules_are_drawn_from_their_seed_and_differ():
    drawn = [Schedule.drawn(seed) for seed in MANY]
    assert drawn == [Schedule.drawn(seed) for seed in MANY]
    assert {one.study for one in drawn} == set(STUDIES)
    assert len({repr(one.faults) for one in drawn}) > 190


@pytest.mark.parametrize("seed", FEW)
def test_a_few_schedules(tmp_path, seed):
    play(Schedule.drawn(seed), tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", MANY)
def test_many_schedules(tmp_path, seed):
    play(Schedule.drawn(seed), tmp_path)
