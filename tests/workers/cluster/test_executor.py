"""What becomes of jobs while workers and nodes of a cluster come, fail and go."""

import time
from dataclasses import replace

import pytest

from evomerge.errors import UserError
from evomerge.types import Completed, Failed
from evomerge.workers import Held, Job
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec, Lost
from evomerge.workers.cluster.executor import MAX_MOVES
from evomerge.workers.cluster.slot import Missing, Order, Pending, Refused
from tests.workers.cluster.fakes import SILENT, FakeCluster, done, failed, node
from tests.workers.test_local import RECIPE, SPEC


def executor_on(cluster, count=2, **options):
    on_demand = options.pop("on_demand", False)
    wanted = ClusterSpec("auto", count, on_demand=on_demand)
    return ClusterExecutor(cluster, wanted, Order(SPEC), **options)


def job(name, attempt=0):
    return Job(name, RECIPE, attempt=attempt)


def run(executor, *jobs):
    """Do jobs as a search does, no more at a time than there is capacity for."""
    waiting, results, in_flight = list(jobs), [], 0
    while len(results) < len(jobs):
        while waiting and in_flight < executor.capacity:
            executor.submit(waiting.pop(0))
            in_flight += 1
        found = executor.wait(0.05)
        in_flight -= len(found)
        results += found
    return {result.job.id: result.outcome for result in results}


