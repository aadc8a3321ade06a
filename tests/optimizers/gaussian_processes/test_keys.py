"""Two recipes that differ by 1e-4 in one gene are two recipes, with two rows in the journal.

MM-MO's released code names a configuration by values of two decimals, so that two close candidates
share one score while the model is told two points.
"""

from __future__ import annotations

import pytest

from evomerge.journal import read_events
from evomerge.recipe import fingerprint
from evomerge.study import run as run_module
from evomerge.study import start_run
from tests.study.fakes import FakeExecutor, PlainSpace, score, staged_config, without_models

CLOSE = {
    "name": "close",
    "space": {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"choices": [0.5, 0.5001]}},
    },
    "search": {"optimizer": "random"},
    "trials": 16,
}


def test_close_recipes_have_keys_of_their_own():
    keys = {fingerprint(PlainSpace().decode(point)) for point in [(0.5, 0.25), (0.5001, 0.25)]}
    assert len(keys) == 2


def test_close_recipes_have_scores_and_rows_of_their_own(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    study = staged_config(CLOSE, front={"baselines": ["donors"]})
    run = tmp_path / "run"
    start_run(study, tmp_path, run, executor=lambda _: FakeExecutor())
    events = read_events(run)
    asked = {e.trial: tuple(e.payload["genotype"]) for e in events if e.kind == "asked"}
    found = {e.trial: e.payload["metrics"] for e in events if e.kind == "finished"}
    by_genotype = {genotype: found[trial] for trial, genotype in asked.items()}
    assert len(found) == 16
    assert len(by_genotype) == 4
    assert len({metrics["one"] for metrics in by_genotype.values()}) == 4
    for genotype, metrics in by_genotype.items():
        expected = score(PlainSpace().decode(tuple(map(float, genotype))))
        assert metrics == pytest.approx(expected.metrics)
