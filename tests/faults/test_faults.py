"""Each fault alone, where no other room holds it, with real processes and real models.

| fault | held in |
|---|---|
| kill -9 of the driver | study/test_crash, study/rungs/test_replay, cli/test_killed, cli/test_ray |
| kill -9 of a worker, a worker that hangs | workers/test_local, workers/cluster/test_slot |
| of a Ray actor, a frozen actor, a lost node | workers/cluster/test_ray, test_executor |
| of the Ray head | faults/test_schedules |
| no memory left, for real | here |
| a broken GPU | here (by an exception of its kind); tests/workers/cluster: barred nodes |
| full disk | cli/test_bad_input (a real one), journal/test_journal, faults/test_schedules |
| donors that change or vanish | here; cli/test_bad_input: between sessions |
| clocks that jump | faults/test_schedules; here: reports of such a run |
| damaged journal | journal/test_journal, journal/test_damage, faults/test_schedules |
| slow or silent storage | faults/test_schedules; here: a driver that waits for it |
| SIGTERM with a grace | here; faults/test_schedules |
| a night in which nothing works | study/test_run |

Any of them together, in any order: faults/test_schedules.
"""

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evomerge.errors import UserError
from evomerge.journal import Journal, read_events, read_sessions
from evomerge.report.spend import spend_of
from evomerge.types import Completed, Objective
from evomerge.workers import GuardedExecutor, Job, LocalExecutor, ObjectiveSpec
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec
from evomerge.workers.cluster.slot import Order
from tests.cli.test_killed import finished
from tests.cli.test_killed import start as start_command
from tests.workers import fakes
from tests.workers.cluster.fakes import FakeCluster, node
from tests.workers.test_evaluator import BASE, spec, whole
from tests.workers.test_local import RECIPE, SPEC, drain

NTH = """
import os
from pathlib import Path
HERE = Path(__file__).parent
def nth():
    '''How many evaluations there were before, in all processes.'''
    with (HERE / "count").open("a") as file:
        file.write("x")
        return file.tell()
"""

UNLUCKY = (
    NTH
    + """
import resource
import torch
def score(model):
    number = nth()
    if number == 2:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), hard))
        try:
            torch.ones(8 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if number == 4:
        try:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        except RuntimeError as error:
            raise ValueError("cannot be scored") from error
    return float(os.getpid())
"""
)


def test_no_memory_left_costs_a_candidate_and_a_broken_device_its_worker(tmp_path):
    (tmp_path / "unlucky.py").write_text(UNLUCKY)
    objective = ObjectiveSpec(Objective("pid"), "./unlucky.py:score")
    wanted = replace(spec(tmp_path), template=whole(BASE), objectives=(objective,))
    executor = LocalExecutor(wanted, count=1)
    try:
        for number in range(5):
            executor.submit(Job(f"trial-{number}", whole(BASE)))
        outcomes = list(drain(executor, 5).values())
    finally:
        executor.close()
    first, hungry, second, broken, third = outcomes
    assert hungry.kind == "error"
    assert "allocate" in hungry.message
    assert first == second, "memory that is short is no reason to start another worker"
    assert broken.kind == "lost"
    assert isinstance(third, Completed)
    assert third.metrics["pid"] != second.metrics["pid"]


SABOTAGE = {
    "changes": "path.write_bytes(bytes(reversed(path.read_bytes())))",
    "vanishes": "path.unlink()",
    "is cut short": "os.truncate(path, 5000)",
}


@pytest.mark.parametrize("fault", SABOTAGE)
def test_a_donor_that_is_not_what_it_was_ends_the_search(world, fault):
    donor = world.folder / "donor"
    shutil.copytree(world.models / "second", donor)
    weights = donor / "model.safetensors"
    sound = weights.read_bytes()
    script = (
        "def score(model):\n"
        f"    path = Path({str(weights)!r})\n"
        f"    if nth() == 6 and path.exists(): {SABOTAGE[fault]}\n"
        "    return sum(p.double().sum().item() for p in model.module.parameters())\n"
    )
    (world.folder / "sabotage.py").write_text(NTH + script)
    world.study["models"]["donors"]["second"] = str(donor)
    world.study["objectives"] = {"sum": {"fitness": "./sabotage.py:score"}}
    world.study["search"] = {"optimizer": "random"}
    if fault == "is cut short":  # whoever reads on then dies of it
        world.study["workers"] = {"count": 1, "threads": 1}
    code, _, err = world.run()
    lines = [line for line in err.splitlines() if line.startswith("evomerge: ")]
    what = "went away" if fault == "vanishes" else "changed"
    assert (code, len(lines)) == (2, 1), err
    assert f"{weights} {what} while the search went on" in lines[0]
    before = finished(world.folder / "run")
    assert len(before) == 4  # the rehearsal came first
    assert read_sessions(world.folder / "run")[-1].ended_because == lines[0].removeprefix(
        "evomerge: "
    )
    code, _, err = world("resume", "run")
    assert code == 2
    assert "second" in err

    weights.write_bytes(sound)
    code, _, err = world("resume", "run")
    assert code == 0, err
    after = finished(world.folder / "run")
    assert [one.content for one in after[:4]] == [one.content for one in before]
    assert sorted(one.trial for one in after) == list(range(12))


