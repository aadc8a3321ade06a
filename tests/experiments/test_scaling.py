"""The simulated cluster: what it counts as idle, by a clock that the test moves."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evomerge.recipe.model import Recipe
from evomerge.workers import Job
from evomerge.workers.cluster.slot import Pending
from tests.experiments.lab import modules_of

FOLDER = Path(__file__).parents[2] / "experiments" / "scaling"
RECIPE = Recipe.model_validate({"merge_method": "passthrough", "models": [{"model": "m"}]})


@pytest.fixture(scope="module")
def sleeping():
    with modules_of(FOLDER, "sleeping") as (module,):
        yield module


@pytest.fixture
def clock(sleeping, monkeypatch):
    clock = SimpleNamespace(now=100.0)

    def sleep(seconds):
        clock.now += seconds

    fake = SimpleNamespace(perf_counter=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(sleeping, "time", fake)
    monkeypatch.setattr(sleeping.Durations, "draw", lambda self: 4.0)
    return clock


def test_a_worker_is_idle_from_the_end_of_a_job_to_the_next(sleeping, clock):
    cluster = sleeping.SleepingCluster(1.0, seed=0, n_items=0)
    actor = cluster.start("worker-0", ())
    actor.call("start", None, None, 10.0)
    clock.now += 0.5  # nobody gives it anything
    call = actor.call("work", Job("a", RECIPE), 10.0)
    assert cluster.answered([call], 60.0) == [call]
    assert clock.now == 104.5
    clock.now += 1.5  # the driver is busy with something else
    actor.call("work", Job("b", RECIPE), 10.0)
    clock.now += 100.0  # the search is over
    assert (actor.busy_s, actor.idle_s) == (8.0, 1.5)
    assert cluster.idle_share == pytest.approx(1.5 / 9.5)


def test_a_long_job_beats_and_answers_are_in_their_order(sleeping, clock):
    cluster = sleeping.SleepingCluster(1.0, seed=0, n_items=2)
    first, second = (cluster.start(f"worker-{n}", ()) for n in range(2))
    long = first.call("work", Job("a", RECIPE), 3.0)
    clock.now += 0.5
    short = second.call("work", Job("b", RECIPE), 10.0)
    assert cluster.answered([short, long], 60.0) == [long]
    assert long.result() == Pending()
    again = first.call("work", None, 3.0)
    clock.now = 200.0
    assert cluster.answered([short, again], 60.0) == [again, short]
    assert [call.result().job.id for call in (again, short)] == ["a", "b"]
    assert cluster.answered([], 0.0) == []


def test_a_search_on_the_simulated_cluster_is_measured_once(tmp_path):
    case = {
        "optimizer": "random",
        "seed": 1,
        "measured": "throughput",
        "workers": 4,
        "trials": 30,
        "mean_s": 0.0,
        "items": 0,
    }
    with modules_of(FOLDER, "simulated") as (simulated,):
        simulated.run(tmp_path, case)
        simulated.run(tmp_path, case)
        (row,) = simulated.rows_of(tmp_path)
        table = list(simulated.throughput_lines([row]))
    assert case.items() <= row.items()
    assert row["seconds"] > 0
    assert any("random" in line for line in table)
