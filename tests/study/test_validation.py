"""Validation items without batches: the best by search scores are scored there, the best there win.

Search scores carry a luck of each recipe of its own, larger than most recipes differ; validation
scores are without. What must come out is worked out here from the scores alone.
"""

import json

import numpy as np
import pytest

from evomerge.errors import ConfigError, RunDirectoryError
from evomerge.journal import read_events
from evomerge.recipe import fingerprint
from evomerge.report import collect_front, to_json
from evomerge.report.analysis import analyse
from evomerge.report.pair import collect_pair
from evomerge.report.run_history import run_history
from evomerge.report.table import text_of
from evomerge.study import load_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.picks import best_of
from evomerge.study.seen import SeenRun
from evomerge.types import Completed, Trial
from evomerge.workers import JobResult
from tests.study.fakes import (
    VALIDATED,
    FakeExecutor,
    Interrupting,
    config,
    score,
    without_models,
)
from tests.study.rungs.runs import ByItem

CHANGES = {
    **VALIDATED,
    "search": {"optimizer": "nsga2", "population": 8},
    "budget": {"trials": 32},
    "front": {"baselines": ["base", "donors"], "size": 7},
}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def luck(recipe, split):
    """What the items of a split add to both objectives: a draw of the recipe's."""
    if split == "validation":
        return 0.0
    draw = np.random.default_rng(int(fingerprint(recipe)[:8], 16)).normal()
    return 0.1 * float(draw) if split == "search" else -0.05


class Lucky(FakeExecutor):
    """Scores by the formula, and luck."""

    def wait(self, timeout_s=None):
        return [self._lucky(result) for result in super().wait(timeout_s)]

    def _lucky(self, result):
        job, outcome = result.job, result.outcome
        if isinstance(outcome, Completed):
            by = luck(job.recipe, job.split)
            metrics = {
                "one": outcome.metrics["one"] + by,
                "two": outcome.metrics["two"] - by,
            }
            outcome = Completed(metrics)
        return JobResult(job, outcome, 0.0, 0.0, "fake")


class InterruptedLuck(Lucky, Interrupting):
    """Both."""


def start(out, executor=None, **changes):
    chosen = executor or Lucky()
    start_run(config(**{**CHANGES, **changes}), out.parent, out, executor=lambda _: chosen)
    return chosen


def metrics_of(out, kind):
    return {
        event.trial: event.payload["metrics"]
        for event in read_events(out)
        if event.kind == kind and "metrics" in event.payload
    }


def contents(out):
    return [event.content for event in read_events(out) if event.kind != "opened"]


