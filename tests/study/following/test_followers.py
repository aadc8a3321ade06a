"""Callbacks in processes of their own: slow, broken, hanging, killed; the run never notices."""

import json
import time
from functools import partial
from pathlib import Path

import pytest

from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.following import announcing
from evomerge.study.following.followers import Followers
from tests.study.budgets.test_sessions import Killed, is_killed
from tests.study.fakes import FakeExecutor, config, without_models

MINE = '''
import json, os, signal, sys, time
from pathlib import Path


class Show:
    """Appends what it is told to a file; does something bad where it is told to."""

    def __init__(self, file: Path, bad: str = "", at: int = 3):
        self.file, self.bad, self.at = file, bad, at
        print("a library that talks")
        self.write("built", os.getpid())

    def write(self, what, content):
        with self.file.open("a") as file:
            file.write(json.dumps([what, content]) + "\\n")

    def begin(self, run):
        self.write("begin", run.resumed)

    def trial(self, trial):
        if trial.count == self.at:
            if self.bad == "raise":
                raise ValueError("no such project\\nand more")
            if self.bad == "exit":
                os._exit(7)
            if self.bad == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        self.write("trial", trial.number)

    def end(self, end):
        while self.bad == "hang":
            time.sleep(60)
        self.write("end", [end.state, end.reason, end.finished])
'''


@pytest.fixture(autouse=True)
def _no_models(monkeypatch, tmp_path):
    without_models(monkeypatch, run_module)
    (tmp_path / "mine.py").write_text(MINE)


def study_of(*entries, trials=12):
    callbacks = [{"callback": "./mine.py:Show", **entry} for entry in entries]
    search = {"optimizer": "nsga2", "population": 6}
    return config(search=search, budget={"trials": trials}, callbacks=callbacks)


def start(out, study, executor=None, lines=None):
    made = executor or FakeExecutor()
    warn = (lines if lines is not None else []).append
    return start_run(study, out.parent, out, executor=lambda _: made, warn=warn)


def told(file, what=None):
    path = Path(file)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows if what is None else [content for name, content in rows if name == what]


def contents(out):
    return [event.content for event in read_events(out) if event.kind != "opened"]


def test_a_callback_is_told_everything_and_so_is_the_next_session(tmp_path):
    out, file, lines = tmp_path / "run", tmp_path / "shown", []
    study = study_of({"file": "shown"})
    assert start(out, study, lines=lines).state == "done"
    finished = [event.trial for event in read_events(out) if event.kind == "finished"]
    assert told(file, "trial") == finished
    assert told(file, "begin") == [False]
    assert told(file, "end") == [["done", "budget: 12 trials", 12]]
    assert "a library that talks" in (out / "callbacks/0.log").read_text()
    more = {"executor": lambda _: FakeExecutor(), "warn": lines.append}
    assert resume_run(out, add={"trials": 4}, **more).state == "done"
    finished = [event.trial for event in read_events(out) if event.kind == "finished"]
    assert told(file, "trial") == finished
    assert told(file, "begin") == [False, True]
    assert told(file, "end")[-1] == ["done", "budget: 16 trials", 16]
    assert lines == []


def test_what_breaks_is_a_line_and_the_run_is_as_without_callbacks(tmp_path):
    plain, out, lines = tmp_path / "plain", tmp_path / "run", []
    start(plain, study_of())
    study = study_of(
        {"file": "raised", "bad": "raise"},
        {"file": "exited", "bad": "exit"},
        {"file": "died", "bad": "die"},
        {"file": "fine"},
    )
    assert start(out, study, lines=lines).state == "done"
    assert contents(out) == contents(plain)
    assert len(told(tmp_path / "fine", "trial")) == 12
    assert len(lines) == 3
    assert all(
        line.startswith("callback './mine.py:Show' gave up, the run goes on: ") for line in lines
    )
    said = "".join(lines)
    assert f"ValueError: no such project; see {out / 'callbacks/0.log'}" in said
    assert "exit code 7" in said
    assert "exit code -9" in said
    assert "no such project\nand more" in (out / "callbacks/0.log").read_text()
    for name in ("raised", "exited", "died"):
        assert len(told(tmp_path / name, "trial")) == 2
        assert told(tmp_path / name, "end") == []


def test_the_next_session_tells_what_was_missed(tmp_path):
    out, file, lines = tmp_path / "run", tmp_path / "shown", []
    start(out, study_of({"file": "shown", "bad": "raise"}), lines=lines)
    (tmp_path / "mine.py").write_text(
        MINE.replace("no such", "again no such").replace("raise V", "V")
    )
    resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    finished = [event.trial for event in read_events(out) if event.kind == "finished"]
    assert told(file, "trial") == finished
    assert len(lines) == 1


def test_one_that_hangs_is_ended_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(announcing, "Followers", partial(Followers, flush_s=2.5))
    out, file, lines = tmp_path / "run", tmp_path / "shown", []
    assert start(out, study_of({"file": "shown", "bad": "hang"}), lines=lines).state == "done"
    log = out / "callbacks/0.log"
    assert lines == [f"callback './mine.py:Show' did not write the rest within 2.5 s; see {log}"]
    assert told(file, "end") == []
    for pid in told(file, "built"):
        assert not Path(f"/proc/{pid}").exists()


def test_a_killed_driver_takes_nobody_along_and_leaves_nobody_behind(tmp_path):
    out, file = tmp_path / "run", tmp_path / "shown"
    study = study_of({"file": "shown"}, trials=30)
    assert is_killed(lambda: start(out, study, Killed(10)))
    deadline = time.monotonic() + 60
    while not told(file, "end") and time.monotonic() < deadline:
        time.sleep(0.1)
    finished = [event.trial for event in read_events(out) if event.kind == "finished"]
    assert told(file, "trial") == finished
    assert told(file, "end") == [["killed", "", len(finished)]]
    (pid,) = told(file, "built")
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_a_callback_that_is_gone_does_not_keep_a_run_from_going_on(tmp_path):
    out, lines = tmp_path / "run", []
    start(out, study_of({"file": "shown"}))
    (tmp_path / "mine.py").unlink()
    ended = resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    assert ended.state == "done"
    (line,) = lines
    assert "PluginError" in line
    assert "mine.py does not exist" in line


def test_an_error_of_the_run_is_told_and_stays_the_error(tmp_path):
    out, file = tmp_path / "run", tmp_path / "shown"

    class Spoilt(FakeExecutor):
        def wait(self, timeout_s=None):
            if len(self.evaluated) > 5:
                raise ZeroDivisionError("of all things")
            return super().wait(timeout_s)

    with pytest.raises(ZeroDivisionError):
        start(out, study_of({"file": "shown"}), Spoilt())
    ((state, reason, _),) = told(file, "end")
    assert (state, reason) == ("failed", "ZeroDivisionError: of all things")
