"""A study of lm-evaluation-harness's tasks, from check to report."""

from __future__ import annotations

import json
import shutil

import datasets
import pytest
import yaml

from evomerge.fitness.lm_eval import LmEval
from evomerge.journal import read_events

TASK = {
    "task": "sums",
    "dataset_path": "openai/gsm8k",  # for its name only: the rows come from below
    "test_split": "test",
    "training_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "{{ask}}=",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
ROWS = """
import datasets


def rows(first, last):
    return datasets.Dataset.from_list(
        [
            {"ask": f"{n}+{n + 1}", "choices": [str(2 * n), str(2 * n + 1)], "gold": 1}
            for n in range(first, last)
        ]
    )


def splits(**_):
    return datasets.DatasetDict({"train": rows(100, 110), "test": rows(0, 40)})
"""
WARNING = (
    "objective 'sums': sums: the search scores the public test set of GSM8K; what it finds is "
    "fitted to that set, so do not report GSM8K scores of it"
)


@pytest.fixture
def study(world):
    folder = world.folder / "tasks"
    folder.mkdir()
    text = yaml.safe_dump(TASK, sort_keys=False)
    (folder / "sums.yaml").write_text(f"{text}custom_dataset: !function rows.splits\n")
    (folder / "rows.py").write_text(ROWS)
    world.study["objectives"] = {
        "sums": {
            "fitness": "lm_eval",
            "tasks": ["sums"],
            "metric": "acc",
            "include_path": "./tasks",
            "num_fewshot": 1,
            "limit": 8,
        }
    }
    world.study["search"] = {"optimizer": "random"}
    world.study["budget"] = {"trials": 6}
    return world


def scored(event):
    return "metrics" in event.payload


def test_from_check_to_report(study):
    code, out, err = study("check", study.write())
    assert code == 0, err
    assert "sums (maximize)" in out
    assert err == f"warning: {WARNING}\n"
    code, out, _ = study("check", study.write(), "--json", "--estimate")
    told = json.loads(out)
    assert told["warnings"] == [WARNING]
    assert "what 'lm_eval' asks is its own" in json.dumps(told["estimate"])

    code, _, err = study.run()
    assert code == 0, err
    assert f"warning: {WARNING}\n" in err
    run = study.folder / "run"
    events = [event.payload for event in read_events(run)]
    assert events[0]["warnings"] == [WARNING]
    assert events[0]["study"]["objectives"]["sums"]["search"] == {"half": "search"}
    finished = [event for event in events if "examples" in event and "attempt" in event]
    assert all("sums/acc_stderr,none" in event["notes"] for event in finished)

    code, out, _ = study("front", run)
    assert code == 0
    assert f"Warning: {WARNING}." in " ".join(out.split())
    assert "No interval" not in out  # the scores of single documents are there
    code, out, _ = study("front", run, "--json")
    assert all(row["holdout"] is not None for row in json.loads(out)["front"])
    code, out, _ = study("status", run)
    assert f"warnings  {WARNING}" in out
    assert json.loads(study("status", run, "--json")[1])["warnings"] == [WARNING]
    code, _, err = study("report", run, "--out", study.folder / "report")
    assert code == 0, err
    assert "public test set of GSM8K" in (study.folder / "report" / "report.html").read_text()
    code, _, err = study("resume", run, "--add", "trials=2")
    assert code == 0, err


def test_the_only_metric_needs_no_name(study):
    del study.study["objectives"]["sums"]["metric"]
    study.study["budget"] = {"trials": 2}
    assert study("check", study.write())[0] == 0
    code, _, err = study.run()
    assert code == 0, err
    named = {"metric": "acc,none", **study.study["objectives"]["sums"]}
    study.study["objectives"]["named"] = named
    code, _, err = study("run", study.write(), "--out", study.folder / "both")
    assert code == 0, err
    ours, both = (
        [event.payload["metrics"] for event in read_events(study.folder / name) if scored(event)]
        for name in ("run", "both")
    )
    assert [one["sums"] for one in ours] == [one["named"] for one in both]
    assert len(ours) > 2


def n_scored_anew(folder):
    return sum(event.timing.get("score_s", 0.0) > 0 for event in read_events(folder))


def test_a_changed_task_is_another_task(study):
    """No cached score is used, and no run goes on; told apart from what changes no score."""
    study.study |= {"cache": "cache.sqlite", "budget": {"trials": 2}}
    del study.study["front"]
    study.study["workers"] = {"count": 1, "threads": 1}  # another process finds the same tasks
    code, _, err = study("run", study.write(), "--out", study.folder / "first")
    assert code == 0, err
    n_all = n_scored_anew(study.folder / "first")
    assert n_all > 2

    study.study["workers"] = {"backend": "inline", "threads": 1}
    (study.folder / "tasks" / "other.yaml").write_text("task: other\ndataset_path: none\n")
    assert study("run", study.write(), "--out", study.folder / "same")[0] == 0
    assert n_scored_anew(study.folder / "same") == 0
    assert study("resume", study.folder / "same", "--add", "trials=1")[0] == 0

    yaml_file = study.folder / "tasks" / "sums.yaml"
    yaml_file.write_text(yaml_file.read_text().replace("{{ask}}=", "{{ask}} is "))
    assert study("run", study.write(), "--out", study.folder / "second")[0] == 0
    assert n_scored_anew(study.folder / "second") == n_all
    code, _, err = study("resume", study.folder / "first", "--add", "trials=1")
    assert code != 0
    told = f"objectives.sums: task 'sums' changed since {study.folder / 'first'} was started"
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("sums.yaml", "higher_is_better: true", "higher_is_better: false", False),
        ("sums.yaml", "test_split: test", "test_split: train", True),  # told by the items
        ("rows.py", "rows(100, 110)", "rows(101, 111)", False),
        ("rows.py", "def rows", "# A remark.\n\n\ndef rows", False),
    ],
)
def test_what_a_task_is_made_of(study, file, old, new, same):
    before = LmEval("sums", include_path=study.folder / "tasks").fingerprint()
    moved = study.folder / "moved"
    shutil.copytree(study.folder / "tasks", moved)
    assert LmEval("sums", include_path=moved).fingerprint() == before
    text = (moved / file).read_text()
    assert old in text
    (moved / file).write_text(text.replace(old, new))
    after = LmEval("sums", include_path=moved).fingerprint()
    assert list(after) == ["task 'sums'"]
    assert (after == before) is same


