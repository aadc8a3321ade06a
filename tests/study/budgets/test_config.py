"""The `budget` of a study file: what goes together, and what is refused with a line."""

import pytest
from pydantic import ValidationError

from evomerge.errors import UserError
from evomerge.study.budgets.adding import extended
from evomerge.study.budgets.config import KINDS, BudgetConfig
from evomerge.study.budgets.gauges import limits

NOW = 1_800_000_000.0
FULL = {
    "trials": 800,
    "items": 2_000_000,
    "hours": 9,
    "deadline": "2027-02-01T07:30+00:00",
    "gpu_hours": 12.5,
    "money": 25,
    "price": {"per_gpu_hour": 2.5},
    "stagnation": {"items": 5000, "min_gain": 0.01},
}


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"money": 5}, "price"),
        ({"stagnation": {"min_gain": 0.1}}, "trials, or items"),
        ({"stagnation": {"trials": 5, "items": 5}}, "trials, or items"),
        ({"stagnation": {"trials": 0}}, "greater than or equal to 1"),
        ({"stagnation": {"trials": 5, "min_gain": -1}}, "greater than or equal to 0"),
        ({"gpu_hours": 0}, "greater than 0"),
        ({"money": 1, "price": {"per_gpu_hour": -1}}, "greater than or equal to 0"),
        ({"gpuhours": 1}, "Extra inputs"),
    ],
)
def test_what_means_nothing_is_refused(budget, words):
    with pytest.raises(ValidationError, match=words):
        BudgetConfig.model_validate(budget)


def test_every_kind_limits_and_is_said():
    budget = BudgetConfig.model_validate(FULL)
    assert budget.kinds == KINDS
    assert limits(budget) == [
        "800 trials",
        "2000000 items",
        "9 hours",
        "deadline 2027-02-01T07:30+00:00",
        "12.5 GPU-hours",
        "25 spent",
        "5000 items without a gain above 0.01",
    ]
    assert BudgetConfig.model_validate(budget.model_dump(mode="json")) == budget


def test_a_budget_of_trials_is_recorded_as_it_always_was():
    recorded = BudgetConfig(trials=5).model_dump(mode="json")
    assert recorded == {"trials": 5, "items": None, "hours": None}


def test_each_kind_is_extended():
    add = {
        "trials": "100",
        "items": 1000,
        "hours": "0.5",
        "deadline": "2027-02-02T07:30Z",
        "gpu_hours": "1.5",
        "money": 5,
        "stagnation": "500",
    }
    after = extended(BudgetConfig.model_validate(FULL), add, NOW)
    assert (after.trials, after.items, after.hours) == (900, 2_001_000, 9.5)
    assert (after.gpu_hours, after.money) == (14, 30)
    assert after.stagnation.window == 5500
    assert after.stagnation.min_gain == 0.01
    assert after.deadline.startswith("2027-02-02T")
    assert after.price.per_gpu_hour == 2.5


@pytest.mark.parametrize(
    ("add", "words"),
    [
        ({"hour": 1}, "no such budget; did you mean 'hours'?"),
        ({"price": 1}, "no such budget"),
        ({"trials": -5}, "positive"),
        ({"trials": "x"}, "positive"),
        ({"hours": "nan"}, "positive"),
        ({"hours": "inf"}, "positive"),
        ({"trials": 0.5}, "whole"),
        ({"stagnation": 0.5}, "whole"),
        ({"deadline": "soon"}, "deadline=soon"),
        ({"deadline": "2027-01-20T07:30Z"}, "no later than"),
        ({"deadline": "2026-01-20T07:30Z"}, "is over"),
    ],
)
def test_what_cannot_be_added_is_one_line(add, words):
    with pytest.raises(UserError, match=words) as caught:
        extended(BudgetConfig.model_validate(FULL), add, NOW)
    assert len(str(caught.value).splitlines()) == 1


def test_a_kind_the_study_does_not_have_cannot_be_added_to():
    with pytest.raises(UserError, match="no budget of that kind, only trials, hours"):
        extended(BudgetConfig(trials=4, hours=1), {"gpu_hours": 4}, NOW)
