"""Runs of populations: lineages in the journal, resume, what is read of them, what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evomerge.errors import ConfigError, FitnessError
from evomerge.journal import read_events
from evomerge.optimizers import build_optimizer
from evomerge.recipe import Recipe, fingerprint, native
from evomerge.recipe.table import collapsed
from evomerge.report import collect_front
from evomerge.report.export import export_front
from evomerge.spaces import load_space, model_weights
from evomerge.spaces.populations import Offspring
from evomerge.study import open_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.course import Course
from evomerge.types import Completed, Failed
from tests.study import fakes
from tests.study.fakes import (
    LAYOUT,
    STAGES,
    FakeExecutor,
    Interrupting,
    config,
    context_of,
    staged_config,
    weights_of,
    without_models,
)

POPULATION = {"population": "task_vectors", "operator": "linear", "layout": "depth"}
M2N2 = {"optimizer": "m2n2", "archive_size": 6}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def score(recipe):
    """Score ten examples of each objective; each wants another share of the donors."""
    a, b = weights_of(recipe)
    if 0.48 < a < 0.5:
        return Failed("error", "ValueError: a bad region")
    wanted = np.linspace(0, 1, 10)
    one = {f"i{k}": float(abs(a - share) < 0.3) for k, share in enumerate(wanted)}
    two = {f"i{k}": abs(b - share) for k, share in enumerate(wanted)}
    metrics = {"one": sum(one.values()) / 10, "two": sum(two.values()) / 10}
    return Completed(metrics, {"one": one, "two": two})


@pytest.fixture(autouse=True)
def _examples(monkeypatch):
    monkeypatch.setattr(fakes, "score", score)


def study(**changes):
    return config(**{"space": POPULATION, "search": M2N2, "budget": {"trials": 30}} | changes)


def start(out, executor=None, settings=None):
    settings = settings or study()
    return start_run(settings, out.parent, out, executor=lambda _: executor or FakeExecutor())


def contents(out):
    kinds = {"asked", "finished", "staged", "stopped", "scored"}
    return [event.content for event in read_events(out) if event.kind in kinds]


def recipes(out):
    """The recipe of every trial, read from the journal alone."""
    outline, events = open_study(out)
    course = Course.of(outline, events)
    return {
        event.trial: course.decode(event.trial, tuple(event.payload["genotype"]))
        for event in events
        if event.kind == "asked"
    }


class Keeping(FakeExecutor):
    """Remembers the recipes it evaluated."""

    def __init__(self, **options):
        super().__init__(**options)
        self.recipes = {}

    def submit(self, job):
        if job.split == "search":
            self.recipes[job.id] = job.recipe
        super().submit(job)


@pytest.mark.parametrize("capacity", [1, 4])
def test_what_is_read_from_the_journal_is_what_was_evaluated(tmp_path, capacity):
    executor = Keeping(capacity=capacity, seed=2)
    assert start(tmp_path / "run", executor).state == "done"
    found = recipes(tmp_path / "run")
    assert len(found) == 30
    evaluated = {name: one for name, one in executor.recipes.items() if name.startswith("trial")}
    assert len(evaluated) > 20
    for name, recipe in evaluated.items():
        assert found[int(name[-6:])] == recipe


@pytest.mark.parametrize("at", [1, 7, 19, 33])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, at):
    start(tmp_path / "whole")
    ended = start(tmp_path / "run", Interrupting(at))
    while ended.state == "interrupted":
        ended = resume_run(tmp_path / "run", executor=lambda _: FakeExecutor())
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_run_with_several_workers_replays_in_the_recorded_order(tmp_path):
    out = tmp_path / "run"
    start(out, Interrupting(17, capacity=4, seed=5))
    before = contents(out)
    ended = resume_run(out, executor=lambda _: FakeExecutor(3, seed=9))
    assert ended.state == "done"
    assert contents(out)[: len(before)] == before
    assert len(recipes(out)) == 30


def test_a_budget_that_grows_changes_no_earlier_trial(tmp_path):
    out = tmp_path / "run"
    start(out)
    first = [event.content for event in read_events(out) if event.kind == "asked"]
    resume_run(out, add={"trials": 10}, executor=lambda _: FakeExecutor())
    asked = [event.content for event in read_events(out) if event.kind == "asked"]
    assert asked[:30] == first
    assert len(asked) == 40


def test_the_front_holds_whole_lineages_and_exports_them(tmp_path):
    start(tmp_path / "run")
    front = collect_front(tmp_path / "run")
    bred = [row for row in front.members if len(row.ancestry.lineage.nodes) > 1]
    assert bred
    for row in front.members:
        assert collapsed(row.ancestry.lineage) == row.recipe.lineage
    assert all(row.ancestry is None for row in front.baselines)
    export_front(front, tmp_path / "front", LAYOUT, "float32")
    for row in front.members:
        folder = tmp_path / "front" / f"trial-{row.trial:06d}"
        recipe = native.loads((folder / "recipe.yaml").read_text())
        assert fingerprint(recipe) == row.fingerprint
        assert native.loads((folder / "lineage.yaml").read_text()) == row.ancestry


def test_children_descend_from_trials_before_them(tmp_path):
    start(tmp_path / "run")
    asked = [event for event in read_events(tmp_path / "run") if event.kind == "asked"]
    assert [event.payload["genotype"] for event in asked[:2]] == [["donor", "a"], ["donor", "b"]]
    for event in asked[2:]:
        parents = Offspring.read(tuple(event.payload["genotype"])).parents
        assert all(parent < event.trial for parent in parents)


def without_examples(recipe):
    return replace(score(recipe), examples={"two": score(recipe).examples["two"]})


def test_a_fitness_without_example_scores_is_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(fakes, "score", without_examples)
    with pytest.raises(FitnessError, match=r"objective 'one': .*no score for each; return Fitness"):
        start(tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Drifting(FakeExecutor):
    """From the n-th evaluation on, scores an example under another id."""

    def __init__(self, first, **options):
        super().__init__(**options)
        self._first = first

    def wait(self, timeout_s=None):
        results = super().wait(timeout_s)
        if len(self.evaluated) < self._first or not isinstance(results[0].outcome, Completed):
            return results
        scores = dict(results[0].outcome.examples["one"])
        scores["other"] = scores.pop("i3")
        changed = {**results[0].outcome.examples, "one": scores}
        return [replace(results[0], outcome=replace(results[0].outcome, examples=changed))]


def test_examples_that_change_are_noticed_at_the_rehearsal(tmp_path):
    with pytest.raises(FitnessError, match=r"a second time, cannot be scored: .*examples changed"):
        start(tmp_path / "run", Drifting(2))
    assert not (tmp_path / "run").exists()


def test_examples_that_change_later_fail_the_candidate_and_are_recorded(tmp_path):
    out = tmp_path / "run"
    start(out, Drifting(9), study(front={"baselines": []}))
    failed = [event for event in read_events(out) if "failed" in event.payload]
    assert len(failed) > 5
    messages = {event.payload["message"] for event in failed if event.trial is not None}
    assert any("'i3' is there for the first one only" in message for message in messages)
    assert all(event.trial is None or event.trial >= 6 for event in failed)


def test_genes_and_populations_do_not_mix():
    context = context_of(config())
    population = load_space(POPULATION, context)
    with pytest.raises(ConfigError, match="'nsga2' varies genes and a population has none"):
        build_optimizer("nsga2", population.domain, 2, 0, {})
    plain = fakes.PlainSpace()
    with pytest.raises(ConfigError, match=r"'m2n2' breeds offspring .* the space has genes"):
        build_optimizer("m2n2", plain.domain, 2, 0, {})
    with pytest.raises(ConfigError, match="budget: optimizer 'm2n2' has no such option"):
        build_optimizer("m2n2", population.domain, 2, 0, {"budget": 3})


MERGES = {
    "name": "merges",
    "space": {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": {"range": [0.0, 1.0], "layers": 2}},
    },
    "search": {"optimizer": "random"},
    "trials": 10,
}
BREED = {"name": "breed", "space": POPULATION, "search": M2N2, "trials": 12}


def seeds(stage, **pick):
    return {"seeds": {"stage": stage, **(pick or {"pick": "front", "count": 3})}}


def staged(out, number):
    return [event.payload for event in read_events(out) if event.kind == "staged"][number]


def test_a_population_starts_from_merges_and_merges_from_a_population(tmp_path):
    again = {**MERGES, "name": "again", **seeds("breed"), "search": {"optimizer": "nsga2"}}
    plan = staged_config(MERGES, {**BREED, **seeds("merges")}, again)
    out = tmp_path / "run"
    assert start(out, settings=plan).state == "done"
    asked = [event for event in read_events(out) if event.kind == "asked"]
    found = staged(out, 1)["seeds"]
    assert 1 <= len(found) <= 3
    for number, name in enumerate(found):
        event = asked[10 + 2 + number]
        assert event.payload["genotype"] == ["found", number]
        assert event.payload["origin"] == f"seed:{name}"
        # the individual scores what the merge did
        merge = asked[int(name.removeprefix("trial-"))]
        mine = outcome(out, event.trial)
        assert mine == pytest.approx(outcome(out, merge.trial))
    tried = {tuple(event.payload["genotype"]) for event in asked[22:]}
    space, base = load_space(MERGES["space"], context_of(plan)), context_of(plan).base
    for recipe in staged(out, 2)["seeds"].values():
        weights = model_weights.weights_of(Recipe.model_validate(recipe), base, fakes.SHAPE)
        assert space.nearest(weights, fakes.SHAPE) in tried


def test_a_population_takes_a_merge_as_a_donor(tmp_path):
    take = {"take": {"merged": {"stage": "merges"}}, "donors": ["merged", "b"]}
    plan = staged_config(MERGES, {**BREED, **take})
    assert start(tmp_path / "run", settings=plan).state == "done"
    asked = [event for event in read_events(tmp_path / "run") if event.kind == "asked"]
    assert asked[10].payload["genotype"] == ["donor", "merged"]


CYCLE = {
    "name": "cycle",
    "space": POPULATION,
    "search": {"optimizer": "cycle_qd", "bins": 4},
    "trials": 14,
}


def conflict(recipe):
    """The more of a the better, and the worse: everybody is on the front."""
    a, b = weights_of(recipe)
    return Completed({"one": a + 0.1 * b, "two": (a + 0.1 * b) ** 3})


def test_merges_start_from_mutated_individuals_too(tmp_path, monkeypatch):
    monkeypatch.setattr(fakes, "score", conflict)
    again = {**MERGES, "name": "again", **seeds("cycle")}
    assert start(tmp_path / "run", settings=staged_config(CYCLE, again)).state == "done"
    found = staged(tmp_path / "run", 1)["seeds"]
    spectral = [one for one in found.values() if "spectral" in json.dumps(one)]
    assert spectral, "no seed was mutated"
    origins = [e.payload["origin"] for e in read_events(tmp_path / "run") if e.kind == "asked"]
    assert any(origin.startswith("seed:trial-") for origin in origins[14:])


def test_each_part_of_a_stage_is_told_its_own_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(fakes, "score", conflict)
    take = {"take": {"merged": {"stage": "merges", "pick": "front", "count": 2}}}
    plan = staged_config(MERGES, {**CYCLE, "trials": 24, **take, "donors": ["merged", "a", "b"]})
    start(tmp_path / "run", settings=plan)
    parts = [e.payload for e in read_events(tmp_path / "run") if e.kind == "staged"][1:]
    assert len(parts) == 2
    asked = [
        event.payload["origin"] for event in read_events(tmp_path / "run") if event.kind == "asked"
    ]
    ends = [10 + sum(part["trials"] for part in parts[: k + 1]) - 1 for k in range(2)]
    assert [asked[end] for end in ends] == ["cycle_qd:aggregate"] * 2


@pytest.mark.parametrize("at", [3, 9, 16])
def test_an_interrupted_cycle_ends_as_one_that_was_not(tmp_path, at):
    settings = study(search=CYCLE["search"], budget={"trials": 20})
    start(tmp_path / "whole", settings=settings)
    ended = start(tmp_path / "run", Interrupting(at), settings)
    while ended.state == "interrupted":
        ended = resume_run(tmp_path / "run", executor=lambda _: FakeExecutor())
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_scores_that_a_capacity_cannot_share_are_refused_or_fail_the_candidate(
    tmp_path, monkeypatch
):
    capped = {**M2N2, "capacity": "max"}
    with pytest.raises(ConfigError, match="'max' is for scores of at least 0 and objective 'two'"):
        fakes.prepared(study(search=capped)).optimizer(
            Course(fakes.prepared(study(search=capped))).parts[0]
        )

    def negative(recipe):
        found = score(recipe)
        if isinstance(found, Failed) or weights_of(recipe)[0] > 0.5:
            return found
        return replace(found, examples={**found.examples, "one": {"i0": -1.0}})

    names = fakes.OBJECTIVES
    monkeypatch.setattr(fakes, "OBJECTIVES", (names[0], replace(names[1], goal="maximize")))
    monkeypatch.setattr(fakes, "score", negative)
    goals = {name: {"fitness": "fake", "search": "s", "holdout": "h"} for name in ("one", "two")}
    start(tmp_path / "run", settings=study(search=capped, objectives=goals))
    failed = [e for e in read_events(tmp_path / "run") if "failed" in e.payload and e.trial]
    assert failed
    assert all("the score of example 'i0' is -1" in e.payload["message"] for e in failed)


def test_staged_populations_resume(tmp_path):
    plan = staged_config(MERGES, {**BREED, **seeds("merges")})
    start(tmp_path / "whole", settings=plan)
    ended = start(tmp_path / "run", Interrupting(17), plan)
    assert ended.state == "interrupted"
    resume_run(tmp_path / "run", executor=lambda _: FakeExecutor())
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def outcome(out, trial):
    (event,) = (e for e in read_events(out) if e.kind == "finished" and e.trial == trial)
    return event.payload["metrics"]


def test_a_stage_of_paths_gives_no_seeds():
    plan = staged_config(STAGES[0], STAGES[1], {**BREED, **seeds("layers")})
    problems = fakes.Problems()
    fakes.rehearsed(plan, Path(), context_of(plan), problems)
    assert any("stages[2].seeds" in line and "layer path" in line for line in problems.lines)


def test_a_seed_is_its_trial_to_the_last_bit_of_json(tmp_path):
    plan = staged_config(MERGES, {**BREED, **seeds("merges", pick="best")})
    start(tmp_path / "run", settings=plan)
    (recipe,) = staged(tmp_path / "run", 1)["seeds"].values()
    assert json.loads(json.dumps(recipe)) == recipe
    assert math.isfinite(recipe["models"][0]["parameters"]["weight"][0]["value"])
