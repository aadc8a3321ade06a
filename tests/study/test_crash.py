"""Kill -9 at any moment: what was finished is kept, what follows is the same."""

import os
import random
import signal
import time
import traceback

import pytest

from evomerge.errors import RunDirectoryError
from evomerge.journal import Journal, examples, read_events, store
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from tests.study.fakes import FakeExecutor, config, prepared

SCENARIOS = 60
MAX_SESSIONS = 40


def begun(out):
    """Say whether the run has an event."""
    try:
        return bool(read_events(out))
    except RunDirectoryError:
        return False


def session(out, *, capacity=1, seed=0, log=None, handful=1):
    """Start the run, or resume it when it has begun, in this process."""

    def executor(_):
        fake = FakeExecutor(capacity, seed, pause_s=0.002, handful=handful)
        if log is not None:
            fake.evaluated = Appender(log)
        return fake

    if begun(out):
        return resume_run(out, executor=executor)
    return start_run(config(), out.parent, out, executor=executor)


class Appender:
    """Remembers evaluations across killed processes."""

    def __init__(self, path):
        self._path = path

    def append(self, entry):
        with self._path.open("a") as file:
            file.write("/".join(map(str, entry)) + "\n")


def in_child(body):
    """Run `body` in a forked process; returns its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:  # noqa: BLE001 the parent reads the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write_path(countdown):
    """Let the process die at the n-th of the moments around a commit or a rename."""
    left = [countdown]

    def tick():
        left[0] -= 1
        if left[0] <= 0:
            die()

    def around(function):
        def wrapped(*args, **kwargs):
            tick()
            result = function(*args, **kwargs)
            tick()
            return result

        return wrapped

    store.chained = around(store.chained)
    Journal.append = around(Journal.append)
    examples.os.fsync = around(os.fsync)
    examples.sync = around(examples.sync)


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    monkeypatch.setattr(run_module, "prepare", prepared)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(run_module, "prepare", prepared)
    started = time.monotonic()
    assert session(out).state == "done"
    monkeypatch.undo()
    return read_events(out), time.monotonic() - started


def contents(events):
    """All but the opening, which names the folder the run was started in."""
    return [event.content for event in events if event.kind != "opened"]


def test_the_reference_holds_failures_retries_and_scores(reference):
    events, _ = reference
    kinds = {event.kind for event in events}
    assert kinds == {"opened", "asked", "retried", "finished", "scored", "stopped"}
    assert sum(event.kind == "finished" for event in events) == 40


@pytest.mark.parametrize("scenario", range(SCENARIOS))
def test_a_killed_single_worker_run_ends_with_the_same_journal(tmp_path, reference, scenario):
    expected, duration = reference
    rng = random.Random(scenario)
    out = tmp_path / "run"
    kills = 0
    for _ in range(MAX_SESSIONS):
        in_write_path = scenario % 2 == 0
        countdown = rng.randrange(1, 6 * len(expected)) if in_write_path else None

        def body(countdown=countdown):
            if countdown is not None:
                kill_in_write_path(countdown)
            session(out)

        pid = in_child(body)
        if not in_write_path and kills < 4:
            time.sleep(rng.uniform(0, duration))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            continue
        assert os.WEXITSTATUS(status) == 0
        break
    else:
        pytest.fail("the run never ended")
    assert contents(read_events(out)) == contents(expected)


@pytest.mark.parametrize("scenario", range(12))
def test_with_several_workers_nothing_finished_is_lost_or_done_twice(tmp_path, scenario):
    rng = random.Random(1000 + scenario)
    out = tmp_path / "run"
    finished_before: set[str] = set()
    for number in range(MAX_SESSIONS):
        log = tmp_path / f"log-{number}"
        options = {"capacity": 4, "seed": number, "log": log, "handful": 1 + scenario % 3}
        pid = in_child(lambda: session(out, **options))  # noqa: B023
        if number < 4:
            time.sleep(rng.uniform(0.05, 0.8))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        evaluated = [line.split("/") for line in log.read_text().split()] if log.exists() else []
        searched = {job for job, split, _ in evaluated if split == "search"}
        assert not searched & finished_before
        events = read_events(out) if (out / "journal.sqlite").exists() else []
        finished_now = {f"trial-{e.trial:06d}" for e in events if e.kind == "finished"}
        assert finished_before <= finished_now
        finished_before = finished_now
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    else:
        pytest.fail("the run never ended")
    events = read_events(out)
    for kind in ("asked", "finished"):
        assert sorted(e.trial for e in events if e.kind == kind) == list(range(40))
    scored = [(e.payload["name"], e.payload["split"]) for e in events if e.kind == "scored"]
    assert len(scored) == len(set(scored))
