"""Studies on Ray at the command line: what is refused, and a driver killed and resumed."""

import signal
import sys
import time

import pytest

from evomerge.journal import read_events
from tests.cli.test_killed import by_trial, finished, start

RAY = {"backend": "ray", "address": "local", "count": 1, "threads": 1}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No token in the home directory, and no cluster that happens to run here."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t" * 32)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({"adress": "auto"}, "workers.adress: unknown key; did you mean 'address'?"),
        ({"address": "ray://head:10001"}, "workers.address: 'ray://head:10001': say auto, local"),
        ({"memory": "much"}, "workers.memory: 'much': give a size such as 16GB"),
        ({"gpus_per_worker": 1.5}, "workers.gpus_per_worker: 1.5 GPUs: give a whole number"),
        ({"placement": "packed"}, "workers.placement: expected 'pack' or 'spread'"),
        ({"placement": {"label": {}}}, "workers.placement.label: unknown key"),
        ({"device": "cuda"}, "device 'cuda' needs gpus_per_worker"),
        ({"device": "cuda:1"}, "Ray gives each worker its GPUs"),
        ({"device": "cpu", "gpus_per_worker": 1}, "device 'cpu' uses no GPU"),
        ({"backend": "local"}, "address belongs to backend 'ray'"),
        ({"cpus_per_worker": 10_000}, "do not fit on this machine"),
        ({"memory": "9000TB"}, "9000000.0 GB do not fit on this machine"),
        ({"address": "127.0.0.1:9"}, "no Ray cluster answers at '127.0.0.1:9'"),
    ],
)
def test_workers_that_cannot_be_are_refused_in_one_line(world, workers, words):
    pytest.importorskip("ray")
    world.study["workers"] = RAY | workers
    code, out, err = world("check", world.write())
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_ray_that_is_not_installed_is_named(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    world.study["workers"] = RAY
    code, out, err = world.run()
    assert (code, out) == (2, "")
    assert err.endswith("pip install 'evomerge[ray]'\n")
    assert not (world.folder / "run").exists()


@pytest.mark.parametrize(
    ("workers", "line"),
    [
        (RAY, "1 on Ray (local), 1 CPU each, 1 thread, device cpu"),
        ({"count": 2, "threads": 1}, "2 processes on this machine, 1 thread each, device auto"),
        ({"backend": "inline", "threads": 3}, "in this process, 3 threads, device auto"),
    ],
)
def test_check_says_where_candidates_are_evaluated(world, workers, line):
    world.study["workers"] = workers
    code, out, _ = world("check", world.write())
    assert code == 0
    assert f"  workers     {line}\n" in out


@pytest.mark.slow
def test_killed_on_ray_and_resumed_it_finds_what_one_process_finds(world):
    pytest.importorskip("ray")
    code, _, err = world("run", world.write(), "--out", world.folder / "inline")
    assert code == 0, err
    world.study["workers"] = RAY
    run = world.folder / "run"
    driver = start("run", world.write(), "--out", run)
    deadline = time.monotonic() + 240
    while len(finished(run)) < 4 and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stderr.close()
    seen = {event.trial: event.content for event in finished(run)}
    assert len(seen) >= 4
    last = start("resume", run)
    assert last.wait(300) == 0, last.stderr.read()
    assert "raylet" not in last.stderr.read()
    last.stderr.close()
    now = {event.trial: event.content for event in finished(run)}
    assert seen.items() <= now.items()
    assert by_trial(run) == by_trial(world.folder / "inline")
    scored = [
        {
            event.payload["name"]: event.payload
            for event in read_events(out)
            if event.kind == "scored"
        }
        for out in (run, world.folder / "inline")
    ]
    assert scored[0] == scored[1]
