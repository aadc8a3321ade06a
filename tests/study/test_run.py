"""Sessions of a run: interruptions, budgets that grow, nights in which nothing works."""

import signal
import sys

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from evomerge.errors import EvomergeError, ReplayMismatch, UserError
from evomerge.journal import read_events, read_sessions
from evomerge.optimizers.random import RandomSearch
from evomerge.study import one_thread, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.types import Failed
from evomerge.workers import JobResult
from tests.study.fakes import FakeExecutor, Interrupting, PlainSpace, config, prepared


class Broken(FakeExecutor):
    """Fails everything from the n-th evaluation on."""

    def __init__(self, at, **options):
        super().__init__(**options)
        self._at = at

    def wait(self, timeout_s=None):
        results = super().wait(timeout_s)
        if len(self.evaluated) < self._at:
            return results
        failure = Failed("error", "CUDA error: an illegal memory access was encountered")
        return [JobResult(result.job, failure) for result in results]


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    monkeypatch.setattr(run_module, "prepare", prepared)


def start(out, executor, **changes):
    return start_run(config(**changes), out.parent, out, executor=lambda _: executor)


def resume(out, executor=None, **add):
    return resume_run(out, add=add, executor=lambda _: executor or FakeExecutor())


def searched(out):
    return [e.content for e in read_events(out) if e.kind in {"asked", "retried", "finished"}]


def finished(out):
    return sorted(e.trial for e in read_events(out) if e.kind == "finished")


@pytest.mark.parametrize("at", [1, 5, 20, 43, 46])
@pytest.mark.parametrize("capacity", [1, 3])
def test_one_interrupt_drains_and_resume_completes(tmp_path, at, capacity):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert start(whole, FakeExecutor()).state == "done"
    ended = start(run, Interrupting(at, capacity=capacity))
    assert (ended.state, ended.reason) == ("interrupted", "interrupted by SIGINT")
    assert read_sessions(run)[-1].ended_because == "interrupted by SIGINT"
    asked = sum(e.kind == "asked" for e in read_events(run))
    retried = {e.trial for e in read_events(run) if e.kind == "retried"}
    assert set(range(asked)) - set(finished(run)) <= retried
    assert resume(run).state == "done"
    assert finished(run) == list(range(40))
    if capacity == 1:
        assert searched(run) == searched(whole)


