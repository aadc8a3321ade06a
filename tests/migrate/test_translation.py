"""Configurations of mergekit-evolve as studies, against mergekit's own reading of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.migrate.options import read_command
from evomerge.migrate.translation import translate
from evomerge.optimizers import Combination
from evomerge.study import read_study
from evomerge.types import Objective

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # upstream's own, while it is imported
    pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
    from mergekit.evo.config import EvolMergeConfiguration

EXAMPLE = """\
genome:
  models:
    - org/base
    - org/math
    - org/code
  merge_method: dare_ties
  base_model: org/base
  layer_granularity: 8
tasks:
  - name: arithmetic
    weight: 2
  - qa
limit: 50
num_fewshot: 5
"""


def study_of(text, line="", **keys):
    """Translate, and read the study as a run would."""
    _, options = read_command(line.split())
    found = translate(text, Path("evolve.yml"), options, **keys)
    return read_study(found.study, "study"), found


def changed(**keys):
    """The example with other keys; of the genome where it has them."""
    data = yaml.safe_load(EXAMPLE)
    for key, value in keys.items():
        (data if key in EvolMergeConfiguration.model_fields else data["genome"])[key] = value
    return yaml.safe_dump(data, sort_keys=False)


def test_the_example():
    study, found = study_of(EXAMPLE)
    assert study.name == "evolve"
    assert (study.models.base, study.models.donors) == (
        "org/base",
        {"math": "org/math", "code": "org/code"},
    )
    assert study.dtype == "bfloat16"
    assert study.space == {
        "genome": "mergekit-evolve",
        "merge_method": "dare_ties",
        "models": ["base", "math", "code"],
        "layer_granularity": 8,
        "range": [-1024.0, 1024.0],
    }
    objective = study.objectives["arithmetic"]
    assert (objective.fitness, objective.metric, objective.goal, objective.limit) == (
        "lm_eval",
        "acc,none",
        "maximize",
        50,
    )
    assert objective.arguments == {
        "tasks": ["arithmetic"],
        "num_fewshot": 5,
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
    }
    assert study.search.scalarize.weights == {"arithmetic": 2.0, "qa": 1.0}
    assert (study.seed, study.budget.trials, study.budget.hours) == (0, 100, None)
    assert not found.refused


def test_options_become_keys(tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    study, found = study_of(
        EXAMPLE,
        f"--max-fevals 200 --random-seed 7 --timeout 5400 --num-gpus 3 --batch-size 16 --vllm "
        f"--sigma0 0.25 --force-population-size 12 --task-search-path {tasks} --load-in-8bit "
        "--trust-remote-code",
    )
    assert (study.budget.trials, study.budget.hours, study.seed) == (200, 1.5, 7)
    assert study.workers.count == 3
    assert study.search.arguments["sigma0"] == 0.25
    assert study.search.arguments["population"] == 12
    for objective in study.objectives.values():
        arguments = objective.arguments
        assert (arguments["batch_size"], arguments["engine"]) == (16, "vllm")
        assert arguments["include_path"] == str(tasks)
    assert [note.subject for note in found.refused] == ["--load-in-8bit", "--trust-remote-code"]
    assert "# Refused: --load-in-8bit" in found.study


@pytest.mark.parametrize(
    ("line", "callbacks"),
    [
        ("--wandb", [("wandb", {"project": "mergekit-evolve"})]),
        (
            "--wandb --wandb-project p --wandb-entity e",
            [("wandb", {"project": "p", "entity": "e"})],
        ),
        ("--no-wandb --wandb-project p", []),  # a project alone logs nothing there either
    ],
)
def test_wandb_is_a_callback(line, callbacks):
    study, found = study_of(EXAMPLE, line)
    assert [(one.callback, one.arguments) for one in study.callbacks] == callbacks
    (said,) = {note.state for note in found.notes if note.subject.startswith("--wandb")}
    assert said == ("kept" if callbacks else "idle")


def test_every_key_and_option_has_its_note():
    text = changed(shuffle=True, random_init=True, tokenizer_source="union", surprise=1)
    _, found = study_of(text, "--wandb --wandb-project p -s serial --no-reshard --in-memory")
    subjects = [note.subject for note in found.notes]
    data = yaml.safe_load(text)
    for key in data["genome"]:
        assert f"genome.{key}" in subjects
    for key in ("limit", "num_fewshot", "shuffle", "random_init"):
        assert key in subjects
    for option in ("--wandb", "--wandb-project p", "--strategy serial", "--no-reshard"):
        assert option in subjects
    unknown = [note for note in found.notes if note.state == "unknown"]
    assert [note.subject for note in unknown] == ["genome.surprise"]


weight = st.one_of(st.integers(-3, 3), st.floats(-5, 5, allow_subnormal=False))
task = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b:x/y", "c"])},
    optional={"weight": weight, "metric": st.sampled_from(["acc,none", "exact_match,strict"])},
)


@given(
    tasks=st.lists(st.one_of(task, st.sampled_from(["a", "d"])), min_size=1, max_size=5),
    data=st.data(),
)
def test_what_is_minimised_is_their_sum(tasks, data):
    """Of any metrics, minus mergekit's score up to one positive factor."""
    config = EvolMergeConfiguration.model_validate(
        {"genome": {"models": ["m", "n"], "merge_method": "linear"}, "tasks": tasks}
    )
    sums: dict = {}
    for one in config.tasks:
        sums[one.name, one.metric] = sums.get((one.name, one.metric), 0) + one.weight
    genome = {"models": ["org/math", "org/code"], "merge_method": "linear"}
    text = yaml.safe_dump({"genome": genome, "tasks": tasks})
    if not any(sums.values()):
        with pytest.raises(ConfigError, match=r"^evolve.yml:\d+: tasks: all weights are 0"):
            study_of(text)
        return
    study, _ = study_of(text)
    results = {key: data.draw(st.floats(-2, 2)) for key in sums}
    score = sum(results[one.name, one.metric] * one.weight for one in config.tasks)
    costs = [
        Objective(name, one.goal).cost(results[one.arguments["tasks"][0], one.metric])
        for name, one in study.objectives.items()
    ]
    if len(costs) == 1:
        factor, cost = abs(sum(sums.values())), costs[0]
    else:
        weights = study.search.scalarize.weights
        combination = Combination.of(len(costs), "weighted", list(weights.values()))
        factor, cost = sum(map(abs, sums.values())), combination.cost(costs)
    assert factor * cost == pytest.approx(-score, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("keys", "base", "models", "with_base"),
    [
        ({"models": ["o/a", "o/b"], "base_model": "o/c"}, "o/c", ["a", "b"], None),
        ({"models": ["o/a", "o/b"], "base_model": "o/b"}, "o/b", ["a", "base"], None),
        (
            {"models": ["o/a", "o/b"], "base_model": None, "merge_method": "linear"},
            "o/a",
            ["base", "b"],
            None,
        ),
        (
            {"models": ["o/a", "o/b"], "base_model": "o/b", "merge_method": "slerp"},
            "o/b",
            ["a", "base"],
            True,
        ),
        ({"models": ["o/x", "p/x", "q/base"]}, "org/base", ["x", "x-2", "base-2"], None),
        (
            {"models": ["o/m+l/math@v2", {"model": {"path": "o/m", "revision": "r1"}}]},
            "org/base",
            ["math", "m"],
            None,
        ),
    ],
)
def test_models_and_base(keys, base, models, with_base):
    study, _ = study_of(changed(**keys))
    assert study.models.base == base
    assert study.space["models"] == models
    assert study.space.get("base_model") == with_base
    assert set(study.models.donors) == set(models) - {"base"}
    if "math" in models:
        assert study.models.donors == {"math": "o/m+l/math@v2", "m": "o/m@r1"}


