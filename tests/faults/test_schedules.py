"""Random schedules of faults: whatever happens, in whatever order, the run comes to its end.

What a schedule may hold is in `drivers.REASONS` and `evaluation.AFFLICTIONS`; what must hold
whatever happens is in `invariants`.
"""

import pytest

from evomerge.study import run as run_module
from tests.faults.schedules import N_TRIALS, STUDIES, Schedule, play
from tests.study.fakes import without_models

FEW, MANY, ON_RAY = range(6), range(8, 200), range(200, 208)


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def n_finished(events):
    return sum(one.kind == "finished" for one in events)


def test_schedules_are_drawn_from_their_seed_and_differ():
    drawn = [Schedule.drawn(seed) for seed in MANY]
    assert drawn == [Schedule.drawn(seed) for seed in MANY]
    assert {one.study for one in drawn} == set(STUDIES)
    assert len({repr(one.faults) for one in drawn}) > 180


@pytest.mark.parametrize("seed", FEW)
def test_a_few_schedules(tmp_path, seed):
    assert n_finished(play(Schedule.drawn(seed), tmp_path)) == N_TRIALS


@pytest.mark.slow
def test_a_ray_that_loses_an_actor_and_then_its_head(tmp_path):
    pytest.importorskip("ray")
    schedule = Schedule(0, "nsga2", "ray", 1, (("lost head", 14),), {5: "kill_parent"})
    assert n_finished(play(schedule, tmp_path)) == N_TRIALS


@pytest.mark.slow
def test_a_ray_that_meets_with_everything_else(tmp_path):
    pytest.importorskip("ray")
    faults = (
        ("full disk", 8),
        ("vanished donor", 14),
        ("corrupted row", 0),
        ("terminate", 22),
        ("slow storage", 26),
    )
    ills = {3: "run_out_of_memory", 6: "break_device", 9: "hang", 12: "freeze"}
    schedule = Schedule(1, "nsga2", "ray", 2, faults, ills)
    assert n_finished(play(schedule, tmp_path)) == N_TRIALS


@pytest.mark.nightly
@pytest.mark.parametrize("seed", MANY)
def test_many_schedules(tmp_path, seed):
    assert n_finished(play(Schedule.drawn(seed), tmp_path)) == N_TRIALS


@pytest.mark.nightly
@pytest.mark.parametrize("seed", ON_RAY)
def test_schedules_on_ray(tmp_path, seed):
    pytest.importorskip("ray")
    assert n_finished(play(Schedule.drawn(seed, on_ray=True), tmp_path)) == N_TRIALS
