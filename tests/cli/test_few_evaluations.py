"""Searches by surrogates, from the command line: what they say, and that they resume."""

import json

import pytest

from evomerge.cli.results import LAST_NOTES
from evomerge.journal import read_events
from evomerge.optimizers import auto

SEARCHES = {
    "map": ({"optimizer": "map", "design_size": 12, "batch": 4}, 20),
    "bayesian_map": ({"optimizer": "bayesian_map", "design_size": 10, "batch": 4}, 20),
    "nested_map": ({"optimizer": "nested_map"}, 20),
    "mobo": ({"optimizer": "mobo"}, 10),
    "mm_mo": ({"optimizer": "mm_mo", "initial": 6, "batch": 2}, 10),
    "auto": ({"optimizer": "auto"}, 10),
}


def genotypes(folder):
    return [event.payload["genotype"] for event in read_events(folder) if event.kind == "asked"]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_by_surrogates_runs_and_resumes(world, name):
    if name in ("mobo", "mm_mo", "auto"):
        pytest.importorskip("botorch")
    search, trials = SEARCHES[name]
    world.study |= {"search": search, "budget": {"trials": trials}}
    code, _, err = world.run()
    assert (code, len(genotypes(world.folder / "run"))) == (0, trials), err
    whole = genotypes(world.folder / "run")
    code, out, _ = world("status", "run", "--json")
    notes = json.loads(out)["notes"]
    assert bool(notes) == (name not in ("mobo", "mm_mo"))
    if notes:
        assert notes[0] in err  # shown while it ran
        assert notes[-1] in world("status", "run")[1]
    code, _, _ = world("resume", "run", "--add", "trials=2")
    assert code == 0
    assert genotypes(world.folder / "run")[:trials] == whole
    assert len(genotypes(world.folder / "run")) == trials + 2


def test_auto_says_what_it_chose(world, monkeypatch):
    del world.study["search"]  # it is the default
    world.study["budget"] = {"trials": 260}
    with monkeypatch.context() as without:
        without.setattr(auto, "has_botorch", lambda: False)
        code, out, _ = world("check", world.write())
    assert code == 0
    why = "2 objectives, 2 genes, 260 trials, BoTorch is missing: long enough"
    assert f"auto takes dirichlet: {why}" in out
    changed = ("--set", "budget.trials=8", "--set", "search.optimizer=auto")
    foretold = world("check", world.write(), *changed)[1].split("auto takes ")[1].splitlines()[0]
    assert "2 objectives, 2 genes, 8 trials" in foretold
    code, _, err = world.run(*changed)
    assert code == 0
    assert f"auto: {foretold}" in err


def test_a_budget_that_determines_no_quadratic_is_refused_before_anything_is_written(world):
    world.study |= {"search": {"optimizer": "map"}, "budget": {"trials": 20}}
    code, _, err = world.run()
    assert code == 2
    assert "search: optimizer: 'map' fits 6 coefficients in 2 genes and a budget of 20" in err
    assert not (world.folder / "run").exists()


def test_status_shows_what_auto_chose_however_much_was_said_since(world, monkeypatch):
    monkeypatch.setattr(auto, "has_botorch", lambda: False)
    world.study |= {"search": {"optimizer": "auto"}, "budget": {"trials": 30}}
    for name in ("l1_distance", "delta_sparsity"):
        world.study["objectives"][name] = {"fitness": name, "goal": "minimize"}
    assert world.run()[0] == 0
    notes = json.loads(world("status", "run", "--json")[1])["notes"]
    assert notes[0].startswith("auto: map: 4 objectives, 2 genes, 30 trials")
    assert len(notes) > LAST_NOTES + 1
    shown = world("status", "run")[1].split("  notes     ")[1].splitlines()
    assert shown[0] == notes[0]
    hidden = len(notes) - LAST_NOTES - 1
    assert shown[1].strip() == f"({hidden} more; --json has all)"
    assert [line.strip() for line in shown[2 : 2 + LAST_NOTES]] == notes[-LAST_NOTES:]