def test_storage_that_does_not_answer_says_nothing_of_a_file(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a model")
    executor = GuardedExecutor(LocalExecutor(SPEC, count=1, build=fakes.Scripted), [file])
    stat = Path.stat

    def stale(path, **options):
        if path == file:
            raise OSError(116, "Stale file handle")
        return stat(path, **options)

    try:
        executor.submit(Job("ok-1", RECIPE))
        monkeypatch.setattr(Path, "stat", stale)
        assert isinstance(drain(executor, 1)["ok-1"], Completed)
        monkeypatch.undo()
        file.write_bytes(b"another")
        executor.submit(Job("ok-2", RECIPE))
        with pytest.raises(UserError, match=r"model\.safetensors changed"):
            drain(executor, 1)
    finally:
        executor.close()


def test_a_driver_that_waits_for_its_storage_takes_no_worker_for_dead():
    local = LocalExecutor(SPEC, count=1, timeout_s=1.0, build=fakes.Scripted)
    cluster = FakeCluster(node("a", 1))
    wanted = ClusterSpec("auto", 1)
    distant = ClusterExecutor(cluster, wanted, Order(SPEC), beat_s=0.05, silence_s=0.1)
    try:
        for executor in (local, distant):
            executor.submit(Job("ok-0", RECIPE))
            drain(executor, 1)
            executor.submit(Job("ok-1", RECIPE))
        time.sleep(1.5)
        for executor in (local, distant):
            assert isinstance(drain(executor, 1)["ok-1"], Completed)
        time.sleep(0.3)
        distant.submit(Job("ok-2", RECIPE))
        assert isinstance(drain(distant, 1)["ok-2"], Completed)
    finally:
        local.close()
    assert len(cluster.actors) == 1


WAITS = (
    NTH
    + """
import time
def score(model):
    if nth() >= 6:
        while not (HERE / "go").exists():
            (HERE / "waiting").touch()
            time.sleep(0.05)
    return 1.0
"""
)


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in descendants(int(child)))]


@pytest.mark.slow
def test_a_scheduler_that_terminates_all_of_a_job_leaves_a_run_that_resumes(world):
    (world.folder / "waits.py").write_text(WAITS)
    world.study["objectives"] = {"one": {"fitness": "./waits.py:score"}}
    world.study["search"] = {"optimizer": "random"}
    world.study["workers"] = {"count": 1, "threads": 1, "retries": 0, "grace_s": 1.0}
    run = world.folder / "run"
    driver = start_command("run", world.write(), "--out", run)
    wait_until((world.folder / "waiting").exists)
    before = [one.content for one in finished(run)]
    assert len(before) >= 2
    for pid in descendants(driver.pid):
        os.kill(pid, signal.SIGTERM)
    assert driver.wait(20) == 130
    said = driver.stderr.read()
    driver.stderr.close()
    reason = "interrupted by SIGTERM; what was in flight took longer than 1 s"
    assert f"\nevomerge: {reason}; 'evomerge resume' continues a run from its last" in said
    assert "Traceback" not in said
    assert read_sessions(run)[-1].ended_because == reason
    assert f"state     {reason}, in session 1" in world("status", run)[1]
    assert [one.content for one in finished(run)] == before

    (world.folder / "go").touch()
    code, _, err = world("resume", run)
    assert code == 0, err
    after = finished(run)
    assert [one.content for one in after[: len(before)]] == before
    assert sorted(one.trial for one in after) == list(range(12))
    assert not any("failed" in one.payload for one in after)
    assert not any(one.kind == "retried" for one in read_events(run))


def wait_until(happened, seconds=120):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_clock_that_is_set_back_makes_no_session_shorter_than_nothing(tmp_path, monkeypatch):
    now = time.time()
    for start in (now, now - 86_400):
        monkeypatch.setattr(time, "time", lambda start=start: start)
        with Journal(tmp_path, create=not (tmp_path / "journal.sqlite").exists()) as journal:
            journal.append("opened" if not journal.events else "noted", {"study": {}, "text": ""})
            journal.note_usage({"search_s": 60.0})
            monkeypatch.setattr(time, "time", lambda start=start: start - 3600)
    spend = spend_of(tmp_path, read_events(tmp_path), read_sessions(tmp_path))
    assert (spend.wall_s, spend.search_s) == (0.0, 120.0)
