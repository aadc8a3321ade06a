"""Task files with data of their own, made from the shipped models' items; no network."""

from __future__ import annotations

import json

import yaml

from evomerge import zoo

N_DOCS = 12


def items(name, split="search"):
    path = zoo.path() / "data" / f"{name}.{split}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(folder, name, **splits):
    """Write the splits of a dataset; returns how a task names it."""
    files = {}
    for split, rows in splits.items():
        path = folder / f"{name}.{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[split] = str(path)
    kwargs = {"data_files": files, "cache_dir": str(folder / "cache")}
    return {"dataset_path": "json", "dataset_kwargs": kwargs}


def write_tasks(folder):
    """Write every kind of task into a folder."""
    for config in _configs(folder):
        name = config.get("task") if isinstance(config.get("task"), str) else config["group"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def _configs(folder):
    shown = {"training_split": "train", "fewshot_split": "train", "test_split": "test"}
    likely = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "fewshot_delimiter": " ",
        **shown,
    }
    accuracies = [
        {"metric": name, "aggregation": "mean", "higher_is_better": True}
        for name in ("acc", "acc_norm")
    ]
    for name, n_docs in (("sort_up", N_DOCS), ("sort_down", 7), ("flip", 10)):
        rows = [_choice(row, number) for number, row in enumerate(items(name))]
        data = write_rows(folder, f"pick_{name}", train=rows[100:], test=rows[:n_docs])
        yield {"task": f"pick_{name}", "metric_list": accuracies, **likely, **data}
    for name, weighted in (("by_size", True), ("equally", False)):
        aggregate = {"metric": "acc", "weight_by_size": weighted}
        tasks = ["pick_sort_up", "pick_sort_down"]
        yield {"group": name, "task": tasks, "aggregate_metric_list": [aggregate]}
    yield {
        "group": "nested",
        "task": ["by_size", "pick_flip"],
        "aggregate_metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }

    rows = items("sort_up")
    # Three documents twice, far apart: what is searched with must not be held out.
    data = write_rows(folder, "sorted", train=rows[100:], test=[*rows[:N_DOCS], *rows[:3]])
    written = {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "fewshot_delimiter": " ",
        "generation_kwargs": {"until": [","], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": "first",
                "filter": [
                    {"function": "regex", "regex_pattern": "^(.{1,7})"},
                    {"function": "take_first"},
                ],
            },
            {"name": "whole", "filter": [{"function": "take_first"}]},
        ],
    }
    yield {"task": "sorted", **written, **shown, **data}
    voted = {
        "task": "voted",
        "repeats": 3,
        "filter_list": [
            {"name": "vote", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]}
        ],
        "generation_kwargs": {
            **{"until": [","], "max_gen_toks": 12, "do_sample": True, "temperature": 0.8}
        },
    }
    yield {**written, **voted, "test_split": "test", **data}
    yield {
        "task": "translated",
        **written,
        "test_split": "test",
        **data,
        "metric_list": [{"metric": "chrf", "aggregation": "chrf", "higher_is_better": True}],
        "filter_list": None,
    }

    longer = [
        {"text": " ".join(row["prompt"] + row["answer"] for row in rows[k : k + 4])}
        for k in range(0, 4 * N_DOCS, 4)
    ]
    yield {
        "task": "rolling",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "test_split": "test",
        **write_rows(folder, "rolling", test=longer),
        "metric_list": [
            {"metric": "word_perplexity"},
            {"metric": "byte_perplexity"},
            {"metric": "bits_per_byte"},
        ],
    }
    yield {
        "task": "continued",
        "output_type": "loglikelihood",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        **shown,
        **data,
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    }


def _choice(row, number):
    """Make a question of an item: its answer among three that are not."""
    answer = row["answer"]
    wrong = [answer[::-1], answer[1:] + answer[:1], answer[-2:] + answer[:-2]]
    gold = number % 4
    choices = [*wrong[:gold], answer, *wrong[gold:]]
    return {"prompt": row["prompt"], "choices": choices, "gold": gold}