def test_two_interrupts_stop_at_once_and_nothing_finished_is_lost(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(run, Interrupting(20, times=2))
    before = finished(run)
    assert resume(run).state == "done"
    assert finished(run)[: len(before)] == before


def test_signals_work_as_before_when_the_run_is_over(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    start(tmp_path / "run", FakeExecutor())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_added_budget_outlives_the_session_it_was_added_in(tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    start(run, FakeExecutor())
    with pytest.raises(KeyboardInterrupt):
        resume(run, Interrupting(9, times=2), trials=20)
    assert resume(run).state == "done"
    assert finished(run) == list(range(60))
    start(whole, FakeExecutor(), budget={"trials": 60})
    assert searched(run) == searched(whole)


def test_a_run_that_is_over_stays_so_whatever_is_refused(tmp_path, monkeypatch):
    out = tmp_path / "run"
    executors = {"executor": lambda _: FakeExecutor()}
    start_run(config(budget={"trials": 6, "hours": 9}), tmp_path, out, **executors)
    with pytest.raises(UserError, match="positive"):
        resume_run(out, add={"hours": "x"}, **executors)
    assert read_sessions(out)[-1].ended_because == "done"
    told = []
    ended = resume_run(out, add={"hours": 4}, warn=told.append, **executors)
    assert ended.state == "done"
    assert told == [f"{out} is over all the same (budget: 6 trials); add to what ended it"]
    monkeypatch.setattr(run_module, "prepare", fails)
    with pytest.raises(UserError, match="a donor is gone"):
        resume_run(out, **executors)
    assert [one.ended_because for one in read_sessions(out)] == ["done"] * 4


def fails(*_args, **_options):
    raise UserError("a donor is gone")


def test_hours_stop_the_search_and_more_hours_continue_it(tmp_path):
    run = tmp_path / "run"
    changes = {"search": {"optimizer": "random"}, "budget": {"hours": 0.2 / 3600}}
    ended = start(run, FakeExecutor(pause_s=0.02), **changes)
    assert ended.reason.endswith("hours")
    first = len(finished(run))
    assert first > 0
    resume(run)
    assert len(finished(run)) == first
    resume(run, FakeExecutor(pause_s=0.02), hours=0.2 / 3600)
    assert len(finished(run)) > first
    with pytest.raises(UserError, match="no budget of that kind, only hours"):
        resume(run, trials=5)


def test_a_night_in_which_nothing_works_any_more_is_stopped(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(EvomergeError, match=r"25 trials failed in a row.*illegal memory access"):
        start(run, Broken(10), budget={"trials": 400})
    assert len(finished(run)) < 60
    assert resume(run).state == "done"
    assert finished(run) == list(range(400))


def test_another_sequence_of_proposals_is_a_mismatch(tmp_path, monkeypatch):
    run = tmp_path / "run"
    start(run, FakeExecutor())

    def changed(study, folder):
        study = study.model_copy(update={"seed": 99})
        return prepared(study, folder)

    monkeypatch.setattr(run_module, "prepare", changed)
    with pytest.raises(ReplayMismatch, match="changed versions: none"):
        resume(run, trials=1)


def test_what_a_space_refuses_or_cannot_compute_is_a_failed_trial(tmp_path, monkeypatch):
    run = tmp_path / "run"
    decode = PlainSpace.decode

    def sometimes(self, genotype):
        if genotype[0] > 0.8 and genotype != (1.0, 0.0):
            raise ValueError("a corner this space forgot")
        return decode(self, genotype)

    monkeypatch.setattr(PlainSpace, "decode", sometimes)
    assert start(run, FakeExecutor()).state == "done"
    messages = [e.payload.get("message") for e in read_events(run) if e.kind == "finished"]
    assert "a corner this space forgot" in messages
    assert finished(run) == list(range(40))


def test_no_recipe_is_paid_for_twice(tmp_path):
    executor = FakeExecutor()
    start(tmp_path / "run", executor)
    names = [(job, split) for job, split, attempt in executor.evaluated if attempt == 0]
    assert len(names) == len(set(names))
    # base, both donors and the uniform merge were the search's first trials
    assert [job for job, split in names if split == "search" and not job.startswith("trial")] == [
        "rehearsal",
        "lambda=0.3",
    ]
    scored = [e.payload for e in read_events(tmp_path / "run") if e.kind == "scored"]
    found = {(event["name"], event["split"]) for event in scored}
    assert {("base", "search"), ("donor:a", "search"), ("lambda=0.5", "search")} <= found


def threads_now():
    found = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
    return found | {torch.get_num_threads()}


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_an_optimizer_computes_on_one_thread_whatever_the_machine_has(tmp_path, monkeypatch):
    seen = []
    for name in ("ask", "tell"):
        own = getattr(RandomSearch, name)

        def watched(*args, own=own):
            seen.append(threads_now())
            return own(*args)

        monkeypatch.setattr(RandomSearch, name, watched)
    assert start(tmp_path / "run", FakeExecutor(), search={"optimizer": "random"}).state == "done"
    assert threads_now() == {2}
    assert len(seen) >= 80
    assert set.union(*seen) == {1}


def test_libraries_that_are_loaded_on_the_way_are_limited_too(monkeypatch):
    found = []
    own = one_thread.ThreadpoolController
    monkeypatch.setattr(
        one_thread, "ThreadpoolController", lambda: found.append(own()) or found[-1]
    )
    limited = one_thread.OneThread()
    for _ in range(3):
        with limited():
            pass
    before = len(found)
    monkeypatch.setitem(sys.modules, "a_module_that_brings_a_library", sys)
    for _ in range(3):
        with limited():
            pass
    assert (before, len(found)) == (2, 3)
