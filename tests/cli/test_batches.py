"""Batches of search items with real models: what is scored, and what is refused."""

from __future__ import annotations

import json

import pytest

from evomerge.journal import read_events
from evomerge.journal.examples import read_examples


@pytest.fixture
def batched(world):
    """Six search items: batches of two, and the last two for validation."""
    world.study["objectives"]["likely"]["validation"] = 2
    world.study["search"] = {"optimizer": "random"}
    world.study["batches"] = {"items": 2, "trials": 3}
    return world


def test_batches_are_scored_and_their_best_compared(batched):
    code, out, err = batched.run()
    assert code == 0, err
    run = batched.folder / "run"
    events = read_events(run)
    batch = {e.trial: e.payload["batch"] for e in events if e.kind == "asked"}
    seen = {}
    for event in events:
        if event.kind in {"finished", "validated"} and "examples" in event.payload:
            ids = frozenset(read_examples(run, event.payload["examples"])["likely"])
            place = None if event.kind == "validated" else batch[event.trial]
            seen.setdefault(place, set()).add(ids)
    assert all(len(found) == 1 for found in seen.values())
    (validation,) = seen.pop(None)
    assert validation == {"search-5", "search-6"} or len(validation) == 2
    dealt = [next(iter(found)) for found in seen.values()]
    assert all(len(ids) == 2 and not ids & validation for ids in dealt)
    assert not dealt[0] & dealt[1]
    _, out, _ = batched("front", run, "--json")
    front = json.loads(out)
    assert all("validation" in row and "search" not in row for row in front["front"])
    assert {row["validation"]["likely"]["items"] for row in front["baselines"]} == {2}
    code, _, err = batched("resume", run, "--add", "trials=3")
    assert code == 0, err


def refused(world):
    """Check what must be refused in one line; returns that line."""
    code, _, err = world("check", world.write())
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    return err


def test_batches_larger_than_the_search_items_are_refused(batched):
    batched.study["batches"]["items"] = 5
    assert "batches.items: 5 is more than the 4 search items of objective 'likely'" in refused(
        batched
    )


def test_validation_leaves_items_to_search_with(batched):
    batched.study["objectives"]["likely"]["validation"] = 6
    assert "objectives.likely.validation: 6 of 6 search items leave none" in refused(batched)


def test_validation_items_are_no_others(batched):
    (batched.folder / "own.jsonl").write_text('{"prompt": "say 2:", "answer": "2"}\n')
    batched.study["objectives"]["likely"]["validation"] = "own.jsonl"
    assert "objectives.likely.validation: 1 items are search items too" in refused(batched)


def test_optimizers_that_compare_batches_are_refused(batched):
    batched.study["search"] = {"optimizer": "nsga2"}
    said = refused(batched)
    assert "batches: optimizer 'nsga2' compares" in said
    assert "use cat_cma, cma_wm or cma_es" in said


def test_batches_need_an_objective_with_items(batched):
    del batched.study["objectives"]["likely"]
    said = refused(batched)
    assert "study.yaml:" in said
    assert "batches: no objective has 'search' items" in said


def test_the_estimate_counts_a_batch_and_the_validations(batched):
    _, out, _ = batched("check", batched.write(), "--estimate", "--json", "--device", "a100")
    found = json.loads(out)["estimate"]
    assert found["objectives"]["likely"]["rows"] == 4
    assert found["validation"]["likely"]["rows"] == 2
    (stage,) = found["stages"]
    assert (stage["batch"], stage["validated"]) == (2, 4)
    # validation has as many rows as a batch, of the same length
    assert stage["seconds"] == pytest.approx([16 * one for one in stage["seconds_per_candidate"]])
    _, out, _ = batched("check", "study.yaml", "--estimate")
    assert "batches     2 search items for each candidate" in out
    assert "validation  of the best 4, on validation items" in out


def test_check_and_status_say_what_a_trial_is_scored_on(batched):
    line = "batches     2 search items a trial, others after 3 trials; of these the best 1 on"
    assert line in batched("check", batched.write())[1]
    found = json.loads(batched("check", "study.yaml", "--json")[1])
    assert found["batches"] == {"items": 2, "trials": 3, "keep": 1}
    code, _, err = batched.run()
    assert code == 0, err
    status = json.loads(batched("status", "run", "--json")[1])
    validated = [e for e in read_events(batched.folder / "run") if e.kind == "validated"]
    assert status["batches"] == {"": {"items": 2, "trials": 3, "keep": 1}}
    assert status["validated"] == len(validated) > 0
    assert "batches   2 search items a trial" in batched("status", "run")[1]
