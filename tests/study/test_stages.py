"""Runs of several stages: what each starts from, how they resume, what is read of them."""

import csv
import io
import json
import os
import random

import pytest

from evomerge.errors import EvomergeError, ReplayMismatch, UserError
from evomerge.journal import read_events
from evomerge.recipe import Recipe, fingerprint
from evomerge.report import collect_front, to_json
from evomerge.report.analysis import analyse
from evomerge.report.export import export_front
from evomerge.report.sheet import to_csv
from evomerge.report.table import text_of
from evomerge.study import course, open_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.course import Course
from tests.study.fakes import (
    LAYOUT,
    STAGES,
    FakeExecutor,
    Interrupting,
    PlainSpace,
    config,
    prepared,
    score,
    staged_config,
    without_models,
)
from tests.study.test_crash import in_child, kill_in_write_path

KEPT = {"staged", "asked", "retried", "finished", "stopped", "scored"}


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def start(out, executor=None, *stages, **changes):
    study = staged_config(*stages, **changes)
    return start_run(study, out.parent, out, executor=lambda _: executor or FakeExecutor())


def resume(out, executor=None, **add):
    return resume_run(out, add=add, executor=lambda _: executor or FakeExecutor())


def events_of(out, *kinds):
    return [event for event in read_events(out) if event.kind in (kinds or KEPT)]


def contents(out):
    return [event.content for event in events_of(out)]


