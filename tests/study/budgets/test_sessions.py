"""Budgets over the sessions of a run, by a clock that goes as it is told to; killed and resumed."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from evomerge.errors import ConfigError, JournalError, UserError
from evomerge.journal import read_events, read_sessions
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.budgets.meter import spent_in
from evomerge.study.seen import SeenRun
from tests.study.fakes import FakeClock, FakeExecutor, config, staged_config, without_models
from tests.study.test_crash import in_child

DAY_S = 86400.0
TICK_S = 360.0
"""A tenth of an hour: what one evaluation takes."""

RANDOM = {"search": {"optimizer": "random"}, "front": {"baselines": ["base"], "size": 2}}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


class Killed(FakeExecutor):
    """Ends its process by SIGKILL in the middle of the n-th evaluation."""

    def __init__(self, at, **options):
        super().__init__(**options)
        self._at = at

    def wait(self, timeout_s=None):
        if self._jobs and len(self.evaluated) + 1 == self._at:
            self._clock.pass_by(TICK_S)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().wait(timeout_s)


class Charging(FakeExecutor):
    """Evaluations whose fitness charges something, failed ones too."""

    def wait(self, timeout_s=None):
        return [replace(result, cost=0.25) for result in super().wait(timeout_s)]


def start(out, budget, make=FakeExecutor, clock=None, study=None, **options):
    clock = clock or FakeClock()
    study = study or config(**RANDOM, budget=budget)

    def executor(_):
        return make(clock=clock, tick_s=TICK_S, **options)

    return start_run(study, out.parent, out, executor=executor, clock=clock)


def resume(out, make=FakeExecutor, clock=None, add=None, **options):
    clock = clock or FakeClock()

    def executor(_):
        return make(clock=clock, tick_s=TICK_S, **options)

    return resume_run(out, add=add, executor=executor, clock=clock)


def is_killed(body):
    """Run `body` in a process of its own; says whether that was killed."""
    _, status = os.waitpid(in_child(body), 0)
    return os.WIFSIGNALED(status)


def evaluated(out):
    """Count the evaluations of the search, those included that failed and were tried again."""
    return sum(
        event.kind in {"retried", "finished"} and "score_s" in event.timing
        for event in read_events(out)
    )


def stops(out):
    return [event.payload for event in read_events(out) if event.kind == "stopped"]


def searched(out):
    return [
        event.content
        for event in read_events(out)
        if event.kind in {"asked", "retried", "finished"}
    ]


@pytest.mark.parametrize(
    ("budget", "options", "n_first", "reason"),
    [
        # 20 evaluations of a tenth of an hour, the rehearsal being one of them
        ({"hours": 2}, {}, 19, "budget: 2 hours"),
        # two GPUs, which one worker holds
        ({"gpu_hours": 4}, {"gpus": 2}, 19, "budget: 4 GPU-hours"),
        # one worker at 3 and one GPU at 2 an hour: half a unit an evaluation
        (
            {"money": 10, "price": {"per_worker_hour": 3, "per_gpu_hour": 2}},
            {"gpus": 1},
            19,
            "budget: 10 spent",
        ),
        # what fitnesses charge: a quarter each, that of the rehearsal left out
        ({"money": 3, "price": {}}, {"make": Charging}, 12, "budget: 3 spent"),
    ],
)
def test_a_run_ends_when_its_time_is_used_up_and_more_continues_it(
    tmp_path, budget, options, n_first, reason
):
    out = tmp_path / "run"
    kind = next(iter(budget))
    ended = start(out, budget, **options)
    assert (ended.state, ended.reason, ended.budget) == ("done", reason, kind)
    assert evaluated(out) == n_first
    assert stops(out) == [{"reason": reason, "budget": kind}]
    before = searched(out)
    assert resume(out, **options).reason == reason  # nothing more was given
    assert searched(out) == before
    amount = budget[kind] / 2
    assert resume(out, add={kind: amount}, **options).budget == kind
    assert evaluated(out) > n_first
    assert searched(out)[: len(before)] == before
    assert stops(out)[-1]["reason"] == reason.replace(
        f"{budget[kind]}", f"{budget[kind] + amount:g}"
    )


@pytest.mark.parametrize(
    ("budget", "options"),
    [
        ({"hours": 2}, {}),
        ({"gpu_hours": 4}, {"gpus": 2}),
        ({"money": 6, "price": {"per_worker_hour": 3}}, {}),
    ],
)
def test_killed_and_resumed_the_sum_goes_on_and_the_night_between_does_not_count(
    tmp_path, budget, options
):
    out = tmp_path / "run"
    assert is_killed(lambda: start(out, budget, make=Killed, at=8, **options))
    # the rehearsal and six others; the one that was killed is lost, its time too
    assert evaluated(out) == 6
    later = FakeClock(FakeClock().time() + DAY_S)
    assert is_killed(lambda: resume(out, make=Killed, clock=later, at=5, **options))
    assert evaluated(out) == 10
    assert resume(out, clock=FakeClock(later.time() + DAY_S), **options).budget in budget
    assert evaluated(out) == 19
    sessions = read_sessions(out)
    assert [round(one.usage["search_s"] / TICK_S) for one in sessions] == [7, 4, 9]
    # scoring the front and the base holds workers on, and is no searching
    assert sessions[-1].usage["worker_s"] > sessions[-1].usage["search_s"]
    assert spent_in(sessions, read_events(out)).search_s == 20 * TICK_S


def test_two_workers_hold_twice_as_much(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    start(one, {"gpu_hours": 4}, gpus=1)
    start(two, {"gpu_hours": 4}, gpus=2, capacity=2)
    # evaluations follow one another here, so that two workers get half as far
    assert evaluated(one) == 39
    assert evaluated(two) == 19 + 1  # what was in flight is finished


def test_a_deadline_is_fixed_when_the_run_starts_and_holds_the_day_after(tmp_path):
    out = tmp_path / "run"
    clock = FakeClock()
    now = datetime.fromtimestamp(clock.time(), UTC)
    written = datetime.fromtimestamp(clock.time() + 3600).strftime("%H:%M")
    assert is_killed(lambda: start(out, {"deadline": written}, make=Killed, at=5))
    recorded = read_events(out)[0].payload["study"]["budget"]["deadline"]
    deadline = datetime.fromisoformat(recorded)
    assert deadline.tzinfo is not None
    until = deadline.astimezone().strftime("%Y-%m-%d %H:%M %Z")
    assert 3540 <= (deadline - now).total_seconds() <= 3600
    assert evaluated(out) == 3
    # it is resumed when that is over: what was in flight is all that is left to do
    ended = resume(out, clock=FakeClock(clock.time() + DAY_S))
    assert (ended.reason, evaluated(out)) == (f"budget: deadline {until}", 4)
    again = datetime.fromtimestamp(clock.time() + DAY_S + 3600, UTC).isoformat()
    ended = resume(out, clock=FakeClock(clock.time() + DAY_S), add={"deadline": again})
    assert ended.budget == "deadline"
    assert evaluated(out) == 14  # an hour of evaluations


def test_a_recorded_stop_does_not_depend_on_what_clocks_say_later(tmp_path):
    out = tmp_path / "run"
    clock = FakeClock()
    deadline = datetime.fromtimestamp(clock.time() + 3600, UTC).isoformat()
    start(out, {"deadline": deadline}, clock=clock)
    before = searched(out)
    for moment in (clock.time() - DAY_S, clock.time() + 400 * DAY_S):
        assert resume(out, clock=FakeClock(moment)).budget == "deadline"
    assert searched(out) == before
    assert len(stops(out)) == 1


def test_a_deadline_that_is_over_is_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"^budget\.deadline: 2020-01-01T00:00Z is over"):
        start(out, {"deadline": "2020-01-01T00:00Z"})
    assert not out.exists()


@pytest.mark.parametrize(
    "budget",
    [{"gpu_hours": 1}, {"trials": 3, "money": 1, "price": {"per_gpu_hour": 2}}],
)
def test_gpu_hours_without_a_gpu_are_refused(tmp_path, budget):
    with pytest.raises(ConfigError, match="no worker holds a GPU"):
        start(tmp_path / "run", budget)
    assert not (tmp_path / "run").exists()


def volumes_of(out):
    """The area above base and donors after each finished trial, worked out from the journal."""
    events = read_events(out)
    origins = {event.trial: event.payload["origin"] for event in events if event.kind == "asked"}
    found, points, known = [], [], {}
    for event in events:
        if event.kind != "finished":
            continue
        metrics = event.payload.get("metrics")
        if metrics is not None:
            points.append((metrics["one"], metrics["two"]))
            known[origins[event.trial].removeprefix("seed:")] = points[-1]
        found.append(list(points))
    base, donors = known["base"], (known["a"], known["b"])
    ideal = max(one for one, _ in donors), min(two for _, two in donors)
    spans = [best - low for best, low in zip(ideal, base, strict=True)]
    # a donor that is not better than the base would change the scale
    assert spans[0] > 0 > spans[1]

    def area(points):
        total, height = 0.0, -0.1
        for one, two in sorted(points, reverse=True):
            x, y = (one - base[0]) / spans[0], (two - base[1]) / spans[1]
            if x > -0.1 and y > height:
                total += (x + 0.1) * (y - height)
                height = y
        return total

    return [area(points) for points in found]


@pytest.mark.parametrize(
    "search", [{"optimizer": "random"}, {"optimizer": "nsga2", "population": 8}]
)
def test_stagnation_stops_where_the_journal_says_and_a_kill_changes_nothing(tmp_path, search):
    study = config(
        search=search,
        budget={"trials": 400, "stagnation": {"trials": 12, "min_gain": 0.02}},
        front=RANDOM["front"],
    )
    whole = tmp_path / "whole"
    ended = start(whole, None, study=study)
    assert ended.budget == "stagnation"
    assert ended.reason == "budget: 12 trials without a gain above 0.02"
    volumes = volumes_of(whole)
    n_known = 3  # base and donors come first
    stopping = [
        end + 1
        for end in range(n_known - 1 + 12, len(volumes))
        if volumes[end] - volumes[end - 12] <= 0.02
    ]
    assert stopping == [len(volumes)]
    for at in (4, len(volumes) // 2, len(volumes)):
        out = tmp_path / f"run-{at}"
        body = lambda at=at, out=out: start(out, None, make=Killed, study=study, at=at + 1)  # noqa: E731
        assert is_killed(body)
        assert resume(out).budget == "stagnation"
        assert searched(out) == searched(whole)
        assert stops(out) == stops(whole)
    ended = resume(whole, add={"stagnation": 30})
    assert len(volumes_of(whole)) >= len(volumes) + 30
    assert ended.reason.startswith("budget: 42 trials without a gain")


def test_stagnation_ends_a_stage_and_the_next_one_begins(tmp_path):
    out = tmp_path / "run"
    stages = [
        {**stage, "trials": 200}
        for stage in staged_config().model_dump(mode="json", exclude_none=True)["stages"]
    ]
    study = staged_config(*stages, budget={"stagnation": {"trials": 9, "min_gain": 0.05}})
    assert start(out, None, study=study).budget == "stagnation"
    events = read_events(out)
    begun = [event.payload["stage"] for event in events if event.kind == "staged"]
    assert begun == ["parameters", "layers", "again"]
    ends = [event.payload.get("ended") for event in events if event.kind == "staged"]
    reason = {"reason": "budget: 9 trials without a gain above 0.05", "budget": "stagnation"}
    assert ends == [None, reason, reason]
    counts = [0]
    for event in events:
        if event.kind == "staged":
            counts.append(0)
        counts[-1] += event.kind == "finished"
    assert all(9 <= count < 200 for count in counts[1:])
    whole = tmp_path / "whole"
    body = lambda: start(whole, None, make=Killed, study=study, at=counts[1] + 5)  # noqa: E731
    assert is_killed(body)
    resume(whole)
    assert searched(whole) == searched(out)


def test_several_kinds_are_extended_at_once_and_whichever_comes_first_stops(tmp_path):
    out = tmp_path / "run"
    assert start(out, {"trials": 10, "hours": 1.5}).budget == "trials"
    assert resume(out, add={"trials": 100, "hours": 0.5}).budget == "hours"
    (extension,) = [event.payload for event in read_events(out) if event.kind == "extended"]
    assert extension == {"budget": {"trials": 110, "items": None, "hours": 2.0}}
    # more trials are no help without more hours, and no worker is started to find that out
    assert resume_run(out, add={"trials": 5}, executor=None, clock=FakeClock()).budget == "hours"
    with pytest.raises(UserError, match="no budget of that kind, only trials, hours"):
        resume(out, add={"gpu_hours": 4})
    assert sum(event.kind == "extended" for event in read_events(out)) == 2


def test_what_readers_see_is_what_the_search_counted(tmp_path):
    out = tmp_path / "run"
    steps = []
    clock = FakeClock()
    budget = {
        "trials": 30,
        "items": 100_000,
        "hours": 50,
        "gpu_hours": 90,
        "money": 1000,
        "price": {"per_gpu_hour": 2},
        "stagnation": {"items": 9000},
    }
    start_run(
        config(**RANDOM, budget=budget),
        tmp_path,
        out,
        executor=lambda _: Charging(clock=clock, tick_s=TICK_S, gpus=1),
        clock=clock,
        observe=steps.append,
    )
    shown = [step.gauges for step in steps if step.phase == "search"][-1]
    events, sessions = read_events(out), read_sessions(out)
    run = SeenRun.of(events)
    read = {one.kind: one for one in run.gauges(spent_in(sessions, events), clock.time())}
    assert [one.kind for one in shown] == list(read)
    for gauge in shown:
        if gauge.kind in ("trials", "items", "stagnation", "hours"):
            assert (gauge.used, gauge.limit) == (read[gauge.kind].used, read[gauge.kind].limit)
    # in the meantime the front was scored
    assert read["gpu_hours"].used > read["hours"].used
    assert read["money"].used == pytest.approx(2 * read["gpu_hours"].used + run.cost)
    assert run.items == sum(event.timing.get("items", 0) for event in events) > 0


def test_a_journal_of_another_version_is_one_line(tmp_path):
    out = tmp_path / "run"
    start(out, {"trials": 3})
    opening = read_events(out)[0]
    payload = {**opening.payload, "study": {**opening.payload["study"], "budgets": 3}}
    with pytest.raises(JournalError, match="none that this evomerge knows"):
        SeenRun(replace(opening, payload=payload))
