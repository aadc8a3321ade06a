"""The JSON document: stable, complete, exact."""

from __future__ import annotations

import json
from dataclasses import replace

from evomerge.recipe.model import Recipe
from evomerge.report import to_json
from tests.report.fronts import limited, make_front, make_row


def test_same_front_same_bytes(front):
    assert json.dumps(to_json(front)) == json.dumps(to_json(front))


def test_round_trips_through_strict_json(any_front):
    document = to_json(any_front)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_keys_are_those_documented(front):
    document = to_json(front)
    assert list(document) == [
        "format", "study", "seed", "trials", "objectives", "members", "confidence", "split",
        "front", "baselines", "best", "knee", "shrinkage", "hypervolume", "history", "notes",
    ]  # fmt: skip
    assert document["format"] == "evomerge-front/1"
    assert set(document["front"][0]) == {
        "name", "kind", "trial", "fingerprint", "recipe", "search", "holdout", "mean", "gains",
        "mean_gain", "confirmed", "on_front", "dominated_by", "equals",
    }  # fmt: skip
    assert set(document["front"][0]["search"]["math"]) == {"score", "low", "high", "items"}
    assert set(document["front"][0]["gains"]["math"]) == {
        "over", "gain", "low", "high", "probability_better", "within_noise",
    }  # fmt: skip


def test_probabilities_and_the_volumes_interval_are_those_of_the_analysis(front, analysis):
    document = to_json(front)
    by_name = {row.row.name: row for row in analysis.rows}
    for row in document["front"] + document["baselines"]:
        judged = by_name[row["name"]]
        assert row["on_front"] == judged.on_front
        rival = judged.dominated_by
        assert row["dominated_by"] == (
            None if rival is None else {"name": rival.name, "probability": rival.probability}
        )
    assert any(row["dominated_by"] for row in document["front"])
    interval = document["hypervolume"]["interval"]
    assert (interval["low"], interval["high"]) == (
        analysis.volumes.interval.low,
        analysis.volumes.interval.high,
    )


def test_holds_every_row_score_and_recipe(front):
    document = to_json(front)
    found = {row["name"]: row for row in document["front"] + document["baselines"]}
    assert len(found) == len(front.rows)
    for row in front.rows:
        for objective in front.objectives:
            assert found[row.name]["search"][objective.name]["score"] == row.search[objective.name]
            assert (
                found[row.name]["holdout"][objective.name]["score"] == (row.holdout[objective.name])
            )
        assert Recipe.model_validate(found[row.name]["recipe"]) == row.recipe
    assert document["history"] == [[trial, volume] for trial, volume in front.hypervolume]


def test_the_unknown_is_null():
    document = to_json(make_front(make_row("trial 1", {"a": 0.5})))
    (row,) = document["front"]
    assert row["holdout"] is None
    assert row["confirmed"] is None
    assert row["search"]["a"] == {"score": 0.5, "low": None, "high": None, "items": 0}
    assert row["mean_gain"] is None
    assert row["on_front"] is None
    assert row["dominated_by"] is None
    assert document["hypervolume"] is None
    assert document["knee"] is None


def test_members_are_counted_whether_or_not_they_were_scored_on_holdout(front):
    everybody = {"front": 5, "holdout": 5, "size": None, "equal": 0}
    assert to_json(front)["members"] == everybody
    assert to_json(limited(front, 8))["members"] == everybody | {"size": 8}
    document = to_json(limited(front, 2))
    assert document["members"] == everybody | {"holdout": 2, "size": 2}
    assert len(document["front"]) == 5
    assert [row["holdout"] is None for row in document["front"]] == [False] * 2 + [True] * 3
    means = [row["mean"]["search"]["score"] for row in document["front"][2:]]
    assert means == sorted(means, reverse=True)


def test_trials_with_the_scores_of_a_member_are_named():
    row = replace(make_row("trial 1", {"a": 0.5, "b": 0.5}), equals=(4, 7))
    document = to_json(make_front(row, make_row("trial 2", {"a": 0.6, "b": 0.4})))
    assert document["members"]["equal"] == 2
    assert {one["trial"]: one["equals"] for one in document["front"]} == {1: [4, 7], 2: []}
    assert any(note.startswith("2 further trials have a member's") for note in document["notes"])
