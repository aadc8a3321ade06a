"""`evomerge check --estimate` and `--config`: what is printed, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers import LlamaForCausalLM


@pytest.fixture
def config(models):
    return models / "base" / "config.json"


@pytest.fixture(autouse=True)
def _written(world):
    world.write()


def estimated(world, *options):
    code, out, _ = world("check", "study.yaml", "--estimate", "--json", *options)
    assert code == 0
    return json.loads(out)


def test_the_estimate_counts_the_models_and_the_items(world, models):
    found = estimated(world, "--device", "none")["estimate"]
    module = LlamaForCausalLM.from_pretrained(models / "base")
    count = sum(p.numel() for p in module.parameters())
    assert found["models"]["first"]["parameters"] == count
    assert found["models"]["first"]["bytes"] == 4 * count
    # '<bos>say 1:' and the answer, one token a character
    assert found["objectives"]["likely"] == {
        "rows": 6,
        "tokens_read": 6 * 8,
        "tokens_written": 0,
        "max_new_tokens": 0,
        "batch_size": 64,
    }
    (stage,) = found["stages"]
    assert stage["first"]["merge_bytes_read"] == 3 * 4 * count
    assert stage["trials"] == 12
    assert found["total_seconds"] is None


def test_times_are_those_of_the_device_that_is_named(world):
    found = estimated(world, "--device", "a100")["estimate"]
    low, high = found["total_seconds"]
    assert 0 < low < high
    per_candidate = found["stages"][0]["seconds_per_candidate"]
    assert found["stages"][0]["seconds"] == [12 * end for end in per_candidate]


def test_without_one_the_processor_is_measured_and_that_is_said(world):
    found = estimated(world)["estimate"]
    assert found["device"]["measured"] == "float32"
    low, high = found["total_seconds"]
    assert 0 < low < high
    assert any("the processor was measured just now" in one for one in found["assumptions"])
    code, out, _ = world("check", "study.yaml", "--estimate")
    assert code == 0
    assert "estimate of study 'tiny', nothing of it measured but the processor" in out
    assert "  device      this machine's processor, measured with 1 thread: " in out
    assert " on this machine's processor" in out


@pytest.mark.parametrize("options", [(), ("--estimate", "--device", "none")])
def test_nothing_is_measured_that_is_not_asked_for(world, monkeypatch, options):
    monkeypatch.setattr("evomerge.cost.here.measured_processor", None)
    code, out, _ = world("check", "study.yaml", *options)
    assert code == 0
    assert ("no times: none are wanted (--device none)" in out) == bool(options)


def test_a_budget_of_hours_is_turned_into_candidates(world):
    world.study["budget"] = {"hours": 2}
    world.write()
    low, high = estimated(world, "--device", "a100")["estimate"]["stages"][0][
        "seconds_per_candidate"
    ]
    _, out, _ = world("check", "study.yaml", "--estimate", "--device", "a100")
    assert (
        f"hours: {int(7200 / high):,} to {int(7200 / low):,} candidates; 2 hours of 1 worker" in out
    )


def test_a_run_is_sized_for_the_trials_that_its_budget_pays_for(world):
    world.study["budget"] = {"hours": 2}
    world.write()
    found = estimated(world, "--device", "a100")["estimate"]
    low, high = found["expected_candidates"]
    assert found["records"]["trials"] == {"low": low, "high": high}
    assert estimated(world, "--device", "none")["estimate"]["records"]["trials"] is None
    _, out, _ = world("check", "study.yaml", "--estimate", "--device", "none")
    assert "for 1,000 trials, of which the study does not say how many it has" in out


def test_the_text_names_figures_and_assumptions(world):
    code, out, _ = world(
        "check", "study.yaml", "--estimate", "--device-tflops", "1", "--bandwidth", "50"
    )
    assert code == 0
    assert "estimate of study 'tiny', nothing of it measured" in out
    assert "12 trials, nsga2" in out
    assert "for baselines and front" in out
    assert "near: l2_distance reads weights only" in out


def test_stages_are_estimated_one_by_one(world):
    world.study.pop("space")
    world.study.pop("search")
    world.study["budget"] = {}
    world.study["stages"] = [
        {"name": "weights", "space": "task_arithmetic", "trials": 8},
        {
            "name": "layers",
            "space": {"path": "slots", "repeats": 2},
            "trials": 9,
            "take": {"merged": {"stage": "weights"}},
            "donors": ["merged", "first"],
        },
    ]
    world.write()
    weights, layers = estimated(world, "--device", "none")["estimate"]["stages"]
    assert (weights["first"]["hops"], layers["first"]["hops"]) == (None, 2)
    assert layers["largest"]["hops"] == 8
    assert layers["first"]["merge_bytes_read"] == 0
    assert layers["memory"]["weights"] == 2 * weights["memory"]["weights"]


def test_models_that_are_not_here_are_stood_in_for_and_named(world, config):
    world.study["models"]["base"] = "./far/base"
    world.study["models"]["donors"]["second"] = "./far/second"
    world.write()
    code, out, _ = world("check", "study.yaml", "--config", str(config))
    assert code == 0
    assert "study 'tiny' is sound as far as it can be seen" in out
    assert "not seen    base, second: a configuration stands in" in out
    found = estimated(world, "--config", f"base={config}", "--config", f"second={config}")
    assert found["not_seen"] == ["base", "second"]
    assert found["inputs"]["models.base"] == ""
    assert found["inputs"]["models.donors.first"] != ""
    assert found["estimate"]["models"]["second"]["seen"] is False


def test_everything_else_is_checked_as_ever(world, config):
    world.study["models"]["base"] = "./far/base"
    world.study["search"]["population"] = 1
    world.write()
    code, _, err = world("check", "study.yaml", "--config", str(config))
    assert code == 2
    assert "population" in err


def test_a_stand_in_of_another_shape_is_refused(world, config, tmp_path):
    wide = json.loads(config.read_text())
    wide["intermediate_size"] *= 2
    (tmp_path / "wide.json").write_text(json.dumps(wide))
    world.study["models"]["donors"]["second"] = "./far/second"
    world.write()
    code, _, err = world("check", "study.yaml", "--config", f"second={tmp_path / 'wide.json'}")
    assert code == 2
    assert "shape" in err


def test_a_run_takes_no_stand_in(world, models):
    shutil.copytree(models / "base", world.folder / "base")
    (world.folder / "base" / "model.safetensors").unlink()
    world.study["models"]["base"] = "./base"
    world.write()
    code, _, err = world("run", "study.yaml")
    assert code == 2
    assert "no weights" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "h100"), "--device belongs to an estimate; add --estimate"),
        (("--estimate", "--device", "h10"), "did you mean 'h100'"),
        (("--estimate", "--device", "none", "--bandwidth", "9"), "--device none gives no times"),
        (("--estimate", "--answer-tokens", "0"), "--answer-tokens 0: give a positive number"),
        (("--config", "missing.json"), "there is no file missing.json"),
        (("--config", "third=study.yaml"), "no such model"),
    ],
)
def test_options_that_mean_nothing_are_refused(world, options, message):
    code, _, err = world("check", "study.yaml", *options)
    assert code == 2
    assert message in err


def test_baselines_cost_merges_and_the_front_of_a_path_search_its_exports(world, models):
    del world.study["objectives"]["near"]
    world.study["space"] = {"path": "slots", "repeats": 2, "limits": {"min_hops": 2}}
    world.study["search"] = {"optimizer": "random"}
    world.study["front"] = {"baselines": ["base", "donors"], "size": 3}
    world.write()
    found = estimated(world, "--device", "a100")["estimate"]
    module = LlamaForCausalLM.from_pretrained(models / "base")
    count = sum(p.numel() for p in module.parameters())
    layer = sum(p.numel() for p in module.model.layers[0].parameters())
    (stage,) = found["stages"]
    assert stage["largest"]["hops"] == 8
    assert stage["memory"]["weights"] == 2 * 4 * count  # two donors, whole
    assert found["final_memory"]["weights"] == 4 * (count + 6 * layer)  # eight layers of their own
    assert found["final_memory"]["prefix_cache"] == 0
    # a merge space with the same baselines takes as long over them, whatever it searches
    world.study["front"]["baselines"] = []
    world.write()
    front = estimated(world, "--device", "a100")["estimate"]["final_seconds"]
    baselines = [all_ - own for all_, own in zip(found["final_seconds"], front, strict=True)]
    spaces = []
    for listed in (["base", "donors"], []):
        world.study |= {"space": "task_arithmetic", "front": {"baselines": listed, "size": 3}}
        world.write()
        spaces.append(estimated(world, "--device", "a100")["estimate"])
    assert spaces[0]["final_memory"] is None
    pairs = zip(*(one["final_seconds"] for one in spaces), strict=True)
    assert baselines == pytest.approx([all_ - own for all_, own in pairs])


def test_check_says_how_many_trials_a_budget_of_items_pays_for(world):
    with_items = [name for name, part in world.study["objectives"].items() if "search" in part]
    world.study["budget"] = {"items": 50 * 6 * len(with_items)}
    world.write()
    code, out, _ = world("check", "study.yaml", "--json")
    assert (code, json.loads(out)["expected_trials"]) == (0, 50)
    assert "(its items pay for about 50 trials)" in world("check", "study.yaml")[1]
    world.study["budget"] = {"trials": 5}
    world.write()
    assert "pay for" not in world("check", "study.yaml")[1]


def test_rungs_are_part_of_the_estimate(world):
    whole = estimated(world, "--device", "a100")["estimate"]["stages"][0]
    world.study["rungs"] = {"items": [2], "promote": 0.25}
    world.study["budget"] = {"items": 60, "hours": 3}
    world.write()
    found = estimated(world, "--device", "a100")["estimate"]
    (stage,) = found["stages"]
    assert [(one["share"], one["items"]) for one in stage["rungs"]] == [
        (1.0, {"likely": 2}),
        (0.25, {"likely": 4}),
    ]
    # rows of one length, all of a batch: 2 + 4 / 4 of 6 items
    assert stage["first"]["flops_reading"] == pytest.approx(whole["first"]["flops_reading"] / 2)
    # base, donors and uniform on 6 items each, others on 3 on average
    assert found["budget"]["items"]["candidates"] == [4 + 12, 4 + 12]
    assert found["expected_candidates"] == [16, 16]
    known, each = whole["seconds_per_candidate"], stage["seconds_per_candidate"]
    assert stage["seconds"] == pytest.approx(
        [4 * one + 12 * other for one, other in zip(known, each, strict=True)]
    )
    _, out, _ = world("check", "study.yaml", "--estimate", "--device", "a100")
    assert "rungs       100% on 2, 25% on 4 new items: 3 of 6 for a candidate on average" in out
    assert "items: 16 candidates; 60 items at 3 for a candidate on average, 4 known points" in out
    assert "expected    16 candidates, whichever ends first" in out


def test_without_a_device_items_say_something_and_times_do_not(world):
    world.study["budget"] = {"items": 60, "gpu_hours": 3}
    world.write()
    found = estimated(world, "--device", "none")["estimate"]
    assert found["budget"]["items"]["candidates"] == [10, 10]
    assert found["budget"]["gpu_hours"]["candidates"] is None
    assert "name a device" in found["budget"]["gpu_hours"]["how"]