def settle(executor, capacity):
    """Let the executor look around until it has so many workers."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        run(executor, job("look"))
        if executor.capacity == capacity:
            return
        time.sleep(0.01)
    pytest.fail(f"capacity {executor.capacity} instead of {capacity}")


def dies_on(bad, message="its process was ended", **options):
    def script(where, method, *arguments):
        if where == bad and method == "work":
            return Lost(message, **options)
        return None

    return script


def test_capacity_counts_ready_workers_and_follows_the_cluster():
    cluster = FakeCluster(node("a", 1))
    executor = executor_on(cluster, count=3, beat_s=0.02)
    assert executor.capacity == 1
    settle(executor, 1)
    cluster.alive.append(node("b", 2))
    settle(executor, 3)
    cluster.lose("b")
    settle(executor, 1)
    cluster.alive.append(node("c", 1))
    settle(executor, 2)
    assert set(run(executor, *(job(f"j{k}") for k in range(9)))) >= {f"j{k}" for k in range(9)}


def test_a_job_whose_node_went_is_done_elsewhere_and_costs_no_attempt():
    notes = []
    hanging = {"a"}

    def script(where, method, *arguments):
        return SILENT if where in hanging and method == "work" else None

    cluster = FakeCluster(node("a", 1), script=script)
    executor = executor_on(cluster, count=1, note=notes.append)
    executor.submit(job("j"))
    assert executor.wait(0.1) == []
    cluster.alive.append(node("b", 1))
    cluster.lose("a")
    (result,) = executor.wait(5)
    assert isinstance(result.outcome, Completed)
    assert result.job == job("j")
    assert notes == ["the worker on host-a was lost: its node was lost; its job is done elsewhere"]


def test_a_job_that_takes_its_node_along_every_time_is_given_up():
    cluster = FakeCluster(node("a", 1), node("b", 1))
    moves = []

    def script(where, method, *arguments):
        if method == "work":
            moves.append(where)
            return Lost("its node was lost", with_node=True)
        return None

    cluster.script = script
    executor = executor_on(cluster, count=1)
    executor.submit(job("bad"))
    (result,) = executor.wait(5)
    assert isinstance(result.outcome, Failed)
    assert result.outcome.kind == "lost"
    assert len(moves) // 2 == MAX_MOVES + 1  # the fake asks its script twice a call


def test_a_dead_worker_is_a_lost_outcome_that_names_its_node():
    cluster = FakeCluster(node("a", 1), script=dies_on("a"))
    executor = executor_on(cluster, count=1)
    executor.submit(job("j"))
    (result,) = executor.wait(5)
    assert result.outcome == Failed("lost", "the worker on host-a was lost: its process was ended")
    cluster.script = None
    assert isinstance(run(executor, job("k"))["k"], Completed)


def test_a_node_that_loses_workers_of_different_candidates_is_left_out():
    notes = []
    cluster = FakeCluster(node("good", 1), node("bad", 1), script=dies_on("bad"))
    executor = executor_on(cluster, note=notes.append)
    settle(executor, 2)
    outcomes = run(executor, *(job(f"j{k}") for k in range(20)))
    lost = [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
    assert len(lost) <= 3
    assert [note for note in notes if "node host-bad is left out" in note]
    assert cluster.actors[-1].barred == {"bad"}
    assert not cluster.living("bad")
    assert cluster.living("good")


@pytest.mark.parametrize("kind", ["lost", "timeout"])
def test_processes_lost_inside_a_worker_count_against_the_node_too(kind):
    def script(where, method, *arguments):
        if where == "bad" and method == "work":
            return failed(arguments[0], kind)
        return None

    cluster = FakeCluster(node("good", 1), node("bad", 1), script=script)
    executor = executor_on(cluster)
    settle(executor, 2)
    outcomes = run(executor, *(job(f"j{k}") for k in range(20)))
    assert sum(isinstance(one, Failed) for one in outcomes.values()) <= 3
    assert not cluster.living("bad")


def test_a_candidate_that_kills_every_worker_is_no_fault_of_the_nodes():
    def script(where, method, *arguments):
        if method == "work" and arguments[0].id.startswith("bad"):
            return Lost("its process was ended")
        return None

    cluster = FakeCluster(node("a", 1), node("b", 1), script=script)
    executor = executor_on(cluster)
    settle(executor, 2)
    for number in range(10):
        tried = set()
        for attempt in range(2):
            executor.submit(job(f"bad-{number}", attempt))
            (result,) = executor.wait(5)
            tried.add(result.worker.partition("/")[0])
        assert tried == {"host-a", "host-b"}, "the second attempt went where the first one died"
    settle(executor, 2)
    assert all(not actor.barred for actor in cluster.actors)


def test_the_last_node_is_kept_however_often_workers_die_there():
    cluster = FakeCluster(node("a", 2), script=dies_on("a"))
    executor = executor_on(cluster)
    outcomes = run(executor, *(job(f"j{k}") for k in range(8)))
    assert all(isinstance(one, Failed) for one in outcomes.values())
    cluster.script = None
    assert isinstance(run(executor, job("k"))["k"], Completed)


def test_a_node_that_refuses_is_left_out_at_once_and_the_last_one_ends_the_search():
    notes = []

    def script(where, method, *arguments):
        return Refused("torch is 1 there") if (where, method) == ("a", "start") else None

    cluster = FakeCluster(node("a", 2), node("b", 1), script=script)
    executor = executor_on(cluster, note=notes.append)
    assert isinstance(run(executor, job("j"))["j"], Completed)
    assert notes == ["node host-a is left out: torch is 1 there"]

    alone = FakeCluster(node("a", 2), script=script)
    executor = executor_on(alone)
    executor.submit(job("j"))
    with pytest.raises(UserError, match="torch is 1 there"):
        executor.wait(5)
    assert alone.closed


def test_workers_that_never_start_end_the_search():
    def script(where, method, *arguments):
        return Lost("its process was ended") if method == "start" else None

    executor = executor_on(FakeCluster(node("a", 1), script=script), count=1)
    executor.submit(job("j"))
    with pytest.raises(UserError, match="no worker can be started: its process was ended"):
        executor.wait(5)


def test_a_worker_without_a_sign_of_life_is_replaced():
    silent = {"start": False, "work": True}

    def script(where, method, *arguments):
        return SILENT if silent.get(method) else None

    cluster = FakeCluster(node("a", 1), script=script)
    executor = executor_on(cluster, count=1, beat_s=0.05, silence_s=0.1)
    executor.submit(job("j"))
    (result,) = executor.wait(5)
    assert result.outcome.kind == "lost"
    assert "no sign of life" in result.outcome.message
    silent["work"] = False
    assert isinstance(run(executor, job("k"))["k"], Completed)
    assert cluster.actors[0].ended


def test_a_worker_that_beats_may_take_as_long_as_it_likes():
    started = time.monotonic()

    def script(where, method, *arguments):
        if method != "work":
            return None
        return Pending() if time.monotonic() - started < 0.6 else done(job("j"))

    executor = executor_on(
        FakeCluster(node("a", 1), script=script), count=1, beat_s=0.05, silence_s=0.1
    )
    executor.submit(job("j"))
    (result,) = executor.wait(5)
    assert isinstance(result.outcome, Completed)


def test_an_idle_worker_whose_node_went_is_noticed_before_it_gets_a_job():
    cluster = FakeCluster(node("a", 1), node("b", 1))
    executor = executor_on(cluster, beat_s=0.02)
    settle(executor, 2)
    cluster.lose("b")
    time.sleep(0.03)
    settle(executor, 1)
    assert executor.held().workers == 1
    assert set(run(executor, job("j"))) == {"j"}


def test_models_that_are_not_there_are_fetched():
    def script(where, method, *arguments):
        return Missing() if method == "start" and arguments[1] is None else None

    cluster = FakeCluster(node("a", 1), script=script)
    assert isinstance(run(executor_on(cluster, count=1), job("j"))["j"], Completed)
    assert cluster.fetches == 1


def test_a_search_that_finds_no_room_says_so():
    cluster = FakeCluster()
    executor = executor_on(cluster, count=1, on_demand=True, room_s=0.1)
    executor.submit(job("j"))
    with pytest.raises(UserError, match="no place for one of 1 CPU"):
        executor.wait(5)


def test_what_is_held_counts_from_a_place_to_its_end_and_shares_of_gpus_add_up():
    cluster = FakeCluster(node("a", 1))
    wanted = ClusterSpec("auto", 3, gpus=0.5)
    other = replace(node("b", 2), resources={"CPU": 2.0, "GPU": 1.0})
    cluster.alive = [replace(node("a", 1), resources={"CPU": 1.0, "GPU": 1.0})]
    executor = ClusterExecutor(cluster, wanted, Order(SPEC), beat_s=0.02)
    assert executor.held() == Held()
    settle(executor, 1)
    assert (executor.held().workers, executor.held().gpus) == (1, 0.5)
    cluster.alive.append(other)
    settle(executor, 3)
    held = executor.held()
    assert (held.workers, held.gpus) == (3, 1.5)
    assert held.gpu_s == pytest.approx(held.worker_s / 2)
    cluster.lose("b")
    settle(executor, 1)
    after = executor.held()
    assert (after.workers, after.worker_s > held.worker_s) == (1, True)
    executor.close()
    ended = executor.held()
    assert (ended.workers, ended.gpus) == (0, 0)
    assert ended.worker_s == executor.held().worker_s >= after.worker_s
