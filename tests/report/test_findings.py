"""What a report says of a run's end, when the run goes on after it."""

from evomerge.report.account import summary
from evomerge.report.findings import findings_of
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from tests.study.fakes import FakeExecutor, Interrupting, config, without_models


def test_a_search_that_was_extended_is_not_over(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    study = config(
        space="tests.study.fakes:plain_space",
        budget={"trials": 12},
        front={"baselines": ["base", "donors"], "size": 4},
    )
    start_run(study, tmp_path, out, executor=lambda _: FakeExecutor())
    over = findings_of(out)
    assert "12 trials" in over.stopped
    assert f"The search is over ({over.stopped})." in " ".join(summary(over))
    resume_run(out, add={"trials": 8}, executor=lambda _: Interrupting(at=3))
    again = findings_of(out)
    assert again.stopped is None
    assert over.stopped not in " ".join(summary(again))
    resume_run(out, executor=lambda _: FakeExecutor())
    assert "20 trials" in findings_of(out).stopped
