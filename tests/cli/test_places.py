"""What to type for more of a run, whatever ended it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evomerge.cli.places import more_of
from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.budgets.stop import Stop
from tests.study.fakes import FakeClock, FakeExecutor, config, without_models

DEADLINE = datetime.fromtimestamp(FakeClock().time() + 600, UTC).isoformat()


@pytest.mark.parametrize(
    "budget",
    [
        {"trials": 6},
        {"items": 300},
        {"hours": 1e-9},
        {"gpu_hours": 1e-9},
        {"money": 1e-9, "price": {"per_worker_hour": 1}},
        {"stagnation": {"trials": 2}},
        {"deadline": DEADLINE},
    ],
    ids=lambda budget: next(iter(budget)),
)
def test_what_it_says_to_type_is_what_resume_takes(tmp_path, monkeypatch, budget):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    clock = FakeClock()
    options = {
        "clock": clock,
        "executor": lambda _: FakeExecutor(clock=clock, tick_s=60, gpus=1),
    }
    ended = start_run(config(budget=budget), tmp_path, out, **options)
    line = more_of(ended.budget, out)
    key, amount = re.fullmatch(rf"evomerge resume {out} --add (\w+)=([\d:]+)", line).groups()
    monkeypatch.setattr(run_module.Search, "run", lambda *_: Stop("enough"))
    resume_run(out, add={key: amount}, **options)
    (added,) = [event for event in read_events(out) if event.kind == "extended"]
    after = added.payload["budget"][key]
    if key == "deadline":
        assert datetime.fromisoformat(after) > datetime.fromisoformat(DEADLINE)
    elif key == "stagnation":
        assert after["trials"] == 2 + int(amount)
    else:
        assert after == pytest.approx(budget[key] + float(amount))


def test_where_no_budget_ended_it_more_budget_is_no_help():
    assert more_of(None, Path("run")) is None
