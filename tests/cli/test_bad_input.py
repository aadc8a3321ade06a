"""Each kind of bad input: one clear line, exit code 2, nothing written or lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.journal import Journal, read_events


def refused(world, *words, arguments=None):
    """Run and check that it was refused in one line that holds all words."""
    code, _, err = world(*arguments) if arguments else world.run()
    lines = err.strip().splitlines()
    assert code == 2, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0], err
    assert not (world.folder / "run").exists()
    return lines[0]


def copy_of(world, name):
    target = world.folder / f"copy-of-{name}"
    shutil.copytree(world.models / name, target)
    world.study["models"]["donors"][name] = str(target)
    return target


def test_missing_study_file(world):
    assert refused(
        world, "gone.yaml", "no such file", arguments=("run", "gone.yaml", "--out", "run")
    )


def test_bad_yaml_has_a_line_number(world):
    (world.folder / "study.yaml").write_text("name: x\nseed: [1\nmodels: 3\n")
    assert refused(world, "study.yaml:3", arguments=("run", "study.yaml", "--out", "run"))


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("budgets",), "did you mean 'budget'?"),
        (("workers", "counts"), "did you mean 'count'?"),
        (("search", "popluation"), "did you mean 'population'?"),
        (("objectives", "likely", "promt_field"), "did you mean 'prompt_field'?"),
        (("space",), "did you mean 'task_arithmetic'?"),
    ],
)
def test_unknown_key_names_the_nearest(world, path, hint):
    node = world.study
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = "task_arithmetics" if path == ("space",) else 3
    assert refused(world, hint)


def test_missing_model_and_missing_weights(world):
    world.study["models"]["donors"]["first"] = "./gone"
    assert refused(world, "models.donors.first", "gone")
    target = copy_of(world, "first")
    (target / "model.safetensors").unlink()
    assert refused(world, "models.donors.first", "copy-of-first")


def test_shapes_that_do_not_match_name_tensor_and_donor(world):
    target = copy_of(world, "second")
    tensors = load_file(target / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = torch.zeros(7, 32)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    assert refused(world, name, "copy-of-second")


def test_another_architecture(world):
    target = copy_of(world, "second")
    config = json.loads((target / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    (target / "config.json").write_text(json.dumps(config))
    assert refused(world, "copy-of-second", "istral")


def test_different_vocabulary_sizes(world):
    target = copy_of(world, "second")
    tensors = load_file(target / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.cat([tensors[name], torch.zeros(1, 32)])
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((target / "config.json").read_text())
    config["vocab_size"] += 1
    (target / "config.json").write_text(json.dumps(config))
    assert refused(world, "copy-of-second", "vocabular")


def test_pickle_is_refused_unless_allowed(world):
    target = copy_of(world, "second")
    tensors = load_file(target / "model.safetensors")
    (target / "model.safetensors").unlink()
    torch.save(tensors, target / "pytorch_model.bin")
    assert refused(world, "pickle", "allow_pickle")
    world.study["models"]["allow_pickle"] = True
    code, _, err = world.run()
    assert code == 0, err


def test_truncated_safetensors(world):
    target = copy_of(world, "second")
    content = (target / "model.safetensors").read_bytes()
    (target / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert refused(world, "model.safetensors")


FITNESSES = {
    "raises": ("def score(model):\n    raise ValueError('no such answer')\n", "no such answer"),
    "nan": ("def score(model):\n    return float('nan')\n", "finite"),
    "text": ("def score(model):\n    return 'good'\n", "'good'"),
    "nothing": ("def score(model):\n    return None\n", "None"),
    "keys": ("def score(model):\n    return {'a': 1.0, 'b': 2.0}\n", "metric"),
    "import": ("import no_such_module\n", "no_such_module"),
    "attribute": ("def scroe(model):\n    return 1.0\n", "did you mean 'scroe'?"),
    "syntax": ("def score(model)\n    return 1.0\n", "SyntaxError"),
}


@pytest.mark.parametrize("kind", FITNESSES)
def test_a_fitness_that_does_not_work(world, kind):
    code, words = FITNESSES[kind]
    (world.folder / "mine.py").write_text(code)
    world.study["objectives"]["near"] = {"fitness": "./mine.py:score"}
    assert refused(world, "near", words)


def test_a_wrong_metric_name(world):
    (world.folder / "mine.py").write_text("def score(model):\n    return {'math': 1.0}\n")
    world.study["objectives"]["near"] = {"fitness": "./mine.py:score", "metric": "maths"}
    assert refused(world, "near", "did you mean 'math'?")


def test_models_without_a_tokenizer(world):
    for name in ("base", "first", "second"):
        shutil.copytree(world.models / name, world.folder / name)
        for file in (world.folder / name).glob("tokenizer*"):
            file.unlink()
    world.study["models"] = {
        "base": "./base",
        "donors": {"first": "./first", "second": "./second"},
    }
    assert refused(world, "likely", "tokenizer.json")


def test_zero_budget(world):
    world.study["budget"] = {"trials": 0}
    assert refused(world, "budget.trials")


def test_an_objective_without_data(world):
    del world.study["objectives"]["likely"]["search"]
    assert refused(world, "objectives.likely", "search")


def test_items_that_stand_in_both_splits(world):
    world.study["objectives"]["likely"]["holdout"] = "search.jsonl"
    assert refused(world, "objectives.likely.holdout", "6 items")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "search.jsonl"),
        ('{"prompt": "a", "answer": "1"}\n{"prompt": "b"\n', "search.jsonl:2"),
        ('{"prompt": "a"}\n', "answer"),
        ('{"id": 1, "prompt": "a", "answer": "1"}\n' * 2, "id"),
    ],
)
def test_bad_items(world, content, words):
    (world.folder / "search.jsonl").write_text(content)
    assert refused(world, words)


def test_hold_out_items_that_another_objective_searches_with(world):
    swapped = {"search": "holdout.jsonl", "holdout": "search.jsonl"}
    world.study["objectives"]["other"] = {"fitness": "exact_match", **swapped}
    code, _, err = world.run()
    assert code == 2
    assert "objectives.likely.holdout: 3 items" in err
    assert "objectives.other.holdout: 6 items" in err


def test_items_that_change_from_one_reading_to_the_next(world):
    (world.folder / "mine.py").write_text(
        "import itertools\n\nn = itertools.count()\n\n\n"
        "def rows():\n    return [{'prompt': 'a', 'answer': str(next(n))}]\n"
    )
    world.study["objectives"]["likely"] |= {"search": "./mine.py:rows"}
    assert refused(world, "likely", "same items every time")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def rows():\n    raise KeyError('x')\n", "KeyError"),
        ("def rows():\n    yield {'prompt': 'a', 'answer': 'b'}\n    1 / 0\n", "ZeroDivision"),
    ],
)
def test_items_whose_python_raises(world, code, words):
    (world.folder / "mine.py").write_text(code)
    world.study["objectives"]["likely"] |= {"search": "./mine.py:rows"}
    assert refused(world, "objectives.likely.search", words)


def test_a_fitness_whose_constructor_raises(world):
    (world.folder / "mine.py").write_text(
        "class Score:\n    def __init__(self):\n        raise OSError('no judge')\n\n"
        "    def __call__(self, model):\n        return 1.0\n"
    )
    world.study["objectives"]["near"] = {"fitness": "./mine.py:Score"}
    assert refused(world, "near", "no judge")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("bugdet.trials=3", "bugdet: unknown key; did you mean 'budget'?"),
        ("workers.count=0", "workers.count"),
        ("budget.hours=-1", "budget.hours"),
        ("workers.device=potato", "workers.device"),
        ("models.donors.first=zoo:sort_up", "did you mean 'sort-up'?"),
        (
            "search={optimizer: cma_es, scalarize: {method: tchebycheff, "
            "anchors: {likely: [9, 1], near: [0, 1]}}}",
            "scalarize.anchors.likely",
        ),
    ],
)
def test_an_override_that_is_wrong_is_named(world, override, words):
    assert refused(
        world, words, arguments=("run", world.write(), "--out", "run", "--set", override)
    )


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        (["trials=0.5"], "whole"),
        (["trials=inf"], "positive"),
        (["trials=-3"], "positive"),
        (["trials=x"], "positive"),
        (["trials"], "kind=amount"),
        (["trails=4"], "did you mean 'trials'?"),
        (["hours=1"], "no budget of that kind, only trials"),
        (["trials=1", "trials=2"], "once"),
        (["trials=1", "hours=2"], "no budget of that kind"),
    ],
)
def test_budget_that_cannot_be_added(world, amounts, words):
    assert world.run()[0] == 0
    options = [word for amount in amounts for word in ("--add", amount)]
    code, _, err = world("resume", "run", *options)
    assert code == 2, err
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert json.loads(world("status", "run", "--json")[1])["budget"]["trials"] == 12


@pytest.mark.parametrize("device", ["potato", "meta"])
def test_merging_on_a_device_that_is_not_there(world, device):
    (world.folder / "r.yaml").write_text(
        f"merge_method: passthrough\nmodels: [{{model: {world.models / 'first'}}}]\n"
    )
    assert refused(world, device, arguments=("merge", "r.yaml", "out", "--device", device))


def test_all_errors_at_once(world):
    world.study["models"]["donors"]["first"] = "./gone"
    world.study["objectives"]["near"]["fitness"] = "l3_distance"
    del world.study["objectives"]["likely"]["search"]
    code, _, err = world.run()
    assert code == 2
    assert len(err.strip().splitlines()) == 3


def test_a_run_directory_that_exists(world):
    assert world.run()[0] == 0
    before = read_events(world.folder / "run")
    code, _, err = world.run()
    assert code == 2
    assert "evomerge resume" in err
    assert read_events(world.folder / "run") == before


def test_a_run_directory_that_is_locked(world):
    world.study["budget"] = {"trials": 6}
    assert world.run()[0] == 0
    with Journal(world.folder / "run"):
        script = (
            "from evomerge.cli.app import main; import sys; "
            "sys.argv[1:] = ['resume', 'run']; main()"
        )
        root = str(Path(__file__).parents[2])
        other = subprocess.run(
            [sys.executable, "-c", script],
            cwd=world.folder,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
    assert other.returncode == 2
    assert "in use by another" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1


def test_a_changed_donor_is_noticed_on_resume(world):
    target = copy_of(world, "second")
    world.study["budget"] = {"trials": 6}
    assert world.run()[0] == 0
    tensors = load_file(target / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    code, _, err = world("resume", "run", "--add", "trials=2")
    assert code == 2
    assert "models.donors.second changed" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_loses_nothing(world):
    disk = world.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        world.study["budget"] = {"trials": 2000}
        world.study["search"] = {"optimizer": "random"}
        code, _, err = world("run", world.write(), "--out", disk / "run")
        assert code == 2, err
        assert len([line for line in err.splitlines() if line.startswith("evomerge:")]) == 1
        assert "full" in err or "space" in err
        finished = [e for e in read_events(disk / "run") if e.kind == "finished"]
        assert finished
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        with Journal(disk / "run") as journal:
            assert [e.content for e in journal.events if e.kind == "finished"] == [
                e.content for e in finished
            ]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("merge", "gone.yaml", "out"),
        ("front", "nowhere"),
        ("status", "nowhere"),
        ("resume", "nowhere"),
        ("export", "out", "--run", "nowhere"),
        ("export", "out"),
        ("frnt",),
        ("run",),
    ],
)
def test_commands_that_mean_nothing(world, arguments):
    code, _, err = world(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_merging_a_bad_recipe(world):
    (world.folder / "r.yaml").write_text(
        "merge_method: linear\nmodels:\n"
        f"  - model: {world.models / 'first'}\n    parameters: {{wieght: 1}}\n"
    )
    assert refused(world, "wieght", "weight", arguments=("merge", "r.yaml", "out"))
    assert not (world.folder / "out").exists()
