"""Populations on the command line: a whole run, what it exports, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file

from evomerge.journal import read_events
from tests.cli.conftest import World


@pytest.fixture
def bred(world: World):
    world.study |= {
        "space": "m2n2",
        "search": {"optimizer": "m2n2", "archive_size": 4},
        "budget": {"trials": 10},
        "objectives": {"likely": world.study["objectives"]["likely"]},
        "front": {"lambdas": [0.5], "size": 3, "baselines": ["donors"]},
    }
    return world


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_a_run_of_m2n2_from_check_to_export(bred, tmp_path):
    code, out, _ = bred("check", bred.write())
    assert code == 0
    assert (
        "population  2 founders, task vectors, slerp (global angle), layout unit, splits between "
        "units" in out
    )
    assert bred.run()[0] == 0
    code, out, _ = bred("export", "one", "--run", "run", "--trial", 9)
    assert code == 0, out
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert {"evomerge_recipe.yaml", "evomerge_lineage.yaml"} <= files
    for name in ("evomerge_recipe.yaml", "evomerge_lineage.yaml"):
        code, out, err = bred("merge", tmp_path / "one" / name, tmp_path / f"again-{name}")
        assert code == 0, err
        again = weights(tmp_path / f"again-{name}")
        for tensor, value in weights(tmp_path / "one").items():
            assert torch.equal(value, again[tensor])
    assert bred("export", "front", "--run", "run")[0] == 0
    assert list((tmp_path / "front").glob("trial-*/lineage.yaml"))


def test_a_space_file_beside_a_study_in_another_folder(bred, monkeypatch, tmp_path):
    (tmp_path / "own.yaml").write_text("population: task_vectors\noperator: linear\n")
    bred.study["space"] = "./own.yaml"
    bred.write()
    monkeypatch.chdir(tmp_path.parent)
    code, out, err = bred("check", f"{tmp_path.name}/study.yaml")
    assert code == 0, err
    assert "2 founders, task vectors, linear" in out


def test_founders_are_the_donors(bred, tmp_path):
    bred.study["budget"] = {"trials": 2}
    assert bred.run()[0] == 0
    assert bred("export", "first", "--run", "run", "--trial", 0)[0] == 0
    donor = weights(bred.models / "first")
    for tensor, value in weights(tmp_path / "first").items():
        torch.testing.assert_close(value, donor[tensor], rtol=1e-6, atol=1e-7)


def test_a_run_of_cycle_qd_ends_with_the_aggregate(world, tmp_path):
    world.study |= {
        "space": "cycleqd",
        "search": {"optimizer": "cycle_qd", "bins": 4},
        "budget": {"trials": 10},
        "objectives": {
            "likely": world.study["objectives"]["likely"],
            "held": {**world.study["objectives"]["likely"], "search": "holdout.jsonl"},
        },
    }
    for part in world.study["objectives"].values():
        part.pop("holdout", None)
    code, _, err = world.run()
    assert code == 0, err
    assert json.loads(world("status", "run", "--json")[1])["finished"] == 10
    asked = [event for event in read_events(tmp_path / "run") if event.kind == "asked"]
    assert asked[-1].payload["origin"] == "cycle_qd:aggregate"


def refused(world):
    """Run what must be refused before anything is written; returns what the user reads."""
    code, out, err = world.run()
    assert code == 2, out
    assert "Traceback" not in err
    assert not (world.folder / "run").exists()
    return err


def test_one_donor_is_refused(bred):
    del bred.study["models"]["donors"]["second"]
    assert "a population needs at least two donors, the study has 1" in refused(bred)


def test_equal_donors_are_refused_by_name(bred):
    bred.study["models"]["donors"]["second"] = bred.study["models"]["donors"]["first"]
    assert "donors 'first' and 'second' are the same model; keep one" in refused(bred)


def test_the_base_is_no_donor_of_task_vectors(bred):
    bred.study["models"]["donors"]["second"] = bred.study["models"]["base"]
    assert "donor 'second' is the base itself and has no task vector" in refused(bred)


def test_a_fitness_without_example_scores_is_refused(bred):
    (bred.folder / "mine.py").write_text("def total(model):\n    return float(len(model.items))\n")
    bred.study["objectives"]["mine"] = {"fitness": "./mine.py:total", "search": "search.jsonl"}
    said = refused(bred)
    assert "objective 'mine'" in said
    assert "no score for each; return FitnessResult(metrics," in said


def test_examples_under_changing_ids_are_refused(bred):
    (bred.folder / "mine.py").write_text(
        "from itertools import count\n"
        "from evomerge.fitness import FitnessResult\n"
        "number = count()\n"
        "def drifting(model):\n"
        "    item = model.items[next(number) % len(model.items)]\n"
        "    return FitnessResult({'x': 1.0}, {item['id']: 1.0})\n"
    )
    bred.study["objectives"]["mine"] = {
        "fitness": "./mine.py:drifting",
        "search": "search.jsonl",
    }
    assert "objective 'mine': the scored examples changed from candidate to candidate" in refused(
        bred
    )


def test_cycle_qd_needs_two_tasks(bred):
    bred.study |= {"space": "cycleqd", "search": {"optimizer": "cycle_qd"}}
    assert "'cycle_qd' needs two or more objectives and the study has 1" in refused(bred)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "heads"}, "layout"),
        ({"granularity": "row"}, "granularity"),
        ({"operator": "linear", "angle": "part"}, "angle belongs to operator slerp"),
        ({"chromosomes": {"a": "("}}, "is no regular expression"),
        ({"chromosomes": {"attention": "self_attn"}}, "belongs to none of attention"),
        ({"chromosomes": {"rest": ".", "none": "attn"}}, "no tensor is left for 'none'"),
        ({"split": True}, "split"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_space_that_means_nothing_is_refused(bred, change, message):
    bred.study["space"] = {"population": "task_vectors", **change}
    assert message in refused(bred)


def test_genes_and_populations_are_told_apart(bred):
    bred.study["search"] = {"optimizer": "nsga2"}
    assert (
        "optimizer: 'nsga2' varies genes and a population has none; use m2n2 or cycle_qd"
        in refused(bred)
    )
    bred.study |= {"space": "task_arithmetic", "search": {"optimizer": "m2n2"}}
    assert (
        "optimizer: 'm2n2' breeds offspring of earlier trials and the space has genes"
        in refused(bred)
    )


def test_cycle_qd_takes_its_tasks_one_by_one(bred):
    bred.study["objectives"]["held"] = {
        **bred.study["objectives"]["likely"],
        "search": "holdout.jsonl",
    }
    for part in bred.study["objectives"].values():
        part.pop("holdout", None)
    bred.study["search"] = {"optimizer": "cycle_qd", "scalarize": "mean"}
    assert "scalarize: 'cycle_qd' takes the objectives one by one; remove the key" in refused(bred)


def test_a_journal_of_other_bytes_is_called_damaged(bred, tmp_path):
    assert bred.run()[0] == 0
    for path in (tmp_path / "run").glob("journal.sqlite*"):
        path.unlink()
    (tmp_path / "run" / "journal.sqlite").write_bytes(b"garbage" * 1000)
    code, _, err = bred("resume", "run")
    assert code == 2
    assert "is damaged: file is not a database; restore it from a backup" in err


def test_batches_are_refused(bred):
    bred.study["objectives"]["likely"]["validation"] = 2
    bred.study["batches"] = {"items": 2, "trials": 4}
    assert "optimizer 'm2n2' compares candidates of different batches" in refused(bred)
