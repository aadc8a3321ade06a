"""Merges of the shipped models: resident, and exported for lm-evaluation-harness to load."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evomerge import zoo
from evomerge.fitness import MergedModel
from evomerge.merging import MergeEngine, load_resident
from evomerge.recipe.model import Recipe

from .tasks_of_ours import write_tasks

RESAMPLES = 200


@pytest.fixture(scope="session", autouse=True)
def quiet():
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISABLE_MULTIPROC", "1")  # the harness resamples in this process
        yield


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def recipe(dtype="float32", **weights):
    models = zoo.path() / "models"
    return Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(models / "base"),
            "models": [
                {"model": str(models / name.replace("_", "-")), "parameters": {"weight": weight}}
                for name, weight in weights.items()
            ],
            "parameters": {"normalize": False},
            "dtype": dtype,
        }
    )


@dataclass
class Merge:
    """One merge, in memory and on disk."""

    recipe: Recipe
    module: Any
    tokenizer: Any
    folder: Path
    engine: MergeEngine
    exported: Any = None  # as the harness loads it; set it to None where the folder has changed

    def view(self, items, split="search"):
        """Return the merge with items to score."""
        return MergedModel(
            self.module,
            self.tokenizer,
            recipe=self.recipe,
            split=split,
            items=items,
            device="cpu",
            write=lambda folder: self.engine.write(self.recipe, folder),
            delta=lambda: None,
        )

    def scored(self, fitness, items, split="search"):
        """Score items as a worker does."""
        with self.view(items, split) as merged:
            return fitness(merged)

    def harness(self, tasks, names, *, dtype="float32", batch_size=64, **options):
        """Score the exported checkpoint by the harness alone."""
        model = HFLM(pretrained=str(self.folder), device="cpu", dtype=dtype, batch_size=batch_size)
        options.setdefault("bootstrap_iters", RESAMPLES)
        return simple_evaluate(
            model=model,
            tasks=names,
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
            log_samples=True,
            **options,
        )


def make_merge(folder, dtype="float32", **weights):
    engine = MergeEngine()
    own = recipe(dtype, **weights)
    resident = load_resident(engine, own)
    engine.write(own, folder)
    return Merge(own, resident.module, resident.tokenizer, folder, engine)


@pytest.fixture(scope="session")
def merges(tmp_path_factory):
    """Two candidates that answer differently."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("merges")
    return (
        make_merge(folder / "first", sort_up=0.8, flip=0.3),
        make_merge(folder / "second", sort_down=0.7, flip=0.4),
    )
