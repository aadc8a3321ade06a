"""Picks from a front: by the scores it was picked by, on a scale that is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evomerge.errors import UserError
from evomerge.report import analyse
from evomerge.report.picks import (
    items_note,
    parse_weights,
    pick_knee,
    pick_preferred,
    pick_thinned,
    picks_document,
)
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row

BASELINES = [
    make_row("base", {"a": 0.0, "b": 10.0}),
    make_row("donor:x", {"a": 0.5, "b": 10.0}),
    make_row("donor:y", {"a": 0.0, "b": 5.0}),
]
MEMBERS = [
    make_row("trial 1", {"a": 0.6, "b": 9.0}, {"a": 0.1, "b": 9.9}),
    make_row("trial 2", {"a": 0.3, "b": 6.0}, {"a": 0.2, "b": 9.9}),
    make_row("trial 3", {"a": 0.1, "b": 3.0}, {"a": 0.9, "b": 0.1}),
]
OBJECTIVES = (Objective("a"), Objective("b", "minimize"))


def front_of(*rows):
    return make_front(*rows, objectives=OBJECTIVES)


def test_weights_are_read_as_typed():
    assert parse_weights("math=2,code=1") == {"math": 2.0, "code": 1.0}
    assert parse_weights(" math = 0.5 ") == {"math": 0.5}
    assert parse_weights("a=b=3") == {"a=b": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("math", "'math' is no OBJECTIVE=WEIGHT"),
        ("", "'' is no OBJECTIVE=WEIGHT"),
        ("math=2,", "'' is no OBJECTIVE=WEIGHT"),
        ("=2", "'=2' is no OBJECTIVE=WEIGHT"),
        ("math=two", "weight of 'math' must be a number, got 'two'"),
        ("math=", "must be a number, got ''"),
        ("math=1,math=2", "'math' has two weights"),
    ],
)
def test_malformed_weights_are_the_users_error(text, message):
    with pytest.raises(UserError, match=message) as raised:
        parse_weights(text)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"aa": 1.0}, "--prefer: weight 'aa' names no objective; did you mean 'a'"),
        ({"a": -1.0}, "--prefer: weight 'a' must be 0 or more"),
        ({"a": float("nan")}, "--prefer: weight 'a' must be 0 or more"),
        ({"a": 0.0}, "--prefer: at least one weight"),
    ],
)
def test_impossible_weights_are_the_users_error(weights, message):
    front = front_of(*BASELINES, *MEMBERS)
    with pytest.raises(UserError, match=message):
        pick_preferred(front, weights)


def test_preference_is_on_the_scale_of_base_and_donors():
    front = front_of(*BASELINES, *MEMBERS)
    # Scaled (a / 0.5, (10 - b) / 5): (1.2, 0.2), (0.6, 0.8), (0.2, 1.4); best seen (1.2, 1.4).
    # Shortfalls (0, 1.2), (0.6, 0.6), (1, 0): equal weights take the middle, 3:1 the first.
    pick = pick_preferred(front, {"a": 1.0, "b": 1.0})
    assert (pick.members, pick.scale) == (("trial 2",), "anchors")
    assert "0 = base, 1 = best donor" in pick.text
    assert "a=1, b=1" in pick.text
    assert pick_preferred(front, {"a": 3.0, "b": 1.0}).members == ("trial 1",)
    assert pick_preferred(front, {"b": 2.0}).members == ("trial 3",)


def test_without_base_or_donors_it_is_on_the_fronts_own_range():
    for missing in ([], BASELINES[:1], BASELINES[1:]):
        pick = pick_preferred(front_of(*missing, *MEMBERS), {"a": 1.0, "b": 1.0})
        assert pick.scale == "range"
        assert "base or donors were not scored" in pick.text
        # On the range: (1, 0), (0.4, 0.5), (0, 1): the middle again.
        assert pick.members == ("trial 2",)


def test_the_scale_decides_and_so_it_is_named():
    # Far donors make b's differences small on their scale, while the range stretches them.
    far = [
        make_row("base", {"a": 0.0, "b": 100.0}),
        make_row("donor:x", {"a": 1.0, "b": 0.0}),
    ]
    weights = {"a": 1.0, "b": 2.0}
    assert pick_preferred(front_of(*MEMBERS), weights).members == ("trial 3",)
    assert pick_preferred(front_of(*far, *MEMBERS), weights).members == ("trial 1",)


def test_the_best_value_seen_may_be_a_baselines():
    members = [MEMBERS[0], replace(MEMBERS[2], search={"a": 0.1, "b": 5.0})]
    # Scaled (1.2, 0.2), (0.2, 1.0): (0, 0.8) and (1, 0) short of the members' best.
    weights = {"a": 1.0, "b": 1.0}
    assert pick_preferred(front_of(*BASELINES, *members), weights).members == ("trial 1",)
    # A baseline reached 2 in b: now (0, 1.8) and (1, 1).
    better = make_row("uniform", {"a": 0.0, "b": 0.0})
    assert pick_preferred(front_of(*BASELINES, better, *members), weights).members == ("trial 3",)


def test_an_objective_in_which_members_tie_decides_nothing():
    # Were the baseline's lead in a to count, the largest shortfall would be that of all members,
    # and the sum of the others would choose an end.
    scores = {"trial 1": (1.0, 0.0), "trial 2": (0.45, 0.4), "trial 3": (0.0, 1.0)}
    rows = [make_row(name, {"a": 0.5, "b": b, "c": c}) for name, (b, c) in scores.items()]
    rows.append(make_row("uniform", {"a": 9.0, "b": 0.0, "c": 0.0}))
    pick = pick_preferred(make_front(*rows), {"a": 9.0, "b": 1.0, "c": 1.0})
    assert (pick.members, pick.scale) == (("trial 2",), "range")


def test_holdout_scores_have_no_part_in_any_pick():
    front = front_of(*BASELINES, *MEMBERS)
    blind = front_of(*BASELINES, *[replace(row, holdout=None) for row in MEMBERS])
    upside = front_of(
        *BASELINES, *[replace(row, holdout={"a": 1 - row.search["a"], "b": 0.0}) for row in MEMBERS]
    )
    for other in (blind, upside):
        assert pick_preferred(other, {"a": 1.0, "b": 1.0}) == pick_preferred(
            front, {"a": 1.0, "b": 1.0}
        )
        assert pick_knee(analyse(other)) == pick_knee(analyse(front))
        for by in ("farthest", "hypervolume", "epsilon"):
            assert pick_thinned(other, 2, by) == pick_thinned(front, 2, by)
    assert "hold-out scores had no part" in items_note(analyse(front))
    assert "there are no others" in items_note(analyse(blind))
    validated = replace(front, picked_on="validation")
    assert items_note(analyse(validated)).startswith("Picked by validation scores")


def test_the_knee_is_the_marked_one():
    analysis = analyse(build_front(2))
    pick = pick_knee(analysis)
    assert pick.members == (analysis.knee,)
    with pytest.raises(UserError, match=r"--knee: a knee needs .* got 2 and 2; use --prefer"):
        pick_knee(analyse(front_of(*MEMBERS[:2])))


def test_thinning_says_how_far_the_others_are():
    front = front_of(*MEMBERS)
    pick = pick_thinned(front, 1, "epsilon")
    # On the range: costs (0, 1), (0.6, 0.5), (1, 0): the middle is 0.6 worse than the first.
    assert pick.members == ("trial 2",)
    assert pick.details["epsilon"] == pytest.approx(0.6)
    assert "thinned to 1 of 3 by epsilon: trial 2" in pick.text
    assert "at most 0.600 worse" in pick.text
    every = pick_thinned(front, 9, "farthest")
    assert every.members == ("trial 1", "trial 2", "trial 3")
    assert every.details == {"by": "farthest", "epsilon": 0.0}
    with pytest.raises(UserError, match="--thin: at least 1"):
        pick_thinned(front, 0, "farthest")
    with pytest.raises(UserError, match="--by: 'epsilom' is no rule; did you mean 'epsilon'"):
        pick_thinned(front, 2, "epsilom")


def test_an_empty_front_has_nothing_to_pick():
    empty = front_of(*BASELINES)
    for call in (
        lambda: pick_preferred(empty, {"a": 1.0}),
        lambda: pick_knee(analyse(empty)),
        lambda: pick_thinned(empty, 2, "farthest"),
    ):
        with pytest.raises(UserError):
            call()


def test_document_holds_every_pick_and_is_strict_json():
    front = build_front(3)
    analysis = analyse(front)
    picks = [
        pick_preferred(front, {"math": 2.0}),
        pick_knee(analysis),
        pick_thinned(front, 2, "hypervolume"),
    ]
    document = picks_document(analysis, picks)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["items"] == "search"
    assert document["preferred"] == {
        "members": list(picks[0].members),
        "scale": "anchors",
        "weights": {"math": 2.0},
    }
    best = max(front.members, key=lambda row: row.search["math"])
    assert document["preferred"]["members"] == [best.name]
    assert document["knee"] == {"members": [analysis.knee], "scale": "range"}
    assert set(document["thinned"]) == {"members", "scale", "by", "epsilon"}
    assert np.isfinite(document["thinned"]["epsilon"])
    assert set(picks_document(analysis, picks[1:2])) == {"items", "note", "knee"}
