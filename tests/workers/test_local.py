import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evomerge.errors import UserError
from evomerge.recipe.model import ModelRef, Recipe
from evomerge.types import Completed, Failed
from evomerge.workers import EvaluatorSpec, Job, LocalExecutor, local
from evomerge.workers.local import devices_of_workers
from evomerge.workers.protocol import Held
from tests.workers import fakes

RECIPE = Recipe.model_validate({"merge_method": "passthrough", "models": [{"model": "m"}]})
SPEC = EvaluatorSpec(RECIPE, ModelRef(path="m"), (), Path(), device="cpu")


@pytest.fixture
def start():
    started = []

    def _start(**options):
        options = {"count": 2, "build": fakes.Scripted, **options}
        executor = LocalExecutor(SPEC, **options)
        started.append(executor)
        return executor

    yield _start
    for executor in started:
        executor.close()


def drain(executor, count):
    results = []
    while len(results) < count:
        results += executor.wait(30)
    return {result.job.id: result.outcome for result in results}


def test_every_job_comes_back_once_and_workers_share_the_load(start):
    executor = start()
    assert executor.capacity == 2
    for number in range(6):
        executor.submit(Job(f"sleep-0.{number}", RECIPE))
    outcomes = drain(executor, 6)
    assert len(outcomes) == 6
    assert len({outcome.metrics["x"] for outcome in outcomes.values()}) == 2


def test_without_a_time_out_a_hang_ends_by_what_was_completed(start, monkeypatch):
    monkeypatch.setattr(local, "HUNG_S", 1.0)
    monkeypatch.setattr(local, "HUNG_TIMES", 5.0)
    executor = start(count=1)
    executor.submit(Job("sleep-1.5", RECIPE))  # nothing is known yet
    assert isinstance(drain(executor, 1)["sleep-1.5"], Completed)
    for name in ("sleep-3", "sleep-60"):  # five times 1.5 s is what may be
        executor.submit(Job(name, RECIPE))
    outcomes = drain(executor, 2)
    assert isinstance(outcomes["sleep-3"], Completed)
    assert outcomes["sleep-60"].kind == "timeout"


def test_a_dead_worker_is_a_lost_outcome_and_is_replaced(start):
    executor = start(count=1)
    for name in ("kill", "ok-1", "exit", "ok-2"):
        executor.submit(Job(name, RECIPE))
    outcomes = drain(executor, 4)
    assert isinstance(outcomes["ok-1"], Completed)
    assert isinstance(outcomes["ok-2"], Completed)
    assert outcomes["kill"] == Failed(
        "lost", "the worker process was ended by SIGKILL (often: out of memory)"
    )
    assert outcomes["exit"] == Failed("lost", "the worker process ended with exit code 3")


def test_time_out_counts_from_the_start_of_the_job_not_of_the_worker(start):
    executor = start(count=1, timeout_s=1.5, build=fakes.slow_to_start)
    executor.submit(Job("ok-1", RECIPE))
    executor.submit(Job("sleep-60", RECIPE))
    outcomes = drain(executor, 2)
    assert isinstance(outcomes["ok-1"], Completed)
    assert outcomes["sleep-60"] == Failed("timeout", "the evaluation took longer than 1.5 s")


def test_what_a_worker_refuses_is_said_in_its_words(start):
    executor = start(build=fakes.refuses)
    executor.submit(Job("ok-1", RECIPE))
    with pytest.raises(UserError, match=r"models\.base: \./gone does not exist"):
        drain(executor, 1)


@pytest.mark.parametrize(
    ("build", "limit", "why"),
    [(fakes.dies, 30.0, "exit code 5"), (fakes.hangs, 1.0, "longer than 1 s")],
)
def test_workers_that_never_start_end_the_wait(start, build, limit, why):
    executor = start(count=1, build=build, start_timeout_s=limit)
    executor.submit(Job("ok-1", RECIPE))
    with pytest.raises(UserError, match=why):
        drain(executor, 1)


