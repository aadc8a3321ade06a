"""What a candidate costs through `fitness: lm_eval` and through lm-eval's own simple_evaluate.

    python experiments/lm_eval_speed/measure.py [--repeats 5]

Both score the same resident merge of the shipped models on the same documents: 64 questions of four
choices and 64 answers to be written, with one example before each question. simple_evaluate gets
the model in memory and the index of tasks, at its default batch size, 1, and at 16; `tasks` says
whether it loads the tasks for every candidate, as it does when it is given their names, or gets
them loaded. Every line is the median and range of the repeats in seconds of CPU time of one thread,
after one that is not counted; scores are compared and must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evomerge import zoo
from evomerge.fitness import MergedModel
from evomerge.fitness.lm_eval import LmEval
from evomerge.merging import MergeEngine, load_resident
from evomerge.recipe.model import Recipe

N_DOCS = 64
TASKS = {"pick": "acc,none", "write": "exact_match,none"}


def write_tasks(folder: Path) -> None:
    """Write the two tasks and their data."""
    path = zoo.path() / "data" / "sort_up.search.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        answer = row["answer"]
        wrong = [answer[::-1], answer[1:] + answer[:1], answer[-2:] + answer[:-2]]
        gold = number % 4
        row |= {"gold": gold, "choices": [*wrong[:gold], answer, *wrong[gold:]]}
    files = {}
    for split, part in (("test", rows[:N_DOCS]), ("train", rows[N_DOCS:])):
        files[split] = str(folder / f"{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in part))
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "training_split": "train",
        "fewshot_split": "train",
        "num_fewshot": 1,
        "fewshot_delimiter": " ",
        "doc_to_text": "{{prompt}}",
    }
    accuracy = {"aggregation": "mean", "higher_is_better": True}
    pick = {
        "task": "pick",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc", **accuracy}],
    }
    write = {
        "task": "write",
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "generation_kwargs": {"until": [","], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match", **accuracy}],
    }
    for task in (pick, write):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(shared | task))


def recipe() -> Recipe:
    """Describe the merge that is scored."""
    models = zoo.path() / "models"
    return Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(models / "base"),
            "models": [
                {"model": str(models / name), "parameters": {"weight": weight}}
                for name, weight in (("sort-up", 0.6), ("flip", 0.3))
            ],
            "parameters": {"normalize": False},
            "dtype": "float32",
        }
    )


def seconds(step: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Time a step on the CPU, after one call that is not counted; returns its last result too."""
    found, result = [], step()
    for _ in range(repeats):
        started = time.process_time()
        result = step()
        found.append(time.process_time() - started)
    return found, result


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        write_tasks(folder)
        resident = load_resident(MergeEngine(), recipe())
        for task, metric in TASKS.items():
            compare(folder, resident, task, metric, repeats)


def compare(folder: Path, resident: Any, task: str, metric: str, repeats: int) -> None:
    """Measure one task both ways."""
    options: dict[str, Any] = {"include_path": folder, "batch_size": 16}
    fitness = LmEval(task, metric, **options)
    sharing = LmEval(task, metric, **options, share_contexts=True)
    items = fitness.list_items({"docs": [0, None]})
    sharing.list_items({"docs": [0, None]})

    def ours(fitness: LmEval = fitness) -> float:
        model = MergedModel(
            resident.module,
            resident.tokenizer,
            recipe=recipe(),
            split="search",
            items=items,
            device="cpu",
            write=lambda _: None,
            delta=lambda: None,  # type: ignore[arg-type, return-value]
        )
        return float(fitness(model).metrics[metric])

    own, expected = seconds(ours, repeats)
    report(task, "fitness: lm_eval, batch size 16", own, own)
    spent, score = seconds(lambda: ours(sharing), repeats)
    if score != expected:
        raise RuntimeError(f"{task}: {score} is not {expected}")
    report(task, "fitness: lm_eval, share_contexts", spent, own)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = list(manager.load([task])["tasks"].values())
    for batch_size in (1, 16):
        for label, tasks in (("by name", [task]), ("loaded", loaded)):
            model = HFLM(
                pretrained=resident.module, tokenizer=resident.tokenizer, batch_size=batch_size
            )

            def theirs(model: Any = model, tasks: Any = tasks) -> Any:
                return simple_evaluate(model=model, tasks=tasks, task_manager=manager)

            spent, results = seconds(theirs, repeats)
            score = results["results"][task][metric]
            if score != expected:
                raise RuntimeError(f"{task}: {score} is not {expected}")
            title = f"simple_evaluate, batch size {batch_size}, tasks {label}"
            report(task, title, spent, own)


def report(task: str, title: str, spent: list[float], own: list[float]) -> None:
    """Print a median with its range, and how many times ours it is."""
    median = statistics.median(spent)
    ratio = median / statistics.median(own)
    extent = f"({min(spent):.3f} to {max(spent):.3f})"
    print(f"{task:6} {title:46} {median:8.3f} s {extent}  {ratio:5.2f} x")


if __name__ == "__main__":
    main()
