"""What a callback is told, against the journal."""

import numpy as np
import pytest

from evomerge.journal import read_events
from evomerge.pareto import non_dominated
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.following.telling import Told
from evomerge.types import Completed
from tests.study.fakes import FakeExecutor, config, staged_config, without_models
from tests.study.rungs.test_run import RUNGS, bounded
from tests.study.rungs.test_run import start as start_rungs


class Listening:
    """Keeps what it is told."""

    def __init__(self):
        self.begun, self.trials, self.ended = [], [], []

    def begin(self, run):
        self.begun.append(run)

    def trial(self, trial):
        self.trials.append(trial)

    def end(self, end):
        self.ended.append(end)


def heard(out, events=None, after=0):
    listening = Listening()
    told = Told(listening, out, after)
    told.tell(read_events(out) if events is None else events)
    return listening, told


@pytest.fixture
def run(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    study = config(search={"optimizer": "random"}, budget={"trials": 30})
    start_run(study, tmp_path, out, executor=lambda _: FakeExecutor(3, 1))
    return out


def test_every_finished_trial_once_with_how_the_search_stands(run):
    listening, told = heard(run)
    events = read_events(run)
    finished = [event for event in events if event.kind == "finished"]
    assert [one.number for one in listening.trials] == [event.trial for event in finished]
    assert [one.count for one in listening.trials] == list(range(1, 31))
    assert told.seq == events[-1].seq
    genotypes = {
        event.trial: event.payload["genotype"] for event in events if event.kind == "asked"
    }
    costs, failed = [], 0
    for event, trial in zip(finished, listening.trials, strict=True):
        metrics = event.payload.get("metrics")
        failed += metrics is None
        if metrics is not None:
            costs.append([-metrics["one"], metrics["two"]])
            best = np.min(costs, axis=0)
            assert trial.best == {"one": -best[0], "two": best[1]}
            assert trial.front == len(non_dominated(np.array(costs), dedupe=True))
        assert trial.failed == failed
        assert trial.metrics == (metrics or {})
        assert trial.state == ("failed" if metrics is None else "completed")
        assert bool(trial.failure) == (metrics is None)
        names = ("weight[a]", "weight[b]")
        assert trial.genes == dict(zip(names, genotypes[trial.number], strict=True))
        assert trial.at == event.at
    (begun,) = listening.begun
    assert (begun.name, begun.resumed, begun.folder) == ("fake", False, run)
    assert begun.study == events[0].payload["study"]


def test_in_pieces_it_is_the_same_and_an_earlier_session_is_not_told_again(run):
    whole, _ = heard(run)
    events = read_events(run)
    listening = Listening()
    told = Told(listening, run, 0)
    for event in events:
        told.tell([event])
    assert listening.trials == whole.trials
    middle = events[len(events) // 2].seq
    first, _ = heard(run, events[:middle])
    later, _ = heard(run, events, after=middle)
    assert first.trials + later.trials == whole.trials
    assert (first.begun[0].id, later.begun[0].resumed) == (later.begun[0].id, True)
    told.end("done", "enough")
    (end,) = listening.ended
    assert (end.state, end.reason, end.finished) == ("done", "enough", 30)
    assert end.best == whole.trials[-1].best


def test_two_runs_of_a_study_have_ids_of_their_own(tmp_path, run):
    other = tmp_path / "other"
    start_run(config(), tmp_path, other, executor=lambda _: FakeExecutor())
    assert heard(other)[0].begun[0].id != heard(run)[0].begun[0].id
    before = heard(other)[0].begun[0].id
    resume_run(other, add={"trials": 1}, executor=lambda _: FakeExecutor())
    assert heard(other)[0].begun[0].id == before


def test_estimates_are_told_apart(tmp_path, monkeypatch):
    bounded(monkeypatch)
    out = tmp_path / "run"
    start_rungs(out, **RUNGS)
    trials = heard(out)[0].trials
    payloads = {e.trial: e.payload for e in read_events(out) if e.kind == "finished"}
    estimated = {one.number for one in trials if one.state == "estimated"}
    assert estimated == {number for number, one in payloads.items() if one.get("errors")}
    assert estimated
    for one in trials:
        if one.state == "estimated":
            assert f"estimate/{'one'}" in one.numbers
            assert one.rung in (0, 1)


def test_stages_have_their_labels_and_the_names_of_their_genes(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    start_run(staged_config(), tmp_path, out, executor=lambda _: FakeExecutor())
    trials = heard(out)[0].trials
    assert list(dict.fromkeys(one.stage for one in trials)) == ["parameters", "layers", "again"]
    genes = {one.stage: list(one.genes) for one in trials}
    assert genes["parameters"] == ["weight[a]", "weight[b]"]
    assert genes["layers"] != genes["parameters"]
    assert all(genes.values())


@pytest.mark.parametrize("method", ["begin", "trial", "end"])
def test_each_method_may_be_left_out(run, method):
    class Silent:
        heard = 0

    def count(self, said):
        self.heard += 1

    setattr(Silent, method, count)
    one = Silent()
    told = Told(one, run, 0)
    told.tell(read_events(run))
    told.end("done", "")
    assert one.heard == {"begin": 1, "trial": 30, "end": 1}[method]
    Told(Silent(), run, 0).end("killed", "")  # it was never told of a beginning


def test_the_outcome_of_a_trial_is_what_was_recorded(run):
    from evomerge.study.seen import SeenRun  # noqa: PLC0415

    seen = SeenRun.of(read_events(run))
    assert seen.n_finished == len(seen.trials) == 30
    assert all(
        isinstance(one.outcome, Completed) == (one.state == "completed")
        for one in seen.trials.values()
    )
