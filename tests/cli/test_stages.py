"""A real study of several stages, from its file to a checkpoint that scores as it did."""

import json
import shutil

import pytest
import torch

from evomerge.recipe import ModelRef, Recipe, Source, load, native
from evomerge.study import open_study, prepare
from evomerge.study.course import Course
from evomerge.workers import Job
from evomerge.workers.evaluator import Evaluator

STAGES = [
    {
        "name": "parameters",
        "space": "task_arithmetic",
        "search": {"optimizer": "nsga2", "population": 4},
        "trials": 6,
    },
    {
        "name": "layers",
        "take": {"merged": {"stage": "parameters", "pick": "best"}},
        "donors": ["merged", "flip"],
        "space": "depthwise",
        "search": {"optimizer": "nsga2", "population": 4},
        "trials": 6,
    },
]


@pytest.fixture
def hybrid(world):
    """The world with a study of two stages over two zoo donors."""
    world.study = {
        "name": "hybrid",
        "seed": 1,
        "dtype": "float32",
        "models": {
            "base": "zoo:base",
            "donors": {"sort-up": "zoo:sort-up", "flip": "zoo:flip"},
        },
        "objectives": {
            "sort_up": {
                "fitness": "exact_match",
                "search": "zoo:sort_up.search.jsonl",
                "holdout": "zoo:sort_up.holdout.jsonl",
                "limit": 12,
            },
            "flip": {
                "fitness": "negative_log_likelihood",
                "search": "zoo:flip.search.jsonl",
                "holdout": "zoo:flip.holdout.jsonl",
                "limit": 12,
            },
        },
        "stages": STAGES,
        "workers": {"backend": "inline", "threads": 1},
        "front": {"size": 12, "lambdas": [0.5]},
    }
    return world


def test_two_stages_to_a_checkpoint_that_scores_as_it_did(hybrid):
    code, out, err = hybrid("check", hybrid.write())
    assert (code, err) == (0, "")
    assert "layers: " in out
    assert "merged = best of parameters" in out
    assert "12 trials" in out
    code, _, err = hybrid.run()
    assert code == 0, err
    assert "searching layers" in err

    status = json.loads(hybrid("status", "run", "--json")[1])
    assert status["stages"] == [
        {"stage": "parameters", "trials": 6, "finished": 6, "ended": "budget: 6 trials"},
        {"stage": "layers", "trials": 6, "finished": 6, "ended": None},
    ]
    assert (status["failed"], status["budget"]["trials"]) == (0, 12)
    assert 0 <= status["hops_reused"] < status["hops"]
    code, out, _ = hybrid("status", "run")
    assert "answered by the prefix cache" in out

    code, _, err = hybrid("export", "front", "--run", "run")
    assert code == 0, err
    rows = json.loads((hybrid.folder / "front/front.json").read_text())["front"]
    row = next(row for row in rows if row["stage"] == "layers")
    place = hybrid.folder / f"front/trial-{row['trial']:06d}"
    recipe = load(place / "recipe.yaml")
    assert recipe.path is not None
    assert isinstance(recipe.models[0].model, Recipe)
    assert (place / "mergekit.yaml").exists() != (place / "mergekit-refused.txt").exists()

    code, _, err = hybrid("merge", place / "recipe.yaml", "merged")
    assert code == 0, err
    study, _ = open_study(hybrid.folder / "run")
    torch.set_num_threads(1)
    evaluator = Evaluator(prepare(study.config, study.folder).evaluator)
    written = ModelRef(path=str(hybrid.folder / "merged"))
    alone = Recipe(merge_method="passthrough", models=(Source(model=written),))
    for split in ("search", "holdout"):
        found = evaluator.evaluate(Job("written", alone, split)).outcome.metrics
        scores = {name: score["score"] for name, score in row[split].items()}
        assert found == pytest.approx(scores, rel=1e-5)


def test_check_finds_what_is_wrong_with_a_later_stage(hybrid):
    hybrid.study["stages"] = [
        STAGES[0],
        {**STAGES[1], "donors": ["merged", "flipp"], "search": {"optimizer": "nsga22"}},
    ]
    code, _, err = hybrid("check", hybrid.write())
    assert code == 2
    assert "study.yaml:" in err
    assert "no donor 'flipp'; did you mean 'flip'?" in err
    hybrid.study["stages"][1]["donors"] = ["merged", "flip"]
    code, _, err = hybrid("check", hybrid.write())
    assert code == 2
    assert "stages[1].search: " in err
    assert "did you mean 'nsga2'?" in err


def test_a_fitness_without_a_meaning_for_paths_is_found_before_the_first_trial(hybrid):
    hybrid.study["objectives"]["flip"] = {"fitness": "l2_distance", "goal": "minimize"}
    code, _, err = hybrid.run()
    assert code == 2
    assert "the first layer path of stage 'layers' cannot be scored" in err
    assert not (hybrid.folder / "run").exists()


def test_donors_of_different_depth_are_searched_by_layers_only(world):
    stacked = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": str(world.models / "second")}],
            "path": {"hops": [[0, 0], [0, 1], [0, 1, 0.5]]},
        }
    )
    (world.folder / "recipe.yaml").write_text(native.dumps(stacked))
    code, _, err = world("merge", "recipe.yaml", "deep")
    assert code == 0, err
    world.study["models"]["donors"]["second"] = "./deep"
    code, _, err = world("check", world.write())
    assert code == 2
    assert "donor 'second' has 3 layers and the base 2" in err
    del world.study["objectives"]["near"]
    world.study["space"] = "layer_sequence"
    world.study["search"] = {"optimizer": "random"}
    code, _, err = world.run()
    assert code == 0, err
    rows = json.loads(world("front", "run", "--json")[1])
    assert {row["name"] for row in rows["baselines"]} == {"base", "donor:first", "donor:second"}
    code, _, err = world("resume", "run", "--add", "trials=2")
    assert code == 0, err


def test_a_limit_on_parameters_is_kept_and_read_back(hybrid):
    layers = {"path": "depthwise", "stack": 2, "scales": "none"}
    hybrid.study["stages"] = [
        {
            "name": "layers",
            "space": {**layers, "start": {"other": 0.9}},
            "search": {"optimizer": "random", "seeds": False},
            "trials": 4,
        }
    ]
    hybrid.study["front"]["baselines"] = []

    def longest():
        study, events = open_study(hybrid.folder / "run")
        path = Course.of(study, events)
        asked = [event for event in events if event.kind == "asked"]
        recipes = [path.decode(one.trial, tuple(one.payload["genotype"])) for one in asked]
        return max(len(recipe.path.hops) for recipe in recipes)

    assert hybrid.run()[0] == 0
    assert longest() > 5
    study, events = open_study(hybrid.folder / "run")
    assert "parameters" not in events[0].payload
    counts = prepare(study.config, study.folder).context.counts(study.context.base)
    limit = counts.outside + 5 * max(counts.layers)
    hybrid.study["stages"][0]["space"]["limits"] = {"max_parameters": limit}
    shutil.rmtree(hybrid.folder / "run")
    code, _, err = hybrid.run()
    assert code == 0, err
    assert longest() == 5
