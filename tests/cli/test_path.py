"""The whole path, as a user types it."""

import csv
import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge.journal import Journal, read_events


def test_from_study_to_front_export_and_checkpoint(world):
    code, out, err = world("check", world.write())
    assert (code, err) == (0, "")
    assert "genes       2" in out
    code, out, err = world.run()
    assert code == 0, err
    assert "evomerge front" in out

    code, out, _ = world("status", "run", "--json")
    status = json.loads(out)
    assert (status["finished"], status["failed"], status["sessions"]) == (12, 0, 1)

    code, out, _ = world("front", "run")
    assert code == 0
    for name in ("trial", "base", "donor:first", "donor:second", "uniform", "single-lambda 0.5"):
        assert name in out
    code, out, _ = world("front", "run", "--json")
    assert code == 0
    members = json.loads(out)["front"]
    assert 1 <= len(members) <= 3
    assert all(row["holdout"] for row in members)

    code, out, err = world("export", "front", "--run", "run")
    assert (code, err) == (0, "")
    exported = sorted(path.name for path in (world.folder / "front").iterdir())
    assert {"front.csv", "front.png", "front.html", "README.md"} <= set(exported)
    recipes = sorted((world.folder / "front").glob("trial-*/recipe.yaml"))
    assert len(recipes) == len(members)
    assert all((path.parent / "mergekit.yaml").exists() for path in recipes)
    with (world.folder / "front/front.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(members) + 5

    code, out, err = world("merge", recipes[0], "merged")
    assert (code, err) == (0, "")
    number = int(recipes[0].parent.name.removeprefix("trial-"))
    code, out, err = world("export", "direct", "--trial", number, "--run", "run")
    assert (code, err) == (0, "")
    loaded = [
        AutoModelForCausalLM.from_pretrained(world.folder / name).state_dict()
        for name in ("merged", "direct")
    ]
    assert all(torch.equal(loaded[0][name], loaded[1][name]) for name in loaded[0])
    tokenizer = AutoTokenizer.from_pretrained(world.folder / "merged")
    assert tokenizer.decode(tokenizer("say 1:", add_special_tokens=False).input_ids) == "say 1:"


def test_same_seed_same_journal_and_another_seed_another(world):
    outcomes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        code, _, err = world("run", world.write(), "--out", name, "--set", f"seed={seed}")
        assert code == 0, err
        outcomes.append([e.content for e in read_events(world.folder / name)[1:]])
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] != outcomes[2]


def test_two_worker_processes_find_the_same_front_as_one(world):
    fronts = []
    for name, count in (("one", 1), ("two", 2)):
        world.study["workers"] = {"count": count, "threads": 1}
        code, _, err = world("run", world.write(), "--out", name)
        assert code == 0, err
        fronts.append(json.loads(world("front", name, "--json")[1]))
    assert fronts[0] == fronts[1]


def test_resume_with_more_budget_continues_the_same_search(world):
    world.study["budget"] = {"trials": 18}
    code, _, err = world.run()
    assert code == 0, err
    world.study["budget"] = {"trials": 12}
    code, _, err = world("run", world.write(), "--out", "short")
    assert code == 0, err
    code, out, err = world("resume", "short", "--add", "trials=6")
    assert code == 0, err
    searched = [
        [e.content for e in read_events(world.folder / name) if e.kind in {"asked", "finished"}]
        for name in ("run", "short")
    ]
    assert searched[0] == searched[1]
    code, out, _ = world("resume", "short")
    assert (code, "done" in out) == (0, True)


def test_scalar_search_over_several_objectives_is_an_explicit_choice(world):
    world.study["search"] = {"optimizer": "cma_es"}
    code, _, err = world("check", world.write())
    assert code == 2
    assert "scalarize: mean" in err
    world.study["search"] = {"optimizer": "cma_es", "scalarize": "mean"}
    code, _, err = world.run()
    assert code == 0, err


@pytest.mark.parametrize("optimizer", ["random", "sobol"])
def test_baseline_optimizers_run(world, optimizer):
    world.study["search"] = {"optimizer": optimizer}
    assert world.run()[0] == 0


