"""`evomerge run --or-resume`: one line for the first time and after every interruption."""

import signal
import time
from pathlib import Path

from evomerge.journal import read_events
from tests.cli.test_killed import finished, start


def test_a_run_that_is_there_is_continued_and_a_done_one_is_left(world):
    world.study["budget"] = {"trials": 6}
    code, out, err = world.run("--or-resume")
    assert code == 0, err
    before = [event.seq for event in read_events(world.folder / "run")]
    code, out, _ = world.run("--or-resume")
    assert (code, out.splitlines()[0][:6]) == (0, "done (")
    assert [event.seq for event in read_events(world.folder / "run")] == before


def test_another_study_is_refused_by_the_key_that_differs(world):
    world.study["budget"] = {"trials": 6, "deadline": "07:30"}
    world.study["notify"] = {"url": "http://127.0.0.1:9/secret", "on": ["failure"]}
    assert world.run()[0] == 0
    assert world.run("--or-resume")[0] == 0  # a deadline and a secret address do not count
    world.study["search"]["population"] = 4
    code, out, err = world.run("--or-resume")
    assert (code, out) == (2, "")
    assert "holds a run of another study: search.population differs" in err
    assert len(err.splitlines()) == 1
    del world.study["search"]["population"]
    assert "search.population differs" in world.run("--or-resume")[2]


def test_without_the_option_a_run_is_not_continued(world):
    world.study["budget"] = {"trials": 6}
    assert world.run()[0] == 0
    code, _, err = world.run()
    assert code == 2
    assert "holds a run already" in err


def test_sigterm_before_there_is_a_run_is_an_interruption_too(world):
    (world.folder / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('here').touch()\ntime.sleep(60)\n"
        "def score(model):\n    return 0.0\n"
    )
    world.study["objectives"] = {"slow": {"fitness": "./slow.py:score"}}
    driver = start("run", world.write(), "--out", world.folder / "run")
    deadline = time.monotonic() + 60
    while not Path("here").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=30)
    assert driver.returncode == 130, said
    assert said.startswith("evomerge: stopped")
    assert len(said.splitlines()) == 1
    assert finished(world.folder / "run") == []