def test_examples_count_where_they_are_shown():
    def found(first, n_shown):
        rows = [{"q": f"{n}?", "a": n} for n in range(first, first + 3)]
        task = {
            "task": "inline",
            "custom_dataset": lambda **_: datasets.DatasetDict(
                {
                    "train": datasets.Dataset.from_list(rows),
                    "test": datasets.Dataset.from_list([{"q": "7?", "a": 7}]),
                }
            ),
            **{"training_split": "train", "test_split": "test"},
            **{"doc_to_text": "{{q}}", "doc_to_target": "{{a}}"},
            "metric_list": [{"metric": "exact_match"}],
        }
        return LmEval([task], num_fewshot=n_shown).fingerprint()

    assert found(0, 0) == found(1, 0) != found(0, 1) != found(1, 1)


@pytest.mark.parametrize("old", [False, True])
def test_a_template_that_nobody_has_is_found_by_check(study, old):
    """The default of a configuration of mergekit-evolve asks for one."""
    if old:
        genome = {"models": [str(study.models / "first")], "base_model": str(study.models / "base")}
        evolve = {"genome": {**genome, "merge_method": "ties"}, "tasks": ["sums"], "limit": 4}
        path = study.folder / "evolve.yml"
        path.write_text(yaml.safe_dump(evolve))
        _, told, _ = study("migrate", path)
        assert "set it to false" in " ".join(told.split())
        words = (path, "--task-search-path", study.folder / "tasks")
    else:
        study.study["objectives"]["sums"]["apply_chat_template"] = True
        words = (study.write(),)
    code, _, err = study("check", *words)
    assert code == 2
    assert (
        f"objectives.sums: the tokenizer of '{study.models / 'base'}' has no chat template; "
        "set apply_chat_template: false\n"
    ) in err
    if old:
        path.write_text(yaml.safe_dump(evolve | {"apply_chat_template": False}))
        assert study("check", *words)[0] == 0


def test_documents_of_both_sides_are_refused(study):
    study.study["objectives"]["sums"] |= {
        "limit": None,
        "search": {"docs": [0, 20]},
        "holdout": {"docs": [15, None]},
    }
    code, _, err = study("check", study.write())
    assert code == 2
    assert "objectives.sums.holdout: 5 items are search items too" in err


def test_training_documents_are_no_test_set(study):
    study.study["objectives"]["sums"] |= {
        "search": {"docs": [0, None], "split": "train"},
        "holdout": {"docs": [0, None]},
    }
    code, _, err = study("check", study.write())
    assert (code, err) == (0, "")


def test_everything_wrong_is_told_at_once(study):
    study.study["objectives"] = {
        "one": {"fitness": "lm_eval", "tasks": "sums", "include_path": "./tasks", "metrik": "acc"},
        "two": {
            **{"fitness": "lm_eval", "tasks": "sums", "include_path": "./tasks"},
            **{"search": {"docs": [40, 50]}, "holdout": {"docs": [0, 5]}},
        },
    }
    code, _, err = study("check", study.write())
    assert code == 2
    assert "objectives.one: fitness 'lm_eval': argument 'metrik' is unknown" in err
    assert "objectives.two.search: task 'sums' has 40 documents, none of them in" in err
    assert "Traceback" not in err
