"""Optuna studies derived from a journal, against the journal itself."""

from collections import Counter
from datetime import datetime

import optuna
import pytest
from optuna.trial import TrialState

from evomerge.dashboard import DerivedStudies
from evomerge.dashboard.trials import intermediate_of
from evomerge.errors import CheckpointError, RunDirectoryError
from evomerge.journal import Journal, read_events
from evomerge.recipe import fingerprint
from evomerge.study import outline, start_run
from evomerge.study import run as run_module
from evomerge.study.seen import SeenTrial
from evomerge.types import Objective
from tests.study.fakes import (
    FakeExecutor,
    Interrupting,
    PlainSpace,
    config,
    staged_config,
    without_models,
)
from tests.study.rungs.test_run import RUNGS, bounded
from tests.study.rungs.test_run import start as start_rungs


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def started(out, executor=None, **changes):
    made = executor or FakeExecutor()
    space = "tests.study.fakes:plain_space"
    study = changes.pop("study", None) or config(**{"space": space, **changes})
    start_run(study, out.parent, out, executor=lambda _: made)
    return out


def studies(derived):
    return {one.study_name: one for one in derived.storage.get_all_studies()}


def trials(derived, name="fake"):
    return derived.storage.get_all_trials(studies(derived)[name]._study_id)


def by_trial(out, kind):
    return {event.trial: event for event in read_events(out) if event.kind == kind}


def test_every_trial_is_there_with_parameters_values_times_and_recipe(tmp_path):
    out = started(tmp_path / "run")
    derived = DerivedStudies(out)
    found = trials(derived)
    asked, finished = by_trial(out, "asked"), by_trial(out, "finished")
    assert [one.number for one in found] == sorted(asked)
    for one in found:
        genotype = asked[one.number].payload["genotype"]
        payload = finished[one.number].payload
        assert list(one.params.values()) == genotype
        assert one.user_attrs["trial"] == one.number
        assert one.user_attrs["origin"] == asked[one.number].payload["origin"]
        assert one.datetime_start == datetime.fromtimestamp(asked[one.number].at)
        assert one.datetime_complete == datetime.fromtimestamp(finished[one.number].at)
        if "metrics" in payload:
            assert one.state == TrialState.COMPLETE
            assert one.values == [payload["metrics"]["one"], payload["metrics"]["two"]]
        else:
            assert one.state == TrialState.FAIL
            assert payload["message"] in one.user_attrs["failure"]
        if payload.get("failed") != "invalid":
            recipe = PlainSpace().decode(tuple(genotype))
            assert one.user_attrs["fingerprint"] == fingerprint(recipe)
    states = Counter(one.state for one in found)
    assert states[TrialState.FAIL] > 0 < states[TrialState.COMPLETE]
    study = optuna.load_study(study_name="fake", storage=derived.storage)
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["one", "two"]
    assert {one.number for one in study.best_trials} <= set(finished)


def test_while_it_runs_it_comes_to_the_same_as_afterwards(tmp_path):
    out = tmp_path / "run"
    live = []

    class Watched(FakeExecutor):
        def wait(self, timeout_s=None):
            if (out / "journal.sqlite").exists() and len(self.evaluated) % 3 == 0:
                if not live:
                    live.append(DerivedStudies(out))
                live[0].refresh()
                states = Counter(one.state for one in trials(live[0])) if studies(live[0]) else {}
                running = set(by_trial(out, "asked")) - set(by_trial(out, "finished"))
                assert states.get(TrialState.RUNNING, 0) == len(running)
            return super().wait(timeout_s)

    started(out, Watched(3, 1))
    (derived,) = live
    assert derived.refresh() > 0
    assert derived.refresh() == 0

    def told(found):
        return [(one.number, one.state, one.values, one.params, one.user_attrs) for one in found]

    assert told(trials(derived)) == told(trials(DerivedStudies(out)))


