"""What budgets pay for, against figures worked out by hand."""

from __future__ import annotations

import pytest

from evomerge.cost.allowance import Pace, allowances, expected_candidates
from evomerge.cost.estimate import Span
from evomerge.study.budgets.config import BudgetConfig
from evomerge.study.workers_config import WorkersConfig

NOW = 1_800_000_000.0
# four known points of 10 to 20 s, others of 2 to 4 s on average
PACE = Pace(4, Span(10.0, 20.0), Span(2.0, 4.0))


def found(budget, pace=PACE, workers=None, by_items=None):
    made = allowances(
        BudgetConfig.model_validate(budget),
        WorkersConfig.model_validate(workers or {}),
        pace,
        by_items=by_items,
        now=NOW,
    )
    return {one.kind: one for one in made}


@pytest.mark.parametrize(
    ("budget", "workers", "fewest", "most"),
    [
        # 3600 s: known points take 40 or 80 of them, 3560 / 2 and 3520 / 4 are left
        ({"hours": 1}, {}, 884, 1784),
        ({"hours": 1}, {"count": 2}, 1784, 3584),
        ({"deadline": "2027-01-15T09:00+00:00"}, {}, 884, 1784),  # NOW is 8:00
        ({"gpu_hours": 1}, {"count": 8}, 884, 1784),  # however many share them
        (
            {"gpu_hours": 1},
            {"backend": "ray", "device": "cuda", "gpus_per_worker": 0.5},
            1784,
            3584,
        ),
        ({"money": 6, "price": {"per_gpu_hour": 2, "per_worker_hour": 4}}, {}, 884, 1784),
        (
            {"money": 6, "price": {"per_gpu_hour": 2, "per_worker_hour": 6}},
            {"device": "cpu"},
            884,
            1784,
        ),
        ({"hours": 0.01}, {}, 1, 3),  # 36 s: not even the known points
    ],
)
def test_time_is_turned_into_candidates(budget, workers, fewest, most):
    (one,) = found(budget, workers=workers).values()
    assert one.candidates == Span(fewest, most)


def test_what_cannot_be_said_is_not_said():
    told = found(
        {"trials": 90, "stagnation": {"trials": 20}, "gpu_hours": 1, "money": 2, "price": {}},
        workers={"device": "cpu"},
    )
    assert told["trials"].candidates == Span(90, 90)
    assert told["stagnation"].candidates is None
    assert "no GPU" in told["gpu_hours"].how
    assert "what fitnesses charge is not known" in told["money"].how
    assert "name a device" in found({"hours": 2}, pace=None)["hours"].how
    assert found({"hours": 2}, pace=None)["hours"].candidates is None


def test_the_first_that_is_used_up_counts():
    told = found({"trials": 1000, "hours": 1, "items": 40_000}, by_items=(950, "so"))
    assert told["items"].candidates == Span(950, 950)
    assert expected_candidates(list(told.values())) == Span(884, 950)
    assert expected_candidates([]) is None


def test_candidates_are_turned_into_time():
    assert PACE.taken(3) == Span(30, 60)
    assert PACE.taken(104) == Span(240, 480)
