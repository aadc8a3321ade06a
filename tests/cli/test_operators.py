"""Studies whose merge method is a gene, from their file to what is exported."""

import json

import pytest
import yaml

from evomerge.journal import read_events
from evomerge.recipe import load, mergekit
from evomerge.study import open_study
from evomerge.study.course import Course

METHODS = ("task_arithmetic", "ties", "dare_ties")
OPTIMIZERS = {
    "nsga2": {"optimizer": "nsga2", "population": 6},
    "tpe": {
        "optimizer": "optuna",
        "sampler": "tpe",
        "sampler_options": {"multivariate": True, "group": True, "n_startup_trials": 8},
    },
}


@pytest.fixture
def searching(world):
    world.study |= {"space": "operators", "budget": {"trials": 16}}
    world.study["front"] = {"lambdas": [0.5], "size": 8}
    return world


def genotypes(folder):
    return [event.payload["genotype"] for event in read_events(folder) if event.kind == "asked"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_search_over_methods_runs_resumes_and_exports(searching, optimizer):
    if optimizer == "tpe":
        pytest.importorskip("optuna")
    searching.study["search"] = OPTIMIZERS[optimizer]
    code, out, err = searching("check", searching.write())
    assert (code, err) == (0, "")
    assert "genes       7: method, " in out

    code, _, err = searching.run()
    assert code == 0, err
    whole = genotypes(searching.folder / "run")
    assert {genotype[0] for genotype in whole} == set(METHODS)
    # the same search in two parts
    code, _, err = searching("run", searching.write(), "--out", "parts", "--set", "budget.trials=9")
    assert code == 0, err
    code, _, err = searching("resume", "parts", "--add", "trials=7")
    assert code == 0, err
    assert genotypes(searching.folder / "parts") == whole

    status = json.loads(searching("status", "run", "--json")[1])
    assert (status["finished"], status["failed"]) == (16, 0)
    study, events = open_study(searching.folder / "run")
    course = Course.of(study, events)
    merged = {number: course.decode(number, tuple(g)) for number, g in enumerate(whole)}
    assert [merged[n].merge_method for n in merged] == [genotype[0] for genotype in whole]

    code, _, err = searching("export", "front", "--run", "run")
    assert code == 0, err
    rows = json.loads((searching.folder / "front/front.json").read_text())["front"]
    for row in rows:
        place = searching.folder / f"front/trial-{row['trial']:06d}"
        recipe = load(place / "recipe.yaml")
        assert recipe == merged[row["trial"]]
        written = (place / "mergekit.yaml").read_text()
        assert yaml.safe_load(written)["merge_method"] == recipe.merge_method
        assert mergekit.loads(written).merge_method == recipe.merge_method
    code, _, err = searching("merge", place / "recipe.yaml", "merged")
    assert code == 0, err
    code, _, err = searching("report", "run")
    assert code == 0, err
    code, _, err = searching("front", "run")
    assert code == 0, err


def test_check_tries_every_operator(searching):
    density = {"density": {"range": [0.1, 1.0]}}
    searching.study["space"] = {
        "operators": {
            "task_arithmetic": None,
            "slerp": {"genes": {"t": {"range": [0.0, 1.0]}}},
            "breadcrumbs": {"genes": density},
            "ties": {"parameters": {"rescale": "l3"}},
        },
        "genes": {"weight": {"range": [0.0, 1.0], "initial": "uniform"}},
    }
    code, _, err = searching("check", searching.write())
    assert code == 2
    assert "space.operators.breadcrumbs: " in err
    assert "space.operators.ties: parameter 'rescale'" in err
    assert "operators.slerp" not in err
    del searching.study["space"]["operators"]["task_arithmetic"]
    code, _, err = searching("check", searching.write())
    assert code == 2
    assert "operators: task_arithmetic must be among them" in err


def stages(second, **seeds):
    search = {"optimizer": "nsga2", "population": 6}
    return [
        {"name": "global", "space": "operators", "search": search, "trials": 12},
        {
            "name": "layers",
            "space": second,
            "seeds": {"stage": "global", **seeds},
            "search": search,
            "trials": 12,
        },
    ]


def test_what_a_search_over_methods_found_starts_one_by_layers(searching):
    for key in ("space", "search", "budget"):
        del searching.study[key]
    searching.study["stages"] = stages("operators_layerwise", pick="front", count=4)
    code, _, err = searching.run()
    assert code == 0, err
    events = read_events(searching.folder / "run")
    asked = {event.trial: event.payload for event in events if event.kind == "asked"}
    scores = {event.trial: event.payload["metrics"] for event in events if event.kind == "finished"}
    carried = {
        int(payload["origin"].removeprefix("seed:trial-")): trial
        for trial, payload in asked.items()
        if payload["origin"].startswith("seed:trial-")
    }
    assert carried
    for found, seed in carried.items():
        assert asked[found]["genotype"][0] == asked[seed]["genotype"][0]
        assert scores[seed] == pytest.approx(scores[found], rel=1e-6)


def test_seeds_that_the_next_space_may_not_express_are_refused_beforehand(searching):
    for key in ("space", "search", "budget"):
        del searching.study[key]
    searching.study["stages"] = stages("task_arithmetic_layerwise")
    code, _, err = searching("check", searching.write())
    assert code == 2
    assert "stages[1].seeds: a merge by ties is no linear combination" in err
    assert not (searching.folder / "run").exists()
