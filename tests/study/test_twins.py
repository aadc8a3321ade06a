"""No recipe is evaluated twice, whoever asks for it again, and nothing else changes."""

from collections import Counter

import pytest

from evomerge.journal import read_events
from evomerge.recipe import Hop, LayerPath, ModelRef, Recipe, Source, fingerprint
from evomerge.study import open_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.course import Course
from evomerge.study.twins import Twins, key_of
from tests.study.fakes import (
    FakeExecutor,
    Interrupting,
    context_of,
    score,
    staged_config,
    without_models,
)

# a weight of 0.7 is in the region where scoring fails
COARSE = {
    "name": "coarse",
    "space": {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"choices": [0.0, 0.5, 0.7]}},
    },
    "search": {"optimizer": "random"},
    "trials": 40,
}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def start(out, executor):
    study = staged_config(COARSE, front={"baselines": ["donors"]})
    return start_run(study, out.parent, out, executor=lambda _: executor)


def outcomes(out):
    return {event.trial: event.payload for event in read_events(out) if event.kind == "finished"}


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_a_completed_recipe_is_evaluated_once_and_a_failed_one_each_time(tmp_path, capacity):
    run = tmp_path / "run"
    executor = FakeExecutor(capacity, seed=1)
    assert start(run, executor).state == "done"
    study, events = open_study(run)
    path = Course.of(study, events)
    recipes = {
        event.trial: path.decode(event.trial, tuple(event.payload["genotype"]))
        for event in events
        if event.kind == "asked"
    }
    names = {f"trial-{number:06d}": fingerprint(recipe) for number, recipe in recipes.items()}
    paid = Counter(
        names[job]
        for job, split, attempt in executor.evaluated
        if job in names and split == "search" and attempt == 0
    )
    found = outcomes(run)
    assert sorted(found) == list(range(40))
    for number, payload in found.items():
        expected = score(recipes[number])
        assert payload.get("metrics") == getattr(expected, "metrics", None)
        if "metrics" in payload:
            assert paid[fingerprint(recipes[number])] == 1
    twins = {
        number: payload["same_as"] for number, payload in found.items() if "same_as" in payload
    }
    assert len(twins) > 20
    first = {}
    for number in sorted(recipes):
        first.setdefault(fingerprint(recipes[number]), number)
    assert all(first[fingerprint(recipes[number])] == twin for number, twin in twins.items())
    for number, twin in twins.items():
        assert found[number]["examples"] == found[twin]["examples"]
    failed = [number for number, payload in found.items() if "failed" in payload]
    assert len(failed) > 5
    tried = {fingerprint(recipes[number]) for number in failed}
    assert sum(paid[key] for key in tried) == len(failed)


@pytest.mark.parametrize("at", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("capacity", [1, 4])
def test_interrupted_among_twins(tmp_path, at, capacity):
    whole, run = tmp_path / "whole", tmp_path / "run"
    start(whole, FakeExecutor(capacity))
    start(run, Interrupting(at, capacity=capacity))
    assert resume_run(run, executor=lambda _: FakeExecutor(capacity)).state == "done"
    assert outcomes(run) == outcomes(whole)
    if capacity == 1:
        content = [[event.content for event in read_events(out)[1:]] for out in (whole, run)]
        assert content[0] == content[1]


def recipe_of(weight):
    ref = ModelRef(path="/models/a")
    return Recipe(merge_method="linear", models=(Source(model=ref, parameters={"weight": weight}),))


def test_who_waits_and_who_is_next():
    twins = Twins(context_of(staged_config()))
    one, other = recipe_of(1), recipe_of(2)
    assert twins.claim(one, "", 0)
    assert twins.claim(one, "", 0)  # another attempt
    assert [twins.claim(one, "", trial) for trial in (1, 2, 3)] == [False] * 3
    assert twins.waiting == {1, 2, 3}
    assert twins.fail(one, "") == 1
    assert twins.claim(one, "", 1)
    assert twins.find(one, "") is None
    assert twins.complete(one, "", 1, {"metrics": {}}) == ([2, 3], [])
    assert twins.waiting == set()
    assert twins.find(one, "") == (1, {"metrics": {}})
    assert twins.find(one, "@validation") is None
    assert twins.fail(other, "") is None


def test_an_estimate_answers_for_nobody_who_must_be_measured():
    twins = Twins(context_of(staged_config()))
    one = recipe_of(1)
    guess, score = {"metrics": {}, "errors": {"acc": 0.1}}, {"metrics": {}}
    assert twins.claim(one, "", 0)
    assert not twins.claim(one, "", 1)
    assert not twins.claim(one, "", 2, measured=True)
    assert twins.complete(one, "", 0, guess) == ([1], [2])
    assert twins.find(one, "") == (0, guess)
    assert twins.find(one, "", measured=True) is None
    assert twins.claim(one, "", 2, measured=True)
    assert twins.complete(one, "", 2, score) == ([], [])
    assert twins.find(one, "") == twins.find(one, "", measured=True) == (2, score)
    twins.complete(one, "", 3, guess)
    assert twins.find(one, "") == (2, score)


def path_of(model, *hops):
    steps = tuple(Hop(model=m, layer=layer, scale=s) for m, layer, s in hops)
    return Recipe(
        merge_method="passthrough", models=(Source(model=model),), path=LayerPath(hops=steps)
    )


def test_a_path_through_all_of_a_recipe_is_that_recipe():
    context = context_of(staged_config())
    ref = ModelRef(path="/models/a")
    inner = Recipe(merge_method="linear", models=(Source(model=ref, parameters={"weight": 1}),))
    own = [(0, layer, 1.0) for layer in range(4)]
    key = fingerprint(inner)
    assert key_of(path_of(inner, *own), context) == key
    assert key_of(path_of(path_of(inner, *own), *own), context) == key
    others = [
        path_of(inner, *own[:3]),
        path_of(inner, *own[:3], (0, 3, 0.9)),
        path_of(inner, *own[:2], own[3], own[2]),
        path_of(inner, *own, own[3]),
        path_of(ref, *own),
        path_of(inner, *own).model_copy(update={"dtype": "float16"}),
    ]
    assert [key_of(one, context) for one in others] == [fingerprint(one) for one in others]
