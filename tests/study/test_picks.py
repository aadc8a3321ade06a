"""What a later stage takes, against the definitions written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.study.config import PickConfig
from evomerge.study.picks import choose, for_holdout
from evomerge.types import Completed, Failed, Objective, Trial

COSTS = st.lists(st.tuples(*[st.integers(0, 6)] * 2) | st.none(), min_size=1, max_size=12)


def trials_of(costs):
    return [
        Trial(
            number,
            (0.0,),
            Failed("error", "x") if cost is None else Completed({}),
            None if cost is None else tuple(map(float, cost)),
        )
        for number, cost in enumerate(costs)
    ]


def front_of(completed):
    return {
        number
        for number, cost in completed.items()
        if not any(
            all(o <= c for o, c in zip(other, cost, strict=True)) and other != cost
            for other in completed.values()
        )
        and all(completed[earlier] != cost for earlier in completed if earlier < number)
    }


def pick(kind, count=None):
    return PickConfig(stage="x", pick=kind, count=count)


@given(COSTS, st.randoms(use_true_random=False))
def test_choices_are_what_they_are_called_whatever_finished_first(costs, random):
    trials = trials_of(costs)
    random.shuffle(trials)
    completed = {i: cost for i, cost in enumerate(costs) if cost is not None}
    if not completed:
        assert choose(trials, pick("best"), None) == []
        return
    (best,) = choose(trials, pick("best"), None)
    table = np.array(list(completed.values()), dtype=float)
    spread = np.where(np.ptp(table, axis=0) > 0, np.ptp(table, axis=0), 1)
    means = ((table - table.min(axis=0)) / spread).mean(axis=1)
    assert best.number == list(completed)[int(means.argmin())]

    front = front_of(completed)
    (knee,) = choose(trials, pick("knee"), None)
    assert knee.number in front
    several = choose(trials, pick("front", 3), None)
    numbers = [trial.number for trial in several]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(3, len(front))
    assert set(numbers) <= front


def test_best_is_the_cost_that_was_minimised_where_there_was_one():
    trials = trials_of([(0, 5), (2, 2), (5, 0), None])
    (best,) = choose(trials, pick("best"), lambda costs: 9 * costs[0] + costs[1])
    assert best.number == 0
    (best,) = choose(trials, pick("best"), lambda costs: costs[0] + 9 * costs[1])
    assert best.number == 2
    (best,) = choose(trials, pick("best"), None)
    assert best.number == 1


@pytest.mark.parametrize("kind", ["best", "knee"])
def test_the_first_of_equals(kind):
    assert [one.number for one in choose(trials_of([(1, 1)] * 3), pick(kind), None)] == [0]


@pytest.mark.parametrize("scale", [1.0, 100.0])
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3), min_size=1, max_size=30), st.integers(1, 8))
def test_on_hold_out_items_the_winner_of_the_mean_that_is_shown_is_scored(scale, scores, size):
    objectives = [Objective(name) for name in "abc"]
    rows = [dict(zip("abc", (scale * a / 20, b / 200, c / 20), strict=True)) for a, b, c in scores]
    chosen = for_holdout(rows, objectives, size)
    assert len(chosen) == min(size, len(rows))
    assert sorted(set(chosen)) == list(chosen)
    values = np.array([list(row.values()) for row in rows])
    if values.max() > 1:  # there is no mean that means something: each by its own range
        spread = np.ptp(values, axis=0)
        means = (values / np.where(spread > 0, spread, 1.0)).mean(axis=1)
        assert means[chosen].max() >= means.max() - 1e-9
    else:
        sums = [math.fsum(row) for row in values]
        assert max(sums[index] for index in chosen) == max(sums)
