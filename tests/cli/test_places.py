"""What to type for more of a run, whatever ended it."""

import re
from pathlib import Path

import pytest

from evomerge.cli.places import more_of
from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.budgets.stop import Stop
from tests.study.fakes import FakeExecutor, config, without_models


@pytest.mark.parametrize("budget", [{"trials": 6}, {"items": 300}, {"hours": 1e-9}])
def test_what_it_says_to_type_is_what_resume_takes(tmp_path, monkeypatch, budget):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    study = config(budget=budget)
    ended = start_run(study, tmp_path, out, executor=lambda _: FakeExecutor())
    line = more_of(ended.budget, out)
    key, amount = re.fullmatch(rf"evomerge resume {out} --add (\w+)=(\d+)", line).groups()
    monkeypatch.setattr(run_module.Search, "run", lambda *_: Stop("enough"))
    resume_run(out, add={key: float(amount)}, executor=lambda _: FakeExecutor())
    (added,) = [event for event in read_events(out) if event.kind == "extended"]
    assert added.payload["budget"][key] == pytest.approx(budget[key] + float(amount))


def test_where_no_budget_ended_it_more_budget_is_no_help():
    assert more_of(None, Path("run")) is None