def recipes_of(out):
    study, events = open_study(out)
    path = Course.of(study, events)
    return {
        event.trial: path.decode(event.trial, tuple(event.payload["genotype"]))
        for event in events
        if event.kind == "asked"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three stages that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_models(patch, run_module)
        executor = FakeExecutor()
        assert start(out, executor).reason == "budget: 36 trials"
        return out, executor.evaluated, contents(out)


def test_trial_numbers_run_on_and_every_stage_is_announced(whole):
    out, _, _ = whole
    kinds = [(event.kind, event.trial) for event in events_of(out, "staged", "asked")]
    staged = [index for index, (kind, _) in enumerate(kinds) if kind == "staged"]
    assert staged == [0, 15, 28]
    asked = [trial for kind, trial in kinds if kind == "asked"]
    assert asked == list(range(36))
    finished = {event.trial for event in events_of(out, "finished")}
    assert finished == set(range(36))


def test_a_stage_starts_from_the_best_of_the_one_it_names(whole):
    out, _, _ = whole
    recipes = recipes_of(out)
    _, layers, again = (event.payload for event in events_of(out, "staged"))
    merged = layers["chosen"]["merged"]
    assert merged < 14
    assert Recipe.model_validate(layers["donors"]["merged"]) == recipes[merged]
    assert list(layers["donors"]) == ["merged", "b"]
    path = again["through"]["trial"]
    assert 14 <= path < 26
    assert Recipe.model_validate(again["through"]["recipe"]) == recipes[path]
    scores = {
        event.trial: event.payload["metrics"]
        for event in events_of(out, "finished")
        if "metrics" in event.payload
    }
    for chosen, own in ((merged, range(14)), (path, range(14, 26))):
        table = [(-scores[n]["one"], scores[n]["two"]) for n in own if n in scores]
        low = [min(column) for column in zip(*table, strict=True)]
        span = [max(column) - min(column) for column in zip(*table, strict=True)]

        def mean(trial, low=low, span=span):
            costs = (-scores[trial]["one"], scores[trial]["two"])
            return sum((c - lo) / s for c, lo, s in zip(costs, low, span, strict=True))

        assert chosen == min((n for n in own if n in scores), key=mean)


def test_a_hybrid_result_is_one_recipe_that_scores_as_it_did(whole):
    out, _, _ = whole
    recipes = recipes_of(out)
    hybrid = recipes[35]
    assert hybrid.path is not None
    assert hybrid.models[0].model.merge_method == "task_arithmetic"
    for event in events_of(out, "finished"):
        if "metrics" in event.payload:
            outcome = score(Recipe.model_validate(recipes[event.trial].model_dump(mode="json")))
            assert outcome.metrics == event.payload["metrics"]


def test_what_was_paid_for_in_an_earlier_stage_is_not_paid_again(whole):
    out, evaluated, _ = whole
    origins = {event.trial: event.payload["origin"] for event in events_of(out, "asked")}
    same = {
        event.trial: event.payload["same_as"]
        for event in events_of(out, "finished")
        if "same_as" in event.payload
    }
    layers, again = (event.payload for event in events_of(out, "staged")[1:])
    assert (origins[14], same[14]) == ("seed:merged", layers["chosen"]["merged"])
    assert (origins[26], same[26]) == ("seed:found", again["through"]["trial"])
    assert {f"trial-{number:06d}" for number in same}.isdisjoint({job for job, _, _ in evaluated})


@pytest.mark.parametrize("at", [1, 13, 15, 16, 17, 26, 28, 29, 30])
def test_an_interrupt_near_a_stage_boundary_changes_nothing(tmp_path, whole, at):
    run = tmp_path / "run"
    assert start(run, Interrupting(at)).state == "interrupted"
    assert resume(run).state == "done"
    assert contents(run) == whole[2]


@pytest.mark.parametrize("scenario", range(8))
def test_a_killed_run_ends_with_the_same_journal(tmp_path, whole, scenario):
    rng = random.Random(scenario)
    run = tmp_path / "run"
    for _ in range(40):
        countdown = rng.randrange(1, 6 * len(whole[2]))

        def body(countdown=countdown):
            kill_in_write_path(countdown)
            begun = (run / "journal.sqlite").exists() and read_events(run)
            (resume if begun else start)(run)

        _, status = os.waitpid(in_child(body), 0)
        if status == 0:
            break
    else:
        pytest.fail("the run never ended")
    assert contents(run) == whole[2]


@pytest.mark.parametrize("capacity", [2, 5])
def test_several_workers_finish_a_stage_before_the_next_begins(tmp_path, capacity):
    run = tmp_path / "run"
    assert start(run, FakeExecutor(capacity, seed=4)).state == "done"
    finished = 0
    for event in events_of(run, "staged", "finished"):
        if event.kind == "staged":
            assert finished == {"parameters": 0, "layers": 14, "again": 26}[event.payload["stage"]]
        finished += event.kind == "finished"
    assert resume(run).state == "done"


FRONT = {"stage": "parameters", "pick": "front", "count": 3}


def test_each_member_of_a_front_is_continued_by_itself(tmp_path):
    run = tmp_path / "run"
    layers = {**STAGES[1], "take": {"merged": FRONT}, "trials": 14}
    again = {**STAGES[2], "through": {**FRONT, "stage": "layers", "count": 2}, "trials": 7}
    assert start(run, None, STAGES[0], layers, again).state == "done"
    parts = [event.payload for event in events_of(run, "staged")]
    found = [(part["stage"], part["part"], part["parts"], part["trials"]) for part in parts]
    assert found[1:4] == [("layers", 0, 3, 5), ("layers", 1, 3, 5), ("layers", 2, 3, 4)]
    assert found[4:] == [("again", 0, 2, 4), ("again", 1, 2, 3)]
    genotypes = {e.trial: e.payload["genotype"] for e in events_of(run, "asked")}
    for part in parts[4:]:
        origin = parts[1 + (part["through"]["trial"] >= 19) + (part["through"]["trial"] >= 24)]
        assert part["through"]["start"] == genotypes[origin["chosen"]["merged"]]
    members = [part["chosen"]["merged"] for part in parts[1:4]]
    assert len(set(members)) == 3
    costs = {
        event.trial: (-event.payload["metrics"]["one"], event.payload["metrics"]["two"])
        for event in events_of(run, "finished")
        if event.trial < 14 and "metrics" in event.payload
    }
    for member in members:
        assert not any(
            a <= costs[member][0] and b <= costs[member][1] and (a, b) != costs[member]
            for a, b in costs.values()
        )
    recipes = recipes_of(run)
    for number, first in enumerate((14, 19, 24)):
        assert recipes[first].models[0].model == recipes[members[number]]
    before = contents(run)
    interrupted = tmp_path / "interrupted"
    start(interrupted, Interrupting(22), STAGES[0], layers, again)
    resume(interrupted)
    assert contents(interrupted) == before


def test_another_choice_is_a_mismatch(tmp_path, monkeypatch):
    run = tmp_path / "run"
    start(run)
    chosen = course.choose
    monkeypatch.setattr(course, "choose", lambda trials, *rest: chosen(trials[:4], *rest))
    with pytest.raises(ReplayMismatch, match=r"stage 'layers' of .* cannot be replayed"):
        resume(run, trials=1)


def test_added_trials_belong_to_the_last_stage(tmp_path, whole):
    run, longer = tmp_path / "run", tmp_path / "longer"
    start(run)
    with pytest.raises(KeyboardInterrupt):
        resume(run, Interrupting(3, times=2), trials=7)
    assert resume(run).reason == "budget: 43 trials"
    start(longer, None, *STAGES[:2], {**STAGES[2], "trials": 17})
    searched = [
        [e.content for e in events_of(out, "asked", "retried", "finished")] for out in (run, longer)
    ]
    assert searched[0] == searched[1]


def test_hours_end_the_run_in_any_stage_and_more_hours_continue_it(tmp_path):
    run = tmp_path / "run"
    ended = start(run, FakeExecutor(pause_s=0.03), budget={"hours": 0.1 / 3600})
    assert ended.reason.endswith("hours")
    assert len(events_of(run, "finished")) < 36
    assert resume(run, hours=1).reason == "budget: 36 trials"
    assert [e.payload["stage"] for e in events_of(run, "staged")] == [s["name"] for s in STAGES]


def test_a_stage_without_a_completed_trial_ends_the_run_with_its_reason(tmp_path, monkeypatch):
    def nothing(self, genotype):
        raise ValueError("no such merge")

    decode, calls = PlainSpace.decode, []

    def once(self, genotype):  # the rehearsal of the later stages needs a recipe
        calls.append(genotype)
        return decode(self, genotype) if len(calls) <= 2 else nothing(self, genotype)

    monkeypatch.setattr(PlainSpace, "decode", once)
    with pytest.raises(EvomergeError, match="'parameters' completed no trial, so stage 'layers'"):
        start(tmp_path / "run")


def test_the_front_spans_the_stages_and_says_whose_a_row_is(whole, tmp_path):
    out, _, _ = whole
    front = collect_front(out)
    stages = {row.trial: row.stage for row in front.members}
    assert len(set(stages.values())) > 1
    for trial, stage in stages.items():
        assert stage == ("parameters" if trial < 14 else "layers" if trial < 26 else "again")
    recipes = recipes_of(out)
    for row in front.members:
        assert row.fingerprint == fingerprint(recipes[row.trial])
    assert front.n_held == min(front.holdout_size, len(front.members))
    document = to_json(front)
    assert {row["trial"]: row["stage"] for row in document["front"]} == stages
    assert {row["stage"] for row in document["baselines"]} == {None}
    lines = list(csv.DictReader(io.StringIO(to_csv(analyse(front)))))
    assert {int(row["trial"]): row["stage"] for row in lines if row["trial"]} == stages
    text = text_of(analyse(front))
    for stage in set(stages.values()):
        assert f"\n {stage}" in text or f"\n{stage}" in text
    export_front(front, tmp_path / "front", LAYOUT, "float32")
    for trial, stage in stages.items():
        place = tmp_path / "front" / f"trial-{trial:06d}"
        assert json.loads((place / "scores.json").read_text())["stage"] == stage
        assert (place / "mergekit.yaml").exists() != (place / "mergekit-refused.txt").exists()


def test_a_space_file_edited_later_changes_no_stage(tmp_path):
    space = tmp_path / "layers.yaml"
    space.write_text("path: depthwise\nscale_range: [0.5, 1.5]\n")
    run = tmp_path / "run"
    start(run, None, STAGES[0], {**STAGES[1], "space": "layers.yaml"}, STAGES[2])
    before = recipes_of(run)
    space.write_text("path: depthwise\nscales: none\n")
    assert recipes_of(run) == before
    assert resume(run, trials=2).state == "done"


def test_a_study_without_stages_opens_as_it_always_did(tmp_path):
    run = tmp_path / "run"
    start_run(config(), tmp_path, run, executor=lambda _: FakeExecutor())
    events = read_events(run)
    assert not {"staged"} & {event.kind for event in events}
    assert list(events[0].payload) == [
        "study", "folder", "models", "dtype", "space", "genes", "objectives", "inputs", "versions",
    ]  # fmt: skip
    assert list(events[0].payload["study"]) == [
        "name", "seed", "models", "dtype", "space", "objectives", "search", "budget", "workers",
        "front",
    ]  # fmt: skip


def test_only_what_is_limited_can_be_extended(tmp_path):
    run = tmp_path / "run"
    start(run)
    with pytest.raises(UserError, match="only trials"):
        resume(run, hours=1)


def test_no_two_stages_of_neighbouring_seeds_draw_the_same():
    def proposals(seed, position):
        search = {"optimizer": "random", "seeds": False}
        study = prepared(staged_config({**STAGES[0], "search": search}, seed=seed))
        path = Course(study)
        part = path.begin(path.propose([], {}), 0)
        optimizer = study.optimizer(part, position)
        return [optimizer.ask(number).genotype for number in range(4)]

    found = [proposals(seed, position) for seed in (3, 4) for position in (0, 1, 2)]
    assert len({tuple(one) for one in found}) == 6
    assert proposals(4, 2) == found[5]
