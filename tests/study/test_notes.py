"""What an optimizer says of its search is recorded once, shown, and the same after a resume."""

import pytest

from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from tests.study.fakes import FakeExecutor, Interrupting, config, prepared


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    monkeypatch.setattr(run_module, "prepare", prepared)


SEARCH = {"optimizer": "map", "design_size": 20, "batch": 6, "generations": 2}


def start(out, executor, observe=lambda _: None, **changes):
    study = config(search=SEARCH, **changes)
    return start_run(study, out.parent, out, observe=observe, executor=lambda _: executor)


def noted(out):
    return [e.payload["text"] for e in read_events(out) if e.kind == "noted"]


def test_notes_follow_the_result_they_come_from(tmp_path):
    seen = []
    start(tmp_path / "run", FakeExecutor(), lambda step: step.note and seen.append(step.note))
    notes = noted(tmp_path / "run")
    assert notes
    assert seen == notes
    events = [e for e in read_events(tmp_path / "run") if e.kind in ("finished", "noted")]
    first = next(k for k, event in enumerate(events) if event.kind == "noted")
    assert first == 20  # after the last result of the design
    assert "coefficients from 18 points" in notes[0]  # two of the design mean nothing


@pytest.mark.parametrize("at", [3, 19, 20, 21, 33])
def test_an_interrupted_run_has_the_same_notes(tmp_path, at):
    start(tmp_path / "whole", FakeExecutor())
    start(tmp_path / "run", Interrupting(at))
    resume_run(tmp_path / "run", executor=lambda _: FakeExecutor())

    def content(out):
        return [e.content for e in read_events(out) if e.kind != "opened"]

    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_a_run_without_anything_to_say_says_nothing(tmp_path):
    start_run(config(), tmp_path, tmp_path / "run", executor=lambda _: FakeExecutor())
    assert noted(tmp_path / "run") == []
