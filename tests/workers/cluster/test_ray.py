"""On a real Ray: workers killed, frozen and hung, nodes added and removed, whole searches."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from evomerge.errors import UserError
from evomerge.journal import read_events
from evomerge.study import run as run_module
from evomerge.study import start_run
from evomerge.types import Completed
from evomerge.workers import Job, LocalExecutor
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec
from evomerge.workers.cluster.models import ModelFolder
from evomerge.workers.cluster.ray_cluster import RayCall, RayCluster
from evomerge.workers.cluster.slot import Order
from tests.study.fakes import config, without_models
from tests.workers import fakes
from tests.workers.test_local import RECIPE, SPEC, drain

TWO = ClusterSpec("auto", 2)
QUICK_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 2,
}


@pytest.fixture(scope="module")
def machines():
    """A Ray of our own: one node of two CPUs, to which tests add others."""
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = ".*"  # what Ray itself logs about killed workers
    ray = pytest.importorskip("ray")
    from ray._common.utils import reset_ray_address  # noqa: PLC0415 an extra
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "_system_config": QUICK_HEALTH},
    )
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    reset_ray_address()


@pytest.fixture
def start(machines):
    started = []

    def _start(spec=SPEC, wanted=TWO, **options):
        executor_options = {
            name: options.pop(name) for name in ("note", "beat_s", "silence_s") if name in options
        }
        order = Order(spec, **{"build": fakes.Scripted, **options})
        cluster = RayCluster(wanted, Path())
        executor = ClusterExecutor(cluster, wanted, order, **executor_options)
        started.append(executor)
        return executor

    yield _start
    for executor in started:
        executor.close()


def until(executor, capacity, seconds=60):
    deadline = time.monotonic() + seconds
    while executor.capacity != capacity and time.monotonic() < deadline:
        executor.submit(Job("ok-look", RECIPE))
        drain(executor, 1)
        time.sleep(0.05)
    assert executor.capacity == capacity


def test_every_job_comes_back_once_and_workers_share_the_load(start):
    executor = start()
    until(executor, 2)
    for number in range(6):
        executor.submit(Job(f"sleep-0.{number}", RECIPE))
    outcomes = drain(executor, 6)
    assert len(outcomes) == 6
    assert len({outcome.metrics["x"] for outcome in outcomes.values()}) == 2


def test_dead_frozen_and_hung_workers_are_outcomes_and_are_replaced(start):
    executor = start(timeout_s=2.0, beat_s=0.5, silence_s=4.0)
    until(executor, 2)
    for name in ("orphan", "ok-1", "kill", "freeze", "ok-2", "sleep-60", "ok-3"):
        executor.submit(Job(name, RECIPE))
    outcomes = drain(executor, 7)
    assert all(isinstance(outcomes[f"ok-{n}"], Completed) for n in (1, 2, 3))
    assert {name: outcomes[name].kind for name in ("orphan", "kill", "freeze", "sleep-60")} == {
        "orphan": "lost",
        "kill": "lost",
        "freeze": "lost",
        "sleep-60": "timeout",
    }
    assert "its process was ended" in outcomes["orphan"].message
    assert "ended by SIGKILL" in outcomes["kill"].message
    assert "no sign of life" in outcomes["freeze"].message
    assert "longer than 2 s" in outcomes["sleep-60"].message
    until(executor, 2)


def test_workers_share_a_gpu(start, machines):
    node = machines.add_node(num_cpus=2, num_gpus=1)
    try:
        executor = start(wanted=ClusterSpec("auto", 3, cpus=0.5, gpus=0.5))
        until(executor, 2)  # there is no half a GPU for the third
        for number in range(4):
            executor.submit(Job(f"sleep-0.{number}", RECIPE))
        assert len(drain(executor, 4)) == 4
        assert executor.held().gpus == 1.0
    finally:
        executor.close()
        machines.remove_node(node)


def test_a_spot_node_that_is_taken_back_costs_no_attempt():
    lost = RayCall(None)._death(SimpleNamespace(preempted=True))
    assert lost.with_node
    assert str(lost) == "its node was preempted"


def test_workers_come_and_go_with_their_nodes(start, machines):
    notes = []
    wanted = ClusterSpec("auto", 2, labels={"kind": "extra"}, on_demand=True)
    executor = start(wanted=wanted, note=notes.append, beat_s=0.5)
    executor.submit(Job("ok-1", RECIPE))
    assert executor.wait(1.0) == []
    first = machines.add_node(num_cpus=1, labels={"kind": "extra"})
    assert isinstance(drain(executor, 1)["ok-1"], Completed)
    assert executor.capacity == 1
    second = machines.add_node(num_cpus=1, labels={"kind": "extra"})
    until(executor, 2)

    for name in ("sleep-3", "sleep-3.0"):
        executor.submit(Job(name, RECIPE))
    executor.wait(0.5)
    machines.remove_node(second, allow_graceful=False)
    outcomes = drain(executor, 2)
    assert all(isinstance(outcome, Completed) for outcome in outcomes.values())
    assert executor.capacity == 1
    assert any("its job is done elsewhere" in note for note in notes)
    machines.remove_node(first)


def test_models_that_nodes_do_not_see_are_copied_there_once(start, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(100_000))
    seen = ModelFolder.of(folder, allow_pickle=False)
    (file,) = seen.files
    elsewhere = replace(seen, files=(replace(file, changed_at=file.changed_at - 5),))
    wanted = replace(TWO, runtime_env={"env_vars": {"TMPDIR": str(tmp_path)}})
    executor = start(wanted=wanted, models={("m", None): elsewhere}, build=fakes.ReadsModel)
    executor.submit(Job("ok-1", RECIPE))
    ((path, is_template),) = drain(executor, 1)["ok-1"].metrics.items()
    assert path.startswith(f"{tmp_path}/evomerge-models-")
    assert is_template
    assert Path(path, file.name).read_bytes() == (folder / file.name).read_bytes()


def test_what_a_worker_refuses_is_said_in_its_words(start):
    executor = start(build=fakes.refuses)
    executor.submit(Job("ok-1", RECIPE))
    with pytest.raises(UserError, match=r"models\.base: \./gone does not exist"):
        drain(executor, 1)


def test_an_environment_that_ray_cannot_set_up_is_named(start):
    wanted = ClusterSpec("auto", 1, runtime_env={"working_dir": "/no/such/folder"})
    with pytest.raises(UserError, match=r"workers.runtime_env: Ray refuses it: /no/such/folder"):
        start(wanted=wanted)


def by_trial(out):
    return {
        (event.kind, event.trial): event.content[2]
        for event in read_events(out)
        if event.kind in {"asked", "retried", "finished"}
    }


def test_a_synchronous_search_finds_what_it_finds_on_one_machine(start, tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)

    def on_ray(study):
        return start(study.evaluator, build=fakes.Rugged)

    def here(study):
        return LocalExecutor(study.evaluator, count=2, build=fakes.Rugged)

    start_run(config(), tmp_path, tmp_path / "ray", executor=on_ray)
    start_run(config(), tmp_path, tmp_path / "local", executor=here)
    assert by_trial(tmp_path / "ray") == by_trial(tmp_path / "local")


def test_a_candidate_that_kills_its_workers_is_a_recorded_failure(start, tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    study = config(budget={"trials": 14}, workers={"retries": 1})

    def on_ray(prepared):
        return start(prepared.evaluator, build=fakes.Deadly)

    start_run(study, tmp_path, tmp_path / "run", executor=on_ray)
    events = [event for event in read_events(tmp_path / "run") if event.trial is not None]
    failed = {
        event.trial: event.payload
        for event in events
        if event.kind == "finished" and "failed" in event.payload
    }
    assert {number for number, one in failed.items() if one["failed"] == "lost"} == {5, 9}
    for number in (5, 9):
        payload = failed[number]
        own = [event.kind for event in events if event.trial == number]
        assert own == ["asked", "retried", "finished"]
        assert (payload["attempt"], "its process was ended" in payload["message"]) == (1, True)
    assert sum(event.kind == "finished" for event in events) == 14
