"""What a budget of items is expected to pay for, against runs that spent it."""

import pytest

from evomerge.study.expected_trials import expected_trials
from tests.study.fakes import ITEMS, PlainSpace, config, staged_config
from tests.study.rungs.runs import (
    BRACKETS,
    HALVING_BRACKETS,
    PROXIES,
    RUNGS,
    ByProxy,
    bounded,
    events_of,
    start,
)

COUNTS = {name: len(ids) for name, ids in ITEMS.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"rungs": None},
        {},
        {"rungs": {"items": [5, 10, 20], "promote": 0.2}},
        BRACKETS,
        HALVING_BRACKETS,
        PROXIES,
    ],
)
def test_so_many_trials_are_paid_for(tmp_path, monkeypatch, changes):
    bounded(monkeypatch)
    out = tmp_path / "run"
    changes = changes | {"budget": {"items": 5000}}
    expected = expected_trials(config(**{**RUNGS, **changes}), PlainSpace(), COUNTS)
    start(out, ByProxy(), **changes)
    kinds = ("measured",) if changes.get("rungs", True) else ("finished",)
    paid = {
        event.trial
        for event in events_of(out, *kinds)
        if not {"failed", "same_as"} & set(event.payload)
    }
    assert len(paid) == pytest.approx(
        expected, rel=0.02 if changes.get("rungs", 0) is None else 0.2
    )


def test_only_a_budget_of_items_says_something():
    space = PlainSpace()
    assert expected_trials(config(budget={"hours": 3}), space, COUNTS) is None
    assert expected_trials(config(budget={"items": 900}), space, {}) is None
    assert expected_trials(staged_config(), space, COUNTS) is None


def test_batches_and_few_items():
    study = config(
        budget={"items": 20 * 30 + 4 * 20},
        search={"optimizer": "random", "seeds": False},
        batches={"items": 10, "trials": 8},
        objectives={
            "one": {"fitness": "f", "search": "s", "validation": 5},
            "two": {"fitness": "f", "search": "s", "validation": 5},
        },
    )
    assert expected_trials(study, PlainSpace(), COUNTS) == 34
    few = config(budget={"items": 100})
    assert expected_trials(few, PlainSpace(), COUNTS) == 1
