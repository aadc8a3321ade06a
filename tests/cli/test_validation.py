"""One objective and validation items, with real models: who wins, and what is said of it."""

from __future__ import annotations

import json

from evomerge.journal import read_events


def test_the_winner_is_picked_on_validation_items(world):
    world.study["objectives"] = {"likely": {**world.study["objectives"]["likely"], "validation": 3}}
    code, _, err = world.run()
    assert code == 0, err
    run = world.folder / "run"
    events = read_events(run)
    losses = {e.trial: e.payload["metrics"]["likely"] for e in events if e.kind == "validated"}
    assert len(losses) == 3
    _, out, _ = world("front", run, "--json")
    document = json.loads(out)
    (winner,) = document["front"]
    assert winner["trial"] == min(losses, key=losses.get)
    assert winner["validation"]["likely"]["items"] == 3
    (shrunk,) = document["shrinkage"]["winners"]
    searched = {e.trial: e.payload["metrics"]["likely"] for e in events if e.kind == "finished"}
    assert shrunk["search"] == searched[winner["trial"]]
    assert shrunk["validation"] == losses[winner["trial"]]
    assert shrunk["holdout"] == winner["holdout"]["likely"]["score"]
    chain = " → ".join(f"{shrunk[split]:.3f}" for split in ("search", "validation", "holdout"))
    code, out, err = world("front", run)
    assert code == 0, err
    assert chain in " ".join(out.split())
    code, _, err = world("report", run, "--format", "md", "--out", world.folder / "report")
    assert code == 0, err
    assert chain in (world.folder / "report" / "report.md").read_text()
    _, out, _ = world("status", run)
    assert "validated 3 of the best" in out


def test_check_says_who_is_validated(world):
    world.study["objectives"]["likely"]["validation"] = 3
    code, out, err = world("check", world.write())
    assert code == 0, err
    assert "validation  the best 3 by search scores; the front of these" in out
