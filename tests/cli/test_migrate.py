"""Configurations and command lines of mergekit-evolve, typed as they always were."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from evomerge.fitness.load import FITNESSES
from evomerge.journal import read_events
from evomerge.migrate.options import TABLE
from evomerge.recipe import files
from evomerge.recipe.fingerprint import rewritten
from evomerge.study import load_study
from tests.migrate import standin

INLINE = (
    "--set",
    "workers.backend=inline",
    "--set",
    "front.lambdas=[0.5]",
    "--set",
    "front.size=2",
)


@pytest.fixture
def old(world, monkeypatch):
    """A world with a configuration of mergekit-evolve in it."""
    monkeypatch.setitem(FITNESSES._builtins, "lm_eval", "tests.migrate.standin:LmEval")
    standin.ARGUMENTS.clear()
    world.evolve = {
        "genome": {
            "models": [str(world.models / "first"), str(world.models / "second")],
            "merge_method": "ties",
            "base_model": str(world.models / "base"),
            "layer_granularity": 1,
        },
        "tasks": [{"name": "qa", "weight": 2.0}, "recall"],
        "num_fewshot": 3,
    }
    world.path = world.folder / "evolve.yml"
    write(world)
    return world


def write(world):
    world.path.write_text(yaml.safe_dump(world.evolve, sort_keys=False))


def test_a_night_with_an_old_line(old):
    """From check to a merged checkpoint; what the run holds can be run again as it is."""
    line = "mergekit-evolve --max-fevals 9 -s pool ./evolve.yml --sigma0=0.2 --storage-path out"
    line = line.split()
    code, printed, remark = old("check", *line)
    assert code == 0
    assert "study 'evolve' is sound" in printed
    assert "genes       8: weight[first].layers[0:1]" in printed
    assert "a configuration of mergekit-evolve" in remark
    code, printed, _ = old("run", *line, "--batch-size", "4", *INLINE)
    assert code == 0, printed
    out = old.folder / "out"
    assert (out / "mergekit-evolve.yml").read_text() == old.path.read_text()
    kept = load_study(out / "study.yaml")
    assert kept.search.arguments["sigma0"] == 0.2
    assert (kept.budget.trials, kept.workers.backend) == (9, "inline")
    assert {one["batch_size"] for one in standin.ARGUMENTS} == {4}
    assert {one["num_fewshot"] for one in standin.ARGUMENTS} == {3}
    assert {one["apply_chat_template"] for one in standin.ARGUMENTS} == {True}

    report = json.loads(old("status", out, "--json")[1])
    assert (report["finished"], report["failed"]) == (9, 0)
    assert old("resume", out, "--add", "trials=2")[0] == 0
    assert json.loads(old("status", out, "--json")[1])["finished"] == 11
    assert old("front", out)[0] == 0
    assert old("export", "front", "--run", out)[0] == 0
    recipe = next((old.folder / "front").glob("trial-*/recipe.yaml"))
    exported = files.load(recipe)
    assert exported.compat == "mergekit-0.1.5"
    yaml_of_mergekit = files.load(recipe.with_name("mergekit.yaml"))
    assert unpinned(yaml_of_mergekit) == unpinned(exported)
    assert old("merge", recipe, "merged")[0] == 0

    code, _, _ = old("run", out / "study.yaml", "--out", "again")
    assert code == 0
    assert asked(old, "again", 9) == asked(old, "out", 9)


def unpinned(recipe):
    """Return a recipe whose models are named by their place alone, as mergekit names them."""
    plain = rewritten(recipe, lambda ref: ref.model_copy(update={"sha256": None}))
    return plain.model_copy(update={"seed": 0})


def asked(world, run, trials):
    """Return the first genotypes a run asked for."""
    events = [one for one in read_events(world.folder / run) if one.kind == "asked"]
    return [one.payload["genotype"] for one in events if one.trial < trials]


def test_a_slerp_of_changing_pairs_runs(old):
    old.evolve["genome"] |= {"merge_method": "slerp", "base_model": None}
    old.evolve["tasks"] = ["qa"]
    write(old)
    code, _, error = old("run", "evolve.yml", "--max-fevals", "8", *INLINE)
    assert code == 0, error
    report = json.loads(old("status", old.folder / "runs" / "evolve", "--json")[1])
    assert (report["finished"], report["failed"]) == (8, 0)


def test_migrate_writes_the_study_that_run_would_run(old):
    """Models are named from where the study stands."""
    old.evolve["genome"]["models"][0] = "./near"
    (old.folder / "near").symlink_to(old.models / "first")
    write(old)
    code, printed, _ = old("migrate", "evolve.yml", "--max-fevals", "7", "--out", "new/study.yaml")
    assert code == 0
    study = load_study(old.folder / "new" / "study.yaml")
    assert study.budget.trials == 7
    assert old("check", "new/study.yaml")[0] == 0
    for subject in ("genome.models", "task qa (acc,none)", "num_fewshot", "--max-fevals 7"):
        assert re.search(rf"^  {re.escape(subject)} +\S", printed, re.MULTILINE), subject
    assert "next: evomerge check new/study.yaml && evomerge run new/study.yaml" in printed
    code, _, error = old("migrate", "evolve.yml", "--out", "new/study.yaml")
    assert code == 2
    assert "new/study.yaml exists already" in error


def test_migrate_names_what_is_refused_and_run_does_not_begin(old):
    code, printed, _ = old("migrate", "evolve.yml", "--load-in-4bit", "--trust-remote-code")
    assert code == 0
    refused = printed.partition("refused, and what replaces it:")[2]
    assert "--load-in-4bit" in refused
    assert "--trust-remote-code" in refused
    code, _, error = old("run", "evolve.yml", "--load-in-4bit", "--trust-remote-code")
    assert code == 2
    assert len(error.splitlines()) == 2
    assert all("refused: " in line for line in error.splitlines())
    assert not (old.folder / "runs").exists()


def test_migrate_in_json(old):
    code, printed, _ = old("migrate", "evolve.yml", "--reshard", "--json")
    assert code == 0
    notes = {note["subject"]: note for note in json.loads(printed)["notes"]}
    assert notes["--reshard"]["state"] == "idle"
    assert notes["genome.merge_method"]["state"] == "kept"


def test_the_table_stands_in_the_help(old):
    printed = " ".join(old("migrate", "--help")[1].split())
    for option in TABLE:
        assert option.name in printed
        assert " ".join(option.becomes.split()[:3]) in printed


@pytest.mark.parametrize("verb", ["run", "check", "migrate"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evolve.yml", "--max-feval", "3"], "--max-feval: no such option"),
        (["evolve.yml", "other.yml"], "expected one file, got evolve.yml, other.yml"),
        (["--vllm"], "expected one file, got none"),
        (["evolve.yml", "--max-fevals", "x"], "--max-fevals: expected a whole number, got 'x'"),
        (["nowhere.yml", "--wandb"], "nowhere.yml"),
    ],
)
def test_lines_that_mean_nothing(old, verb, words, message):
    code, _, error = old(verb, *words)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_study_takes_no_options_of_mergekit_evolve(old):
    code, _, error = old("run", old.write(), "--max-fevals", "3")
    assert code == 2
    assert "--max-fevals: an option of mergekit-evolve, and " in error
    assert old("migrate", old.write())[0] == 2


def test_mistakes_are_told_with_the_line_of_the_old_file(old):
    old.evolve["genome"]["merge_method"] = "tiez"
    write(old)
    code, _, error = old("run", "evolve.yml")
    assert code == 2
    assert "evolve.yml:5: genome.merge_method: " in error
    assert "did you mean 'ties'?" in error


def test_what_is_no_yaml_is_told_with_its_line(old):
    (old.folder / "evolve.yml").write_text("genome:\n  models: [a, b\ntasks: {\n")
    for verb in ("migrate", "check", "run"):
        code, _, error = old(verb, "evolve.yml")
        assert code == 2
        assert error.startswith("evomerge: evolve.yml:3: not YAML: ")
        assert len(error.splitlines()) == 1
    (old.folder / "evolve.yml").write_bytes(b"\xff\xfe")
    code, _, error = old("migrate", "evolve.yml")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "evolve.yml: cannot be read" in error


def test_an_override_stands_in_the_kept_study(old):
    assert old("run", "evolve.yml", "--out", "out", "--set", "budget.trials=3", *INLINE)[0] == 0
    assert load_study(old.folder / "out" / "study.yaml").budget.trials == 3
