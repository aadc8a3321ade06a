"""The command itself, with real worker processes, killed -9 and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evomerge.errors import UserError
from evomerge.journal import read_events

ROOT = Path(__file__).parents[2]
KILL_AFTER = (2, 9, 15)


def start(*arguments):
    script = "import sys; from evomerge.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(run):
    try:
        return [event for event in read_events(run) if event.kind == "finished"]
    except UserError:
        return []


def by_trial(run):
    return {
        event.trial: (event.kind, event.content[2])
        for event in read_events(run)
        if event.kind in {"asked", "finished"}
    }


@pytest.mark.slow
def test_killed_and_resumed_with_two_workers(world):
    world.study["workers"] = {"count": 2, "threads": 1}
    world.study["budget"] = {"trials": 24}
    study = world.write()
    whole, run = world.folder / "whole", world.folder / "run"
    done = start("run", study, "--out", whole)
    assert done.wait(300) == 0, done.stderr.read()
    done.stderr.close()

    seen = {}
    for number, count in enumerate(KILL_AFTER):
        driver = start("resume", run) if number else start("run", study, "--out", run)
        deadline = time.monotonic() + 120
        while len(finished(run)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stderr.close()
        now = {event.trial: event.content for event in finished(run)}
        assert len(now) >= count
        assert seen.items() <= now.items()
        seen = now
    last = start("resume", run)
    assert last.wait(300) == 0, last.stderr.read()
    last.stderr.close()

    trials = [event.trial for event in finished(run)]
    assert sorted(trials) == list(range(24))
    assert by_trial(run) == by_trial(whole)


def test_one_interrupt_drains_and_the_run_resumes(world):
    world.study["workers"] = {"count": 1, "threads": 1}
    world.study["budget"] = {"trials": 400}
    world.study["search"] = {"optimizer": "random"}
    run = world.folder / "run"
    driver = start("run", world.write(), "--out", run)
    deadline = time.monotonic() + 120
    while len(finished(run)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == 130
    driver.stderr.close()
    events = read_events(run)
    asked = sum(event.kind == "asked" for event in events)
    assert asked == len(finished(run)) < 400
    assert not any(event.kind == "stopped" for event in events)