def test_an_interrupted_run_is_only_read(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        started(out, Interrupting(9, times=2, capacity=3))
    before = (out / "journal.sqlite").read_bytes()
    derived = DerivedStudies(out)
    derived.refresh()
    assert (out / "journal.sqlite").read_bytes() == before
    running = [one.number for one in trials(derived) if one.state == TrialState.RUNNING]
    assert set(running) == set(by_trial(out, "asked")) - set(by_trial(out, "finished"))


OPERATORS = {
    "operators": {
        "task_arithmetic": {"parameters": {"normalize": False}},
        "ties": {
            "parameters": {"normalize": False},
            "genes": {"density": {"range": [0.1, 1.0], "initial": 0.5}},
        },
    },
    "genes": {"weight": {"range": [0.0, 1.5], "initial": "uniform"}},
}


def test_a_gene_without_effect_is_no_parameter(tmp_path):
    out = started(tmp_path / "run", space=OPERATORS)
    found = trials(DerivedStudies(out))
    dense = {bool([name for name in one.params if "density" in name]) for one in found}
    assert dense == {True, False}
    for one in found:
        is_ties = "ties" in map(str, one.params.values())
        assert is_ties == any("density" in name for name in one.params)
        assert set(one.distributions) == set(one.params)


def test_estimates_are_pruned_marked_and_have_no_value(tmp_path, monkeypatch):
    bounded(monkeypatch)
    out = tmp_path / "run"
    start_rungs(out, **RUNGS)
    finished = by_trial(out, "finished")
    found = trials(DerivedStudies(out))
    estimated = [one for one in found if finished[one.number].payload.get("errors")]
    assert estimated
    for one in estimated:
        payload = finished[one.number].payload
        assert (one.state, one.values) == (TrialState.PRUNED, None)
        assert one.user_attrs["estimated"] is True
        assert one.user_attrs["estimate: one"] == payload["metrics"]["one"]
        assert one.user_attrs["standard error: one"] == payload["errors"]["one"]
        assert one.user_attrs["rung"] in (0, 1)
    complete = [one.number for one in found if one.state == TrialState.COMPLETE]
    measured = [
        n for n, e in finished.items() if "metrics" in e.payload and not e.payload.get("errors")
    ]
    assert sorted(complete) == sorted(measured)


def test_scores_on_batches_compare_with_none_and_those_on_validation_items_do(tmp_path):
    study = config(
        space="tests.study.fakes:plain_space",
        search={"optimizer": "random"},
        batches={"items": 10, "trials": 6, "keep": 2},
        objectives={
            name: {"fitness": "fake", "search": "s", "holdout": "h", "validation": 5, "goal": goal}
            for name, goal in (("one", "maximize"), ("two", "minimize"))
        },
    )
    out = started(tmp_path / "run", study=study)
    derived = DerivedStudies(out)
    assert set(studies(derived)) == {"fake", "fake, validation"}
    asked, finished = by_trial(out, "asked"), by_trial(out, "finished")
    batched = {number for number, event in asked.items() if event.payload["batch"] is not None}
    for one in trials(derived):
        if one.number in batched and "metrics" in finished[one.number].payload:
            assert one.state == TrialState.PRUNED
            assert one.user_attrs["batch"] == asked[one.number].payload["batch"]
    validated = by_trial(out, "validated")
    known = {n for n in asked if n not in batched and "metrics" in finished[n].payload}
    second = trials(derived, "fake, validation")
    complete = {one.user_attrs["trial"]: one.values for one in second}
    assert set(complete) == known | set(validated)
    for number, event in validated.items():
        assert complete[number] == [
            event.payload["metrics"]["one"],
            event.payload["metrics"]["two"],
        ]


def test_each_stage_is_a_study(tmp_path):
    out = started(tmp_path / "run", study=staged_config())
    derived = DerivedStudies(out)
    assert list(studies(derived)) == ["fake, parameters", "fake, layers", "fake, again"]
    counts = [len(trials(derived, name)) for name in studies(derived)]
    assert counts == [14, 12, 10]
    numbers = [
        one.user_attrs["trial"] for name in studies(derived) for one in trials(derived, name)
    ]
    assert numbers == list(range(36))
    assert {one.user_attrs["stage"] for one in trials(derived, "fake, layers")} == {"layers"}


def test_intermediate_values_are_means_over_all_items_so_far():
    trial = SeenTrial(0, 0, "", "random", (), {}, 0.0, True, None)
    trial.measured += [(-1, 9, {"loss": 7.0}), (0, 10, {"loss": 1.0}), (1, 30, {"loss": 2.0})]
    assert intermediate_of(trial, [Objective("loss", "minimize")]) == {10: 1.0, 40: 1.75}
    assert intermediate_of(trial, [Objective("loss"), Objective("other")]) == {}


def test_a_run_that_never_started_or_whose_base_is_gone_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(RunDirectoryError, match="holds no run"):
        DerivedStudies(tmp_path / "nowhere")
    with Journal(tmp_path / "empty", create=True):
        pass
    with pytest.raises(RunDirectoryError, match="never started"):
        DerivedStudies(tmp_path / "empty")
    out = started(tmp_path / "run", budget={"trials": 5})

    def gone(*_, **__):
        raise CheckpointError("/models/base is not there")

    monkeypatch.setattr(outline, "open_checkpoint", gone)
    with pytest.raises(CheckpointError, match="/models/base"):
        DerivedStudies(out)
