"""Whole runs with rungs, scored by a formula: how to start them, and what they wrote."""

from __future__ import annotations

import math

import numpy as np

from evomerge.journal import read_events
from evomerge.study import run as run_module
from evomerge.study import start_run
from evomerge.types import Completed, Failed, Objective
from evomerge.workers import JobResult
from tests.study import fakes
from tests.study.fakes import (
    ITEMS,
    FakeExecutor,
    Interrupting,
    config,
    weights_of,
    without_models,
)

RUNGS = {
    "space": "tests.study.fakes:plain_space",
    "search": {"optimizer": "random"},
    "rungs": {"items": [5, 20], "promote": 0.4},
    "budget": {"trials": 36},
    "front": {"baselines": ["base", "donors"], "size": 6},
}
HALVING = {
    "search": {"optimizer": "nsga2", "population": 8},
    "rungs": {"items": [5, 20], "promote": 0.4, "rule": "halving", "cohort": 6},
}
IRT = {"rungs": {"items": [5, 20], "promote": 0.4, "order": "half_entropy", "estimator": "gmp_irt"}}
PROXIES = {
    "objectives": {
        "one": {"fitness": "f", "search": "s", "proxy": {"fitness": "p"}},
        "two": {"fitness": "f", "goal": "minimize", "search": "s", "proxy": {"fitness": "p"}},
    },
    "rungs": {"items": [5], "keep": 0.4},
}
BRACKETS = {"rungs": {"items": [5, 20], "promote": 0.4, "brackets": "all"}}
HALVING_BRACKETS = {
    "search": {"optimizer": "random"},
    "rungs": {**HALVING["rungs"], "cohort": 8, "brackets": "all"},
}
CLUSTERS = {"rungs": {**RUNGS["rungs"], "order": "clusters", "estimator": "weighted"}}
REFIT = {"rungs": {**RUNGS["rungs"], "estimator": {"name": "p_irt", "refit": 3}}}
RACE = {"rungs": {"items": [5, 10, 20, 40], "promote": None, "race": 0.1}}


def bounded(monkeypatch):
    """No models, and objectives whose bounds are known."""
    without_models(monkeypatch, run_module)
    objectives = (Objective("one", bounds=(0, 1)), Objective("two", "minimize", bounds=(0, 1)))
    monkeypatch.setattr(fakes, "OBJECTIVES", objectives)


def answers(recipe, name):
    """Of each item a score in [0, 1], smoother in the weights the more items there are."""
    a, b = weights_of(recipe)
    quality = {"one": 1 - (a - 0.9) ** 2 - 0.1 * b, "two": 0.2 + (b - 0.8) ** 2 + 0.2 * a}[name]
    hardness = np.random.default_rng(len(name)).random(len(ITEMS[name]))
    return {
        item: round(float(np.clip(quality + 0.6 * (h - 0.5), 0, 1)), 3)
        for item, h in zip(ITEMS[name], hardness, strict=True)
    }


class ByItem(FakeExecutor):
    """Scores the items it is asked for, and remembers which."""

    def __init__(self, *args, spoilt=(), **options):
        super().__init__(*args, **options)
        self.jobs = []
        self.completed = []
        self._spoilt = spoilt

    def wait(self, timeout_s=None):
        results = []
        for result in super().wait(timeout_s):
            job, outcome = result.job, result.outcome
            if isinstance(outcome, Completed):
                outcome = self.scored(job)
            if job.id in self._spoilt and job.attempt < 2:
                outcome = Failed("lost", "the worker died")
            self.jobs.append(job)
            self.completed += [job] if isinstance(outcome, Completed) else []
            results.append(JobResult(job, outcome, 0.1, 0.2, "fake"))
        return results

    def scored(self, job):
        metrics, examples = {}, {}
        for name, items in ITEMS.items():
            scores = answers(job.recipe, name)
            chosen = range(len(items)) if job.batch is None else job.batch[name]
            if job.limit is not None:
                chosen = range(job.limit)
            if len(chosen) > 0:
                examples[name] = {items[p]: scores[items[p]] for p in chosen}
                metrics[name] = sum(examples[name].values()) / len(chosen)
        return Completed(metrics, examples)


class ByProxy(ByItem):
    """Answers by proxies too: losses that order candidates as the scores do, or the other way."""

    def __init__(self, *args, contrary=False, **options):
        super().__init__(*args, **options)
        self._sign = -1.0 if contrary else 1.0

    def scored(self, job):
        if not job.proxy:
            return super().scored(job)
        metrics = {}
        for name, sign in (("one", -1.0), ("two", 1.0)):
            scores = answers(job.recipe, name)
            positions = range(job.limit) if job.batch is None else job.batch[name]
            chosen = [scores[ITEMS[name][position]] for position in positions]
            metrics[name] = math.exp(self._sign * sign * float(np.mean(chosen)))
        return Completed(metrics)


class InterruptedByItem(ByItem, Interrupting):
    """Both."""


def start(out, executor=None, **changes):
    chosen = executor or ByItem()
    start_run(config(**{**RUNGS, **changes}), out.parent, out, executor=lambda _: chosen)
    return chosen


def events_of(out, *kinds):
    return [event for event in read_events(out) if event.kind in kinds]


def contents(out):
    return [event.content for event in read_events(out) if event.kind != "opened"]


def rungs_of(out):
    """Trial to the rungs it was measured at."""
    found = {}
    for event in events_of(out, "measured"):
        found.setdefault(event.trial, []).append(event.payload["rung"])
    return found


def known_trials(out):
    return {
        e.trial for e in events_of(out, "asked") if e.payload["origin"].startswith(("seed", "init"))
    }
