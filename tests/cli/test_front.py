"""Picking from a front on the command line: the right member, and one clear line when wrong."""

from __future__ import annotations

import csv
import json

import pytest

from evomerge.cli import results
from evomerge.journal import read_events
from tests.report.fronts import build_front


@pytest.fixture
def found(world, monkeypatch):
    """A front of invented models of three objectives in place of a run's."""
    front = build_front(3)
    monkeypatch.setattr(results, "find_run", lambda folder: folder)
    monkeypatch.setattr(results, "_collect", lambda folder: front)
    return front


def tchebycheff(document, weights, split):
    """The member of the smallest augmented weighted shortfall, from the printed scores alone."""
    rows = document["front"] + document["baselines"]
    names = [objective["name"] for objective in document["objectives"]]
    sign = {one["name"]: 1 if one["goal"] == "maximize" else -1 for one in document["objectives"]}
    score = {row["name"]: {n: sign[n] * row[split][n]["score"] for n in names} for row in rows}
    donors = [name for name in score if name.startswith("donor:")]
    scaled = {
        name: {
            n: (own[n] - score["base"][n]) / (max(score[d][n] for d in donors) - score["base"][n])
            for n in names
        }
        for name, own in score.items()
    }
    best = {n: max(own[n] for own in scaled.values()) for n in names}

    def value(name):
        parts = [weights.get(n, 0) * (best[n] - scaled[name][n]) for n in names]
        return max(parts) + 0.05 * sum(parts)

    return min((row["name"] for row in document["front"]), key=value)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("math=2,code=1", {"math": 2, "code": 1}),
        ("math=1,code=4", {"math": 1, "code": 4}),
        ("chat=1", {"chat": 1}),
        ("math=1,code=1,chat=1", {"math": 1, "code": 1, "chat": 1}),
    ],
)
def test_the_preferred_member_is_tchebycheffs(world, found, text, weights):
    code, out, err = world("front", "--prefer", text, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    preferred = document["picks"]["preferred"]
    assert preferred["members"] == [tchebycheff(document, weights, "search")]
    assert preferred["scale"] == "anchors"
    assert preferred["weights"] == weights
    assert document["picks"]["items"] == "search"
    assert "hold-out scores had no part" in document["picks"]["note"]

    code, out, err = world("front", "--prefer", text)
    assert (code, err) == (0, "")
    (name,) = preferred["members"]
    first, second = out.splitlines()[:2]
    assert first.startswith("preferred by ")
    assert f": {name}, " in first
    assert second == "Picked by search scores; hold-out scores had no part in it."
    table = out[out.index("hypervolume") : out.index("Scores on hold-out")]
    members = [row.name for row in found.members]
    assert [one for one in members if f"\n{one} " in table] == [name]
    assert all(f"\n{row.name} " in table for row in found.baselines)


def test_some_preferences_differ(world, found):
    picked = {
        text: json.loads(world("front", "--prefer", text, "--json")[1])["picks"]["preferred"][
            "members"
        ][0]
        for text in ("math=9,code=1", "math=1,code=9", "chat=1")
    }
    assert len(set(picked.values())) == 3


def test_knee_and_thinning_go_together(world, found):
    plain = json.loads(world("front", "--json")[1])
    assert "picks" not in plain
    code, out, err = world("front", "--knee", "--thin", 2, "--by", "epsilon", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    picks = document.pop("picks")
    assert document == plain  # a pick changes no judgement
    assert picks["knee"]["members"] == [plain["knee"]]
    assert picks["thinned"]["by"] == "epsilon"
    assert len(picks["thinned"]["members"]) == 2
    code, out, err = world("front", "--knee", "--thin", 2, "--by", "epsilon")
    assert (code, err) == (0, "")
    assert out.startswith(f"knee: {plain['knee']}, ")
    assert f"thinned to 2 of 5 by epsilon: {', '.join(picks['thinned']['members'])}; " in out
    for rule in ("farthest", "hypervolume"):
        document = json.loads(world("front", "--thin", 3, "--by", rule, "--json")[1])
        assert document["picks"]["thinned"]["by"] == rule
        assert document["picks"]["thinned"]["epsilon"] >= 0
    assert (
        json.loads(world("front", "--thin", 3, "--json")[1])["picks"]["thinned"]
        == (
            json.loads(world("front", "--thin", 3, "--by", "farthest", "--json")[1])["picks"][
                "thinned"
            ]
        )
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prefer", "maths=2"), ("'maths' names no objective", "did you mean 'math'?")),
        (("--prefer", "math"), ("'math' is no OBJECTIVE=WEIGHT", "math=2,code=1")),
        (("--prefer", "math=two"), ("weight of 'math' must be a number", "'two'")),
        (("--prefer", "math=-1"), ("'math' must be 0 or more",)),
        (("--prefer", "math=nan"), ("'math' must be 0 or more",)),
        (("--prefer", "math=0"), ("at least one weight must be above 0",)),
        (("--prefer", "math=1,math=2"), ("'math' has two weights",)),
        (("--prefer", ""), ("is no OBJECTIVE=WEIGHT",)),
        (("--thin", "0"), ("--thin", "at least 1")),
        (("--thin", "2", "--by", "epsilom"), ("'epsilom' is no rule", "did you mean 'epsilon'?")),
        (("--by", "epsilon"), ("is a rule of --thin", "--thin 3")),
    ],
)
def test_each_wrong_pick_is_one_line_and_exit_code_2(world, found, arguments, words):
    code, out, err = world("front", *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("evomerge: --")
    for word in words:
        assert word in line


def test_at_most_eight_options(world):
    code, out, _ = world("front", "--help")
    assert code == 0
    options = {word for word in out.split() if word.startswith("--")} - {"--help"}
    assert {"--prefer", "--knee", "--thin", "--by", "--json"} <= options
    assert len(options) <= 8


def test_a_real_run_is_picked_from_and_judged(world):
    assert world.run()[0] == 0
    code, out, err = world("front", "run", "--prefer", "likely=1,near=1", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    (name,) = document["picks"]["preferred"]["members"]
    rows = {row["name"]: row for row in document["front"]}
    assert rows[name]["holdout"]["likely"]["items"] == 3
    assert all(0 <= row["on_front"] <= 1 for row in rows.values())
    assert any("takes near as exact" in note for note in document["notes"])
    code, out, _ = world("front", "run", "--prefer", "likely=1,near=1")
    assert code == 0
    assert f": {name}, " in out.splitlines()[0]
    code, out, err = world("front", "run", "--prefer", "nearer=1")
    assert code == 2
    assert "did you mean 'near'?" in err
    code, _, err = world("export", "front", "--run", "run")
    assert (code, err) == (0, "")
    with (world.folder / "front/front.csv").open() as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    assert {name: float(lines[name]["p_front"]) for name in rows} == {
        name: row["on_front"] for name, row in rows.items()
    }
    assert "P(front) is the probability" in (world.folder / "front/README.md").read_text()


def trials_on_the_front(folder):
    """The trials that nobody dominates, and those of equal scores, from the events alone."""
    scores = {
        event.trial: (event.payload["metrics"]["likely"], event.payload["metrics"]["near"])
        for event in read_events(folder)
        if event.kind == "finished" and "metrics" in event.payload
    }
    return {
        trial: sorted(other for other in scores if other != trial and scores[other] == own)
        for trial, own in scores.items()
        if not any(a <= own[0] and b <= own[1] and (a, b) != own for a, b in scores.values())
    }


def test_a_front_larger_than_its_size_is_shown_whole(world):
    assert world.run("--set", "front.size=2")[0] == 0
    expected = trials_on_the_front(world.folder / "run")
    firsts = [trial for trial, equals in expected.items() if not equals or trial < min(equals)]
    assert len(firsts) > 2
    document = json.loads(world("front", "run", "--json")[1])
    assert {row["trial"]: row["equals"] for row in document["front"]} == {
        trial: expected[trial] for trial in firsts
    }
    n_equal = len(expected) - len(firsts)
    assert document["members"] == {
        "front": len(firsts), "holdout": 2, "size": 2, "equal": n_equal,
    }  # fmt: skip
    assert sum(row["holdout"] is not None for row in document["front"]) == 2
    assert document["hypervolume"]["front"]["holdout"] is not None

    words = "2 of them scored on hold-out items (front.size: 2)"
    text = " ".join(world("front", "run")[1].split())
    assert f"{len(firsts)} on the front, {words}" in text
    assert f"'front: {{size: {len(firsts)}}}' in its study file scores them all" in text
    assert ("further trials have a member's score" in text) == bool(n_equal)

    assert world("export", "front", "--run", "run")[0] == 0
    folders = {path.name for path in (world.folder / "front").glob("trial-*")}
    assert folders == {f"trial-{trial:06d}" for trial in firsts}
    assert words in " ".join((world.folder / "front/README.md").read_text().split())
    assert words in (world.folder / "front/front.html").read_text()
    assert world("report", "run", "--format", "html,md", "--out", "page")[0] == 0
    for name in ("report.html", "report.md"):
        assert words in (world.folder / "page" / name).read_text()


def test_a_front_within_its_size_says_nothing_of_it(world):
    assert world.run("--set", "front.size=32")[0] == 0
    document = json.loads(world("front", "run", "--json")[1])
    counts = document["members"]
    assert counts["front"] == counts["holdout"] == len(document["front"]) < counts["size"] == 32
    assert "front.size" not in world("front", "run")[1]
    assert "front.size" not in " ".join(document["notes"])