def test_a_fitness_that_raises_on_one_candidate_costs_that_candidate_only(world):
    (world.folder / "mine.py").write_text(
        "def score(model):\n"
        "    weight = model.recipe.models[0].parameters['weight']\n"
        "    if weight == 1.0:\n"
        "        raise RuntimeError('this one is cursed')\n"
        "    return weight\n"
    )
    world.study["objectives"]["near"] = {"fitness": "./mine.py:score"}
    code, _, err = world.run()
    assert code == 0, err
    status = json.loads(world("status", "run", "--json")[1])
    assert (status["finished"], status["failed"], status["retried"]) == (12, 1, 1)
    assert "error: objective 'near': RuntimeError: this one is cursed" in status["failures"]


def test_ten_line_fitness_with_arguments_and_per_example_scores(world):
    (world.folder / "mine.py").write_text(
        "from evomerge.fitness import FitnessResult\n\n\n"
        "class Longer:\n"
        "    def __init__(self, than: int = 3):\n"
        "        self.than = than\n\n"
        "    def __call__(self, model):\n"
        "        texts = model.generate([i['prompt'] for i in model.items], max_new_tokens=5)\n"
        "        scores = {i: float(len(t) > self.than) for i, t in zip(model.item_ids, texts)}\n"
        "        return FitnessResult({'share': sum(scores.values()) / len(scores)}, scores)\n"
    )
    world.study["objectives"]["longer"] = {
        "fitness": "./mine.py:Longer",
        "than": 2,
        "search": "search.jsonl",
        "holdout": "holdout.jsonl",
    }
    code, _, err = world.run()
    assert code == 0, err
    world.study["objectives"]["longer"]["then"] = 2
    code, _, err = world("check", world.write())
    assert code == 2
    assert "then" in err
    assert "than" in err


def test_init_writes_a_study_that_runs_from_relative_paths(world):
    for name in ("base", "first"):
        (world.folder / name).symlink_to(world.models / name)
    code, _, err = world("init", "mine", "--base", "./base", "--donor", "a=first")
    assert code == 0, err
    code, _, err = world("check", "mine/study.yaml")
    assert code == 0, err
    study = yaml.safe_load((world.folder / "mine/study.yaml").read_text())
    assert study["name"] == "mine"
    sets = ("--set", "budget.trials=5", "--set", "workers={backend: inline, threads: 1}")
    code, _, err = world("run", "mine/study.yaml", "--out", "run", *sets)
    assert code == 0, err
    assert world("init", "mine")[0] == 2


def test_init_without_models_is_a_study_of_the_zoo(world):
    code, _, err = world("init", "zoo")
    assert code == 0, err
    code, _, err = world("check", "zoo/study.yaml")
    assert code == 0, err


def test_status_knows_running_from_ended_and_budgets_that_grew(world):
    assert world.run()[0] == 0
    status = json.loads(world("status", "run", "--json")[1])
    assert (status["state"], status["budget"]["trials"]) == ("done", 12)
    with Journal(world.folder / "run"):
        assert json.loads(world("status", "run", "--json")[1])["state"] == "running"
    code, _, err = world("resume", "run", "--add", "trials=3")
    assert code == 0, err
    status = json.loads(world("status", "run", "--json")[1])
    assert (status["state"], status["finished"]) == ("done", 15)
    assert status["budget"]["trials"] == 15


@pytest.mark.parametrize(
    ("budget", "words"),
    [({"gpu_hours": 1}, "no worker holds a GPU"), ({"deadline": "2020-01-01T00:00Z"}, "is over")],
)
def test_check_refuses_a_budget_that_run_would_refuse(world, budget, words):
    world.study["budget"] |= budget
    code, _, err = world("check", world.write())
    assert code == 2
    assert words in err


