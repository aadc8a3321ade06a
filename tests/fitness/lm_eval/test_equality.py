"""Scores are lm-evaluation-harness's own on the exported checkpoint, to the last bit."""

from __future__ import annotations

import math

import pytest

from evomerge.fitness.lm_eval import LmEval

from .conftest import RESAMPLES, make_merge

ALL = {"docs": [0, None]}


def of_example(sample, metric):
    return float(sample[metric])


def stripped(results, main):
    """Return the harness's results as our names have them: those of `main` without a prefix."""
    found = {}
    for name, metrics in results.items():
        for key, value in metrics.items():
            if "," in key and value != "N/A":
                found[key if name == main else f"{name}/{key}"] = value
    return found


def test_every_kind_of_task(tasks, merges):
    names = ["pick_sort_up", "continued", "rolling", "sorted", "translated"]
    metrics = ["acc,none", "acc,none", "bits_per_byte,none", "exact_match,whole", "chrf,none"]
    theirs = merges[0].harness(tasks, names, batch_size=4)
    for name, metric in zip(names, metrics, strict=True):
        fitness = LmEval(
            name, metric=metric, include_path=tasks, batch_size=4, bootstrap_iters=RESAMPLES
        )
        ours = merges[0].scored(fitness, fitness.list_items(ALL))
        # Alone, a task has the batches of a task alone.
        alone = merges[0].harness(tasks, [name], batch_size=4)
        assert ours.metrics == stripped(alone["results"], name)
        together = stripped({name: theirs["results"][name]}, name)
        assert ours.metrics == pytest.approx(together, rel=1e-6)