def test_an_unknown_method_is_told_each_choice_once():
    with pytest.raises(ConfigError) as caught:
        study_of(changed(merge_method="zzz"))
    (line,) = caught.value.problems
    assert [line.count(f"'{name}'") for name in ("linear", "ties", "slerp", "zzz")] == [1] * 4
    assert "valid:" not in line
    with pytest.raises(ConfigError, match="did you mean 'dare_ties'"):
        study_of(changed(merge_method="dare_tie"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("union", "union"),
        ("base", "base"),
        ("org/math", "math"),
        ("org/base", "base"),
        ("o/t",) * 2,
    ],
)
def test_tokenizer_source(source, expected):
    study, _ = study_of(changed(tokenizer_source=source))
    assert study.space["tokenizer_source"] == expected


def test_relative_paths_start_where_mergekit_starts_them(tmp_path, monkeypatch):
    here, there, out = (tmp_path / name for name in ("here", "there", "out"))
    for folder in (here / "a", there / "a", there / "b"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    text = changed(models=["a", "./b", str(there / "b")], base_model="org/base")
    _, options = read_command([])
    near = translate(text, there / "evolve.yml", options, folder=out)
    study = read_study(near.study, "study")
    assert study.models.donors == {"a": "../here/a", "b": "../there/b", "b-2": str(there / "b")}
    full = read_study(translate(text, there / "evolve.yml", options).study, "study")
    assert full.models.donors["a"] == str(here / "a")


def test_a_second_folder_of_tasks_is_refused_by_name():
    study, found = study_of(EXAMPLE, "--task-search-path /one --task-search-path /two")
    assert study.objectives["qa"].arguments["include_path"] == "/one"
    assert [note.subject for note in found.refused] == ["--task-search-path /two"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"merge_method": "dare_linear"}, "evolve.yml:6: genome.merge_method: "),
        ({"models": ["org/base"]}, "genome.models: there is nothing to merge"),
        ({"models": ["o/a", "o/a"]}, "genome.models[1]: 'o/a' is listed twice"),
        ({"models": ["o/a+b+c"]}, "genome.models[0]: expected path[@revision]"),
        (
            {"models": [{"model": "o/a", "override_architecture": "X"}]},
            "override_architecture: the architecture is the checkpoint's",
        ),
        (
            {"merge_method": "linear", "base_model": "o/c"},
            "would merge the base as one more input of linear",
        ),
        ({"merge_method": "slerp", "base_model": None, "filters": ["mlp"]}, "takes no 'filters'"),
        (
            {"merge_method": "slerp", "base_model": None, "filters": ["mlp"], "smooth": True},
            "slerp takes no 'smooth' and no 'filters'; remove them",
        ),
        ({"base_model": None}, "genome.base_model: dare_ties needs one"),
        ({"limit": "many"}, "limit: expected an integer, got 'many'"),
        ({"tasks": []}, "evolve.yml:9: tasks: the list is empty"),
    ],
)
def test_what_cannot_be_translated_is_named_with_its_line(keys, message):
    with pytest.raises(ConfigError) as caught:
        study_of(changed(**keys))
    assert message in caught.value.problems[0]
    assert caught.value.problems[0].startswith("evolve.yml:")


@given(
    st.fixed_dictionaries(
        {"tasks": st.just(["t"])},
        optional={
            "limit": st.one_of(st.none(), st.integers(1, 9), st.just("7")),
            "num_fewshot": st.one_of(st.none(), st.integers(0, 9)),
            "shuffle": st.booleans(),
            "random_init": st.sampled_from([True, False, "yes", 0]),
            "apply_chat_template": st.booleans(),
            "fewshot_as_multiturn": st.booleans(),
        },
    )
)
def test_the_top_keys_mean_what_mergekit_reads(keys):
    text = changed(**keys)
    for key in ("limit", "num_fewshot"):
        if key not in keys:
            text = yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != key})
    theirs = EvolMergeConfiguration.model_validate(yaml.safe_load(text))
    study, _ = study_of(text)
    objective = study.objectives["t"]
    assert objective.limit == theirs.limit
    for key in ("num_fewshot", "apply_chat_template", "fewshot_as_multiturn"):
        assert objective.arguments.get(key) == getattr(theirs, key)
    assert study.space.get("random_init", False) == theirs.random_init
