"""What is wrong with stages is told before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from evomerge.errors import ConfigError
from evomerge.study import load_study
from evomerge.study.config import StudyConfig
from evomerge.study.problems import Problems
from tests.study.fakes import STAGES, context_of, rehearsed, staged_config

GOOD = """\
name: demo
models:
  base: ./base
  donors: {math: ./math, ja: ./ja}
objectives:
  one: {fitness: exact_match, search: a.jsonl}
  two: {fitness: exact_match, search: b.jsonl}
stages:
  - name: parameters
    space: task_arithmetic
    trials: 30
  - name: layers
    space: depthwise
    trials: 20
    take: {merged: {stage: parameters, pick: front, count: 4}}
    donors: [merged, ja]
  - name: again
    space: task_arithmetic
    search: {optimizer: cma_es, scalarize: mean}
    trials: 10
    through: {stage: layers, pick: knee}
budget: {hours: 9}
"""


def load(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study(path, overrides)


def test_stages_are_read_and_their_trials_add_up(tmp_path):
    study = load(tmp_path, GOOD)
    assert [stage.name for stage in study.plan] == ["parameters", "layers", "again"]
    assert study.plan[1].take["merged"].count == 4
    assert study.plan[2].search.optimizer == "cma_es"
    assert study.limits.model_dump(exclude_none=True) == {"trials": 60, "hours": 9.0}


def test_overrides_reach_into_the_list_of_stages(tmp_path):
    study = load(tmp_path, GOOD, "stages.0.trials=5", "stages.1.take.merged.count=2")
    assert study.plan[0].trials == 5
    assert study.plan[1].take["merged"].count == 2
    for override in ("stages.3.trials=5", "stages.layers.trials=5"):
        with pytest.raises(ConfigError, match="no entry of the list, which has 0 to 2"):
            load(tmp_path, GOOD, override)


def test_a_study_without_stages_is_one_stage(tmp_path):
    text = GOOD[: GOOD.index("stages:")] + "space: ties\nbudget: {trials: 7}\n"
    (whole,) = load(tmp_path, text).plan
    assert (whole.name, whole.space, whole.trials) == ("", "ties", 7)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("{stage: layers", "{stage: layer", 21, "did you mean 'layers'?"),
        ("{stage: parameters", "{stage: again", 15, "does not come before this one"),
        ("{stage: parameters", "{stage: layers", 15, "does not come before this one"),
        ("{merged:", "{ja:", 15, "has a donor 'ja' already"),
        ("{merged:", "{uniform:", 15, "evomerge's own"),
        ("[merged, ja]", "[merged, jp]", 16, "no donor 'jp'; did you mean 'ja'?"),
        ("[merged, ja]", "[ja]", 15, "not among the donors"),
        ("[merged, ja]", "[merged, ja, ja]", 16, "twice"),
        ("[merged, ja]", "[]", 16, "at least one donor"),
        ("name: again", "name: layers", 17, "named 'layers' already"),
        ("    trials: 10\n", "", 17, "stage 'again': give trials"),
        ("front, count: 4", "front", 15, "give count"),
        ("pick: knee", "pick: knee, count: 2", 21, "remove count"),
        ("count: 4", "count: 21", 15, "21 members share 20 trials"),
        ("{hours: 9}", "{hours: 9, trials: 5}", 22, "belong to each stage"),
        ("budget:", "space: ties\nbudget:", 22, "move it into the stages"),
        ("budget:", "search: {optimizer: nsga2}\nbudget:", 22, "move it into the stages"),
        ("scalarize: mean", "scalarize: {method: weighted, weights: {oen: 1}}", 19, "one, two"),
    ],
)
def test_one_line_with_file_and_place(tmp_path, old, new, line, words):
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    (problem,) = [one for one in caught.value.problems if words in one]
    assert problem.startswith(f"{tmp_path / 'study.yaml'}:{line}: "), problem


def test_no_stage_and_nothing_to_search(tmp_path):
    head = GOOD[: GOOD.index("stages:")]
    for rest, words in (
        ("stages: []\n", "at least one stage"),
        ("budget: {trials: 5}\n", "give 'space'"),
        ("space: ties\n", "give 'budget'"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(tmp_path, head + rest)


def test_one_objective_has_a_best_and_no_front(tmp_path):
    text = GOOD.replace("  two: {fitness: exact_match, search: b.jsonl}\n", "")
    text = text.replace("scalarize: mean", "sigma: 0.2")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert len(caught.value.problems) == 2
    assert "pick 'front' needs several objectives" in caught.value.problems[0]


def test_two_fronts_at_once_are_refused():
    front = {"stage": "parameters", "pick": "front", "count": 2}
    layers = {**STAGES[1], "take": {"merged": front, "other": front}}
    with pytest.raises(ValueError, match="the front of one stage"):
        staged_config(STAGES[0], {**layers, "donors": ["merged", "other"]})


def test_the_recorded_study_reads_back(tmp_path):
    study = load(tmp_path, GOOD)
    record = study.model_dump(mode="json", exclude={"space", "search"})
    assert StudyConfig.model_validate(record) == study


def told(*stages):
    study = staged_config(*stages)
    problems = Problems()
    rehearsed(study, Path("/study"), context_of(study), problems)
    return problems.lines


def test_weights_of_a_layer_path_are_not_mixed_and_through_is_named():
    mixed = {**STAGES[2], "take": {"deep": {"stage": "layers"}}}
    del mixed["through"]
    (line,) = told(*STAGES[:2], mixed)
    assert line.startswith("stages[2].take.deep: stage 'layers' finds layer paths")
    assert "through: {stage: layers}" in line


def test_through_needs_a_layer_path_and_a_merge_space():
    (line,) = told(STAGES[0], {**STAGES[2], "through": {"stage": "parameters"}})
    assert line.startswith("stages[1].through: stage 'parameters' finds merges")
    (line,) = told(*STAGES[:2], {**STAGES[2], "space": {"path": "depthwise"}})
    assert line.startswith("stages[2].through: ")
    assert "merge_method" in line


def test_a_later_stage_is_tried_before_the_first_begins():
    broken = {**STAGES[1], "space": {"path": "depthwise", "windw": 1}}
    (line,) = told(STAGES[0], broken, STAGES[2])
    assert line.startswith("stages[1].space: ")
    assert "window" in line
    search = {"optimizer": "nsga2", "popluation": 4}
    (line,) = told(*STAGES[:2], {**STAGES[2], "search": search})
    assert line.startswith("stages[2].search: popluation")


def test_paths_of_paths_are_searched():
    deeper = {**STAGES[1], "name": "deeper", "take": {"merged": {"stage": "layers"}}}
    assert told(*STAGES[:2], deeper) == []


JOINT = {
    "merge": {"merge_method": "task_arithmetic", "genes": {"weight": {"range": [0.0, 1.0]}}},
    "layers": {"path": "depthwise"},
}


def test_a_layer_path_is_not_merged_inside_a_joint_space():
    found = {"mixed": {"stage": "parameters"}}
    joint = {**STAGES[1], "name": "joint", "space": JOINT, "take": found, "donors": ["mixed", "b"]}
    assert told(STAGES[0], joint) == []  # what was taken is a merge
    taken = {"deep": {"stage": "layers"}, **found}
    joint = {**joint, "take": taken, "donors": ["b", "mixed", "deep"]}
    (line,) = told(*STAGES[:2], joint)
    assert line.startswith("stages[2].take.deep: stage 'layers' finds layer paths")


def test_no_merge_takes_the_place_of_a_layer_path():
    deeper = {**STAGES[1], "name": "deeper", "take": {"merged": {"stage": "layers"}}}
    again = {**STAGES[2], "through": {"stage": "deeper"}}
    (line,) = told(*STAGES[:2], deeper, again)
    assert line.startswith("stages[3].through: ")
    assert "a layer path itself" in line
    behind = {**deeper, "donors": ["b", "merged"]}
    assert told(*STAGES[:2], behind, again) == []


def test_no_merge_takes_the_place_of_a_model_of_another_depth():
    study = staged_config(
        {**STAGES[1], "take": {}, "donors": ["b"]}, {**STAGES[2], "donors": ["a"]}
    )
    problems = Problems()
    context = replace(context_of(study), depths={"b": 3})
    rehearsed(study, Path("/study"), context, problems)
    (line,) = problems.lines
    assert line.startswith("stages[1].through: the first model of the path has 3 layers")


@pytest.mark.parametrize("kind", ["depthwise", "slots"])
def test_limits_of_a_later_stage_hold_for_the_shortest_path_it_may_be_given(kind):
    layers = {**STAGES[1], "space": {"path": kind}}
    deeper = {**layers, "name": "deeper", "take": {"merged": {"stage": "layers"}}}
    deeper["space"] = {"path": "depthwise", "limits": {"min_hops": 3}}
    (line,) = told(STAGES[0], layers, deeper)
    assert line.startswith(
        "stages[2].space: cannot be built if stage 'layers' finds a path of 2 hops: "
    )
    assert "too few for min_hops 3; raise limits.min_hops there" in line
    layers["space"] = {"path": kind, "limits": {"min_hops": 3}}
    assert told(STAGES[0], layers, deeper) == []
    joint = {**layers, "space": {**JOINT, "layers": {"path": kind}}, "donors": ["mixed", "b"]}
    joint["take"] = {"mixed": {"stage": "parameters"}}
    (line,) = told(STAGES[0], joint, deeper)
    assert "finds a path of 2 hops" in line


def test_an_initial_point_that_means_nothing_is_told():
    (line,) = told({**STAGES[0], "space": "tests.study.fakes:aimless_space"})
    assert line.startswith("stages[0].space: its initial genotype means no recipe, ")
    assert "InvalidGenotype: weights sum to" in line