def dominates(one, other):
    return one != other and one["one"] >= other["one"] and one["two"] <= other["two"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_models(patch, run_module)
        return out, start(out), contents(out)


def test_the_outermost_by_search_scores_are_validated_when_the_search_is_over(whole):
    out, executor, _ = whole
    searched, validated = metrics_of(out, "finished"), metrics_of(out, "validated")
    assert len(validated) == 7
    depth, left = {}, dict(searched)
    while left:
        layer = [
            number
            for number, found in left.items()
            if not any(dominates(other, found) for other in left.values())
        ]
        depth |= dict.fromkeys(layer, max(depth.values(), default=-1) + 1)
        left = {number: found for number, found in left.items() if number not in layer}
    deepest = max(depth[number] for number in validated)
    recipes = {number: json.dumps(searched[number]) for number in searched}  # of twins one goes
    sure = {recipes[number] for number in searched if depth[number] < deepest}
    assert sure <= {recipes[number] for number in validated}
    kinds = [event.kind for event in read_events(out)]
    last_finished = len(kinds) - 1 - kinds[::-1].index("finished")
    assert last_finished < kinds.index("validated") < kinds.index("stopped")
    jobs = [split for name, split, _ in executor.evaluated if name.startswith("trial")]
    assert jobs.count("validation") == 7


def test_who_wins_is_decided_on_validation_items(whole):
    out, _, _ = whole
    front, validated = collect_front(out), metrics_of(out, "validated")
    assert front.picked_on == "validation"
    best = {
        number
        for number, found in validated.items()
        if not any(dominates(other, found) for other in validated.values())
    }
    assert {row.trial for row in front.members} == best
    searched = metrics_of(out, "finished")
    on_search = {
        number
        for number, found in searched.items()
        if not any(dominates(other, found) for other in searched.values())
    }
    assert best != on_search  # luck took some in
    for row in front.members:
        assert row.search == score(row.recipe).metrics
        assert row.before == searched[row.trial]
    assert {row.name for row in front.baselines} == {"base", "donor:a", "donor:b"}
    assert all(row.search == score(row.recipe).metrics for row in front.baselines)


def test_shrinkage_is_stated_from_search_to_validation_to_holdout(whole):
    front = collect_front(whole[0])
    winner = max(front.members, key=lambda row: row.search["one"])
    scores = [winner.before["one"], winner.search["one"], winner.holdout["one"]]
    found = analyse(front).shrinkage[0]
    assert [found.before, found.picked, found.holdout] == scores
    assert found.shrinkage == pytest.approx(0.05)
    line = " ".join(text_of(analyse(front)).split())
    chain = " → ".join(f"{one:.3f}" for one in scores)
    assert f"search, best of 7 by validation, then hold-out: one {chain}" in line
    row = to_json(front)["shrinkage"]["winners"][0]
    assert [row["search"], row["validation"], row["holdout"]] == scores


def test_the_history_stays_that_of_the_search_items(whole):
    out, _, _ = whole
    events = read_events(out)
    history, searched = run_history(events), metrics_of(out, "finished")
    assert history.compared_on == "search"
    assert history.metrics == {n: pytest.approx(one) for n, one in sorted(searched.items())}
    seen = SeenRun.of(events)
    assert seen.standing.best["one"] == max(one["one"] for one in searched.values())
    assert {trial.state for trial in seen.trials.values()} <= {"completed", "failed"}
    assert [n for n, _ in collect_front(out).hypervolume] == [
        n
        for n in sorted(searched)
        if n >= 2  # base and donors are known then
    ]


def test_before_it_is_over_the_front_is_that_of_the_search_items(tmp_path, whole):
    out = tmp_path / "run"
    start(out, InterruptedLuck(at=20))
    front = collect_front(out)
    assert front.picked_on == "search"
    assert "No hold-out scores" in text_of(analyse(front))
    assert not metrics_of(out, "validated")
    resume_run(out, executor=lambda _: Lucky())
    assert contents(out) == whole[2]


@pytest.mark.parametrize("at", [31, 34, 36])
def test_interrupted_while_validating_it_is_the_same_run(tmp_path, whole, at):
    out = tmp_path / "run"
    start(out, InterruptedLuck(at=at))
    resume_run(out, executor=lambda _: Lucky())
    assert contents(out) == whole[2]


def test_more_trials_bring_new_ones_to_the_validation_items(tmp_path, whole):
    out = tmp_path / "run"
    start(out)
    resume_run(out, add={"trials": 16}, executor=lambda _: Lucky())
    first, both = metrics_of(whole[0], "validated"), metrics_of(out, "validated")
    assert first.items() < both.items()
    assert {row.trial for row in collect_front(out).members} <= both.keys()


def test_estimates_are_not_validated(tmp_path):
    out = tmp_path / "run"
    start(
        out,
        ByItem(),
        rungs={"items": [5, 20], "promote": 0.4},
        search={"optimizer": "random"},
        budget={"trials": 36},
    )
    finished = [event for event in read_events(out) if event.kind == "finished"]
    estimated = {event.trial for event in finished if "errors" in event.payload}
    assert estimated
    validated = metrics_of(out, "validated").keys()
    assert len(validated) == 7
    assert not validated & estimated
    assert collect_front(out).picked_on == "validation"


def test_of_others_there_are_no_scores_to_compare(whole):
    out, _, _ = whole
    other = min(metrics_of(out, "finished").keys() - metrics_of(out, "validated").keys())
    with pytest.raises(RunDirectoryError, match="only the best by search scores get them"):
        collect_pair(out, (str(other), "base"), "validation")


def test_with_one_objective_the_best_are_as_many_as_asked_for():
    costs = [0.3, 0.1, 0.2, 0.2, 0.5]
    trials = [
        Trial(n, (float(n),), Completed({"one": -cost}), (cost,)) for n, cost in enumerate(costs)
    ]
    assert [one.number for one in best_of(trials, 4, None)] == [0, 1, 2, 3]
    assert [one.number for one in best_of(trials, 2, None)] == [1, 2]


STUDY = """name: small
models: {base: ./base, donors: {a: ./a}}
space: task_arithmetic
objectives:
  one: {fitness: ./fit.py:one, search: items.jsonl, validation: 5}
  two: {fitness: ./fit.py:two, search: items.jsonl}
  free: {fitness: l2_distance}
budget: {trials: 10}
"""


def test_every_objective_with_items_needs_validation_items(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    with pytest.raises(ConfigError) as error:
        load_study(file)
    (line,) = error.value.problems
    assert "study.yaml:6: objectives.two: the front is picked on validation items" in line
    file.write_text(STUDY.replace("l}", "l, validation: 5}"))
    load_study(file)
