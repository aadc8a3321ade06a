"""When nothing better was found for long, against the definition worked out anew."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.study.budgets.config import StagnationConfig
from evomerge.study.budgets.stagnation import Stagnation
from evomerge.study.standing import Standing
from evomerge.types import Completed, Failed, Objective, Trial

ONE = (Objective("loss", "minimize"),)
TWO = (Objective("up"), Objective("down", "minimize"))


def trial(number, objectives, *values):
    metrics = {one.name: value for one, value in zip(objectives, values, strict=True)}
    costs = tuple(one.cost(metrics[one.name]) for one in objectives)
    return Trial(number, (number,), Completed(metrics), costs)


def followed(config, objectives, rows, origins=()):
    """How long nothing was gained after each row; None is a failed trial."""
    found = Stagnation(StagnationConfig.model_validate(config))
    standing = Standing(objectives, ["a", "b"])
    lasting = []
    for number, row in enumerate(rows):
        if row is None:
            told = Trial(number, (number,), Failed("error", "no"), None)
        else:
            told = trial(number, objectives, *row)
        standing.add(told, dict(enumerate(origins)).get(number, "random"))
        found.see(standing, number + 1)
        lasting.append(found.lasting)
    return lasting


def area(points, reference=-0.1):
    """Area that points dominate above the reference, strip by strip."""
    total, height = 0.0, reference
    for x, y in sorted(points, reverse=True):
        if x > reference and y > height:
            total += (x - reference) * (y - height)
            height = y
    return total


def without_gain(values, min_gain):
    """The definition: the most last trials that gained no more than that; from the first value."""
    lasting = []
    for now, value in enumerate(values):
        starts = [
            then
            for then in range(now + 1)
            if not math.isnan(values[then]) and value - values[then] <= min_gain
        ]
        lasting.append(now - min(starts, default=now))
    return lasting


@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=60),
    st.sampled_from([0, 1, 3, 7]),
)
def test_one_objective_by_its_best_score(losses, min_gain):
    best = [-min(losses[: end + 1]) for end in range(len(losses))]
    config = {"trials": 5, "min_gain": min_gain}
    assert followed(config, ONE, [(loss,) for loss in losses]) == without_gain(best, min_gain)


def test_worked_out_by_hand():
    losses = [(9.0,), (8.0,), None, (8.5,), (7.9,), (7.8,), (7.0,), (7.0,)]
    assert followed({"trials": 3}, ONE, losses) == [0, 0, 1, 2, 0, 0, 0, 1]
    #                                            8.0 ← 7.8 gains 0.2 in four trials, no more
    assert followed({"trials": 3, "min_gain": 0.25}, ONE, losses) == [0, 0, 1, 2, 3, 4, 0, 1]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=40))
def test_several_objectives_by_the_area_above_base_and_donors(rows):
    known = [(0.2, 0.6), (0.7, 0.5), (0.4, 0.1)]
    rows = [*known, *rows]
    origins = ("seed:base", "seed:a", "seed:b")
    scaled = [((up - 0.2) / 0.5, (0.6 - down) / 0.5) for up, down in rows]
    volumes = [area(scaled[: end + 1]) for end in range(len(rows))]
    volumes[:2] = [math.nan, math.nan]
    lasting = followed({"trials": 9, "min_gain": 0.05}, TWO, rows, origins)
    expected = without_gain(volumes, 0.05)
    # an area that differs in the last place may fall on either side of the threshold
    margin = np.abs(np.subtract.outer(volumes[2:], volumes[2:]) - 0.05).min()
    if margin > 1e-9:
        assert lasting == expected


def test_where_base_and_donors_stay_unknown_the_first_window_is_the_scale():
    rows = [(0.0, 1.0), None, (0.5, 0.5), (1.0, 1.0), (0.5, 0.0), (0.6, 0.4), (0.6, 0.4)]
    # of the first four: up from 0 to 1, down from 1 to 0.5
    scaled = [(up, (1 - down) / 0.5) for up, down in filter(None, rows)]
    volumes = [math.nan] * 3 + [area(scaled[:count]) for count in (3, 4, 5, 6)]
    assert followed({"trials": 4}, TWO, rows) == without_gain(volumes, 0.0) == [0] * 6 + [1]
    assert followed({"trials": 3}, TWO, [None] * 5) == [0] * 5


def test_a_new_part_begins_a_new_window():
    found = Stagnation(StagnationConfig(trials=3))
    standing = Standing(ONE, [])
    for number in range(3):
        standing.add(trial(number, ONE, 1.0), "random")
        found.see(standing, number + 1)
    assert found.lasting == 2
    found.enter()
    assert found.lasting == 0
    found.see(standing, 4)
    assert found.lasting == 1


@pytest.mark.parametrize("spent", [(10, 30, 30, 70), (5, 5, 6, 400)])
def test_items_are_counted_where_the_window_is_of_items(spent):
    found = Stagnation(StagnationConfig(items=40))
    standing = Standing(ONE, [])
    for number, items in enumerate(spent):
        standing.add(trial(number, ONE, 1.0), "random")
        found.see(standing, items)
        assert found.lasting == items - spent[0]