def test_wait_returns_after_its_time_out_with_nothing(start):
    executor = start(count=1)
    executor.submit(Job("sleep-5", RECIPE))
    assert executor.wait(0.3) == []


def test_a_fitness_may_start_processes_of_its_own(start):
    executor = start(count=1)
    executor.submit(Job("spawn", RECIPE))
    assert isinstance(drain(executor, 1)["spawn"], Completed)


def test_an_executor_that_is_never_closed_does_not_keep_the_driver_alive(tmp_path):
    path = tmp_path / "driver.py"
    path.write_text(
        "from tests.workers.test_local import SPEC, RECIPE, fakes, LocalExecutor, Job\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor(SPEC, count=2, build=fakes.Scripted)\n"
        "    executor.submit(Job('ok-1', RECIPE))\n"
        "    executor.wait()\n"
        "    executor.submit(Job('sleep-600', RECIPE))\n"
        "    raise SystemExit(7)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 7


def test_workers_leave_with_a_killed_driver(tmp_path):
    script = f"""
import time
from pathlib import Path
from tests.workers.test_local import SPEC, RECIPE, fakes, LocalExecutor, Job
if __name__ == "__main__":
    executor = LocalExecutor(SPEC, count=1, build=fakes.Scripted)
    executor.submit(Job("ok-1", RECIPE))
    pid = int(executor.wait()[0].outcome.metrics["x"])
    executor.submit(Job("sleep-600", RECIPE))
    partial = Path({str(tmp_path / "partial")!r})
    partial.write_text(str(pid))
    partial.rename({str(tmp_path / "pid")!r})
    time.sleep(600)
"""
    path = tmp_path / "driver.py"
    path.write_text(script)
    root = Path(__file__).parents[2]
    driver = subprocess.Popen(
        [sys.executable, str(path)], env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists(), "the worker outlived its driver"


@pytest.mark.parametrize(
    ("device", "n_there", "workers", "gpus"),
    [
        ("cpu", 4, 2, 0),
        ("auto", 0, 2, 0),
        ("cuda:1", 4, 2, 1),
        ("auto", 2, 3, 2),
        ("cuda", 4, 3, 3),
    ],
)
def test_what_is_held_counts_a_shared_gpu_once(monkeypatch, device, n_there, workers, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_there)
    executor = LocalExecutor(replace(SPEC, device=device), count=workers, build=fakes.Scripted)
    try:
        before, held = executor.held(), executor.held()
    finally:
        executor.close()
    assert (held.workers, held.gpus) == (workers, gpus)
    assert held.gpu_s * workers == pytest.approx(held.worker_s * gpus)
    assert held.worker_s >= before.worker_s > 0


@pytest.mark.parametrize(
    ("device", "count", "gpus", "there", "devices"),
    [
        ("auto", 2, 1, 0, ["auto", "auto"]),
        ("auto", 3, 1, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 2, 2, 4, ["cuda:0,cuda:1", "cuda:2,cuda:3"]),
        ("cuda:1", 2, 1, 4, ["cuda:1", "cuda:1"]),
        ("cpu", 1, 1, 4, ["cpu"]),
    ],
)
def test_each_worker_gets_its_devices(monkeypatch, device, count, gpus, there, devices):
    monkeypatch.setattr("evomerge.workers.local.available_gpus", lambda: there)
    assert devices_of_workers(device, count, gpus) == devices
    held = Held.throughout(devices, 10.0)
    assert held.gpus == len({one for own in devices for one in own.split(",")} - {"auto", "cpu"})


def test_workers_of_several_gpus_share_none(monkeypatch):
    monkeypatch.setattr("evomerge.workers.local.available_gpus", lambda: 3)
    with pytest.raises(UserError, match="2 x 2 GPUs are asked for and this machine has 3"):
        devices_of_workers("auto", 2, 2)