def test_every_kind_of_budget_is_checked_used_and_added_to(world):
    world.study["budget"] |= {
        "hours": 5,
        "deadline": "2099-01-01T07:30Z",
        "money": 1000,
        "price": {"per_worker_hour": 2},
        "stagnation": {"trials": 50, "min_gain": 0.5},
    }
    world.study["callbacks"] = [{"callback": "./mine.py:show"}]
    world.study["notify"] = {"url": "https://chat.example/T0PS3CRET"}
    (world.folder / "mine.py").write_text(
        "def show(trial):\n    open('shown', 'a').write(f'{trial.number}\\n')\n"
    )
    code, out, err = world("check", world.write())
    assert code == 0, err
    limits = "12 trials, 5 hours, deadline 2099-01-01T07:30Z, 1000 spent, 50 trials without a gain"
    assert limits in out
    assert "callbacks   ./mine.py:show" in out
    assert "notify      https://chat.example/… on finish and failure" in out
    world.study["notify"]["url"] = "${NOWHERE}"
    code, out, err = world.run()
    assert code == 0, err
    assert "done (budget: 12 trials)" in out
    assert (
        f"more of the same search: evomerge resume {world.folder / 'run'} --add trials=100" in out
    )
    assert err.count("the environment variable NOWHERE is not set") == 2
    assert len((world.folder / "shown").read_text().split()) == 12
    code, out, _ = world("status", "run")
    assert "budget    12 of 12 trials" in out
    assert " of 5 hours" in out
    assert "of 50 trials without a gain above 0.5" in out
    assert "worker-hours, 0 GPU-hours" in out
    assert "stopped   budget: 12 trials; more: evomerge resume run --add trials=100" in out
    status = json.loads(world("status", "run", "--json")[1])
    assert status["used"]["trials"] == 12
    assert 0 < status["used"]["hours"] < 5
    assert status["used"]["money"] == pytest.approx(2 * status["worker_s"] / 3600)
    code, out, err = world("resume", "run", "--add", "trials=2", "--add", "hours=4", "--json")
    assert code == 0, err
    assert json.loads(out)["budget"] == "trials"
    status = json.loads(world("status", "run", "--json")[1])
    assert (status["budget"]["trials"], status["budget"]["hours"]) == (14, 9)
    assert world("report", "run")[0] == 0
    page = (world.folder / "report/report.html").read_text()
    assert "The search is over (budget: 14 trials)." in page


def test_the_latest_run_is_the_one_written_to_last(world):
    for name in ("a", "b"):
        assert world("run", world.write(), "--out", f"runs/{name}")[0] == 0
    with Journal(world.folder / "runs/a") as journal:
        journal.append("extended", {"budget": {"trials": 12, "hours": None}})
        assert json.loads(world("status", "--json")[1])["run"] == "runs/a"


def test_editing_the_space_file_later_changes_nothing_that_was_found(world):
    space = world.folder / "space.yaml"
    text = "merge_method: ties\nparameters: {density: 0.3}\ngenes: {weight: {range: [0.0, 1.5]}}\n"
    space.write_text(text)
    world.study["space"] = "space.yaml"
    assert world.run()[0] == 0
    before = json.loads(world("front", "run", "--json")[1])
    space.write_text(text.replace("0.3", "0.9"))
    assert json.loads(world("front", "run", "--json")[1]) == before
    code, _, err = world("resume", "run", "--add", "trials=2")
    assert code == 0, err
    after = json.loads(world("front", "run", "--json")[1])
    kept = {row["fingerprint"] for row in before["front"]} & {
        row["fingerprint"] for row in after["front"]
    }
    assert kept


def test_a_scoring_that_failed_is_tried_again_by_the_next_session(world):
    (world.folder / "mine.py").write_text(
        "from pathlib import Path\n\n\n"
        "def score(model):\n"
        "    if model.split == 'holdout' and not Path('mended').exists():\n"
        "        raise OSError('no such disk')\n"
        "    return float(len(model.items))\n"
    )
    items = {"search": "search.jsonl", "holdout": "holdout.jsonl"}
    world.study["objectives"]["near"] = {"fitness": "./mine.py:score", **items}
    code, _, err = world.run()
    assert code == 0, err
    rows = json.loads(world("front", "run", "--json")[1])["front"]
    assert all(row["holdout"] is None for row in rows)
    (world.folder / "mended").touch()
    code, _, err = world("resume", "run")
    assert code == 0, err
    rows = json.loads(world("front", "run", "--json")[1])["front"]
    assert all(row["holdout"]["near"]["score"] == 3.0 for row in rows)
