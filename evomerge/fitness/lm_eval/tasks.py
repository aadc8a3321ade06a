"""Tasks and groups as lm-evaluation-harness loads them, once for a process."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.config.group import AggMetricConfig
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import env as environment
from tqdm import tqdm

from evomerge.errors import DataError, FitnessError, nearest
from evomerge.fitness.lm_eval.documents import DatasetSplit

_HARNESS = "lm_eval"

Spec = str | dict[str, Any]
"""A task as a study names it: a name, or a whole task configuration."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a study changes about tasks, as `lm_eval.simple_evaluate` does.

    Attributes:
        num_fewshot: examples before each question, where the task does not insist on none.
        fewshot_seed: seeds the choice of the examples.
        gen_kwargs: changes to the generation arguments.
        confirm_run_unsafe_code: run tasks that execute what the model writes.
    """

    num_fewshot: int | None
    fewshot_seed: int
    gen_kwargs: Mapping[str, Any]
    confirm_run_unsafe_code: bool


@dataclass(frozen=True, slots=True)
class Suite:
    """Loaded tasks and how their scores become one.

    Attributes:
        tasks: leaf tasks by name, in the order in which lm-eval runs them.
        groups: what is aggregated, children before parents.
        main: the task or group whose metrics the objective chooses from. Several names, tags and
            groups that do not aggregate are pooled as lm-eval's groups are by default, weighted
            by size.
    """

    tasks: dict[str, Task]
    groups: tuple[Group, ...]
    main: str

    @property
    def main_group(self) -> Group | None:
        """The group of that name; None for a single task."""
        return next((group for group in self.groups if group.name == self.main), None)

    @property
    def samples(self) -> bool:
        """Whether answers of some task are drawn."""
        kwargs = [
            task.config.generation_kwargs or {}
            for task in self.tasks.values()
            if task.OUTPUT_TYPE == "generate_until"
        ]
        return any(normalize_gen_kwargs(dict(own), 1)["do_sample"] for own in kwargs)


@contextmanager
def as_seeded(device: torch.device | None = None) -> Iterator[None]:
    """Let the harness draw from the global generators as it seeds them, then put them back.

    Tasks shuffle choices by `random`, and sampled answers are drawn by torch; simple_evaluate
    seeds all three generators, so the same is done here, for a while.

    Args:
        device: where answers are drawn; torch is not asked to seed any other, which takes it a
            millisecond each time.
    """
    python, legacy = random.getstate(), np.random.get_state()
    drawing = device is not None and device.type != "cpu"
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        (torch.manual_seed if drawing else torch.default_generator.manual_seed)(DEFAULT_OTHER_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep what the harness logs about every step off the terminal; errors still show.

    Handlers are told to drop it. A change of the logger's level would make every logger of the
    process forget what it knows of its own, for each candidate anew.
    """
    hush = _Hush()
    own = [*logging.getLogger(_HARNESS).handlers, *logging.getLogger().handlers]
    handlers = [handler for handler in (*own, logging.lastResort) if handler is not None]
    for handler in handlers:
        handler.addFilter(hush)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(hush)


class _Hush(logging.Filter):
    """Drops what the harness logs, but for errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown."""
        return record.levelno >= logging.ERROR or record.name.split(".")[0] != _HARNESS


@contextmanager
def templates_kept() -> Iterator[None]:
    """Let the harness compile each of its templates once, not for every document."""
    own = environment.from_string
    environment.from_string = _compiled
    try:
        yield
    finally:
        environment.from_string = own


@lru_cache(maxsize=4096)
def _compiled(template: str) -> Any:
    return type(environment).from_string(environment, template)


def load_suite(
    specs: Sequence[Spec],
    *,
    include_path: Path | None,
    metadata: Mapping[str, Any],
    overrides: Overrides,
    split: DatasetSplit | None,
) -> Suite:
    """Load tasks and groups, ready for their requests to be built.

    Args:
        specs: names of tasks, groups or tags, or task configurations.
        include_path: a folder with YAML files of the user's.
        metadata: passed to every task.
        overrides: what the study changes.
        split: score documents of this split of the dataset instead of the task's own.

    Raises:
        FitnessError: a name is unknown, or a task cannot be run here.
        DataError: a task's dataset has no such split.
    """
    # A lock of this process only: tqdm's own is a semaphore of the system, which would outlive a
    # worker that is ended, and be complained about.
    tqdm.set_lock(threading.RLock())
    with hushed(), as_seeded():
        loaded, top = _load(specs, include_path, json.dumps(metadata, sort_keys=True))
    tasks: dict[str, Task] = loaded["tasks"]
    for name, task in tasks.items():
        _override(name, task, overrides)
        if split is not None:
            _use_split(name, task, split)
    groups = _bottom_up(loaded["groups"].values())
    if len(top) == 1 and (isinstance(top[0], Task) or top[0].has_aggregation):
        only = top[0]
        return Suite(tasks, groups, only.task_name if isinstance(only, Task) else only.name)
    pool = _pool(top, tasks)
    return Suite(tasks, (*groups, pool), pool.name)


def _load(
    specs: Sequence[Spec], include_path: Path | None, metadata: str
) -> tuple[dict[str, Any], list[Any]]:
    """Return what the harness loads, and the tasks and groups that were asked for."""
    if include_path is not None and not include_path.is_dir():
        raise FitnessError(
            f"include_path {include_path} is no folder; it holds YAML files of tasks"
        )
    manager = _manager(include_path, metadata, shipped=False)
    if not _suffices(manager, specs):
        manager = _manager(include_path, metadata, shipped=True)
    for spec in specs:
        if isinstance(spec, str) and spec not in manager.task_index:
            raise FitnessError(
                f"lm_eval has no task, group or tag '{spec}'; {nearest(spec, manager.all_tasks)}"
            )
    top: list[Any] = []
    # One by one, because a tag is a list of tasks and `load` forgets which name gave what.
    for spec in specs:
        try:
            found = manager.load([spec])
        except (OSError, ValueError, KeyError, TypeError, ConnectionError) as error:
            name = spec if isinstance(spec, str) else spec.get("task", "?")
            raise FitnessError(
                f"task '{name}' cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        children = {one for group in found["groups"].values() for one in group.child_names}
        top += [group for name, group in found["groups"].items() if name not in children]
        grouped = {
            task.task_name for group in found["groups"].values() for task in group.get_all_tasks()
        }
        top += [task for name, task in found["tasks"].items() if name not in grouped]
    return dict(manager.load(top)), top


@lru_cache(maxsize=8)
def _manager(include_path: Path | None, metadata: str, *, shipped: bool) -> TaskManager:
    """Index task files; those that come with the harness take seconds to read."""
    return TaskManager(
        include_path=include_path, include_defaults=shipped, metadata=json.loads(metadata)
    )


def _suffices(manager: TaskManager, specs: Sequence[Spec]) -> bool:
    """Say whether the user's own files define all that is asked for, so that they do alone."""
    waiting: list[Any] = list(specs)
    seen: set[str] = set()
    while waiting:
        spec = waiting.pop()
        if isinstance(spec, dict):
            if "group" in spec or "task_list" in spec:
                return False
            continue
        entry = manager.task_index.get(spec)
        if entry is None:
            return False
        members = (entry.cfg or {}).get("task")
        if spec not in seen and isinstance(members, list):
            seen.add(spec)
            waiting += [one["task"] if isinstance(one, dict) else one for one in members]
    return True


def _override(name: str, task: Any, overrides: Overrides) -> None:
    """Apply the study's changes to a task, by simple_evaluate's rules."""
    if getattr(task, "MULTIMODAL", False):
        raise FitnessError(f"task '{name}' shows images or plays sounds; only text can be scored")
    if getattr(task, "UNSAFE_CODE", False) and not overrides.confirm_run_unsafe_code:
        raise FitnessError(
            f"task '{name}' runs code that the model writes; "
            "write 'confirm_run_unsafe_code: true' to run it on this machine"
        )
    if overrides.gen_kwargs and task.get_config("output_type") == "generate_until":
        task.set_config("generation_kwargs", dict(overrides.gen_kwargs), update=True)
    own = task.get_config("num_fewshot")
    if overrides.num_fewshot is not None and own != 0:
        task.set_config("num_fewshot", overrides.num_fewshot)
    elif own is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(overrides.fewshot_seed)


def _use_split(name: str, task: Any, split: DatasetSplit) -> None:
    """Make a task score on another split of its dataset.

    The harness scores on the task's test split where it names one; examples keep coming from
    where the task takes them, and never are the scored document itself.

    Raises:
        FitnessError: the task is written in Python.
        DataError: it has no such split.
    """
    if not isinstance(task, ConfigurableTask):
        raise FitnessError(f"task '{name}' is written in Python; remove 'split', it scores its own")
    key = {"train": "training_split", "validation": "validation_split", "test": "test_split"}[split]
    if task.get_config(key) is None:
        named = [
            one
            for one in ("training_split", "validation_split", "test_split")
            if task.get_config(one)
        ]
        raise DataError(f"task '{name}' names no {key}; it has {', '.join(named) or 'none'}")
    task.set_config("test_split", task.get_config(key))


def _bottom_up(groups: Any) -> tuple[Group, ...]:
    ordered: dict[str, Group] = {}

    def visit(group: Group) -> None:
        for child in group:
            if isinstance(child, Group):
                visit(child)
        ordered.setdefault(group.name, group)

    for group in groups:
        visit(group)
    return tuple(ordered.values())


def _pool(top: Sequence[Any], tasks: Mapping[str, Any]) -> Group:
    """Group what was asked for, as a group that aggregates every metric by size."""
    names = [one.task_name if isinstance(one, Task) else one.name for one in top]
    metrics = dict.fromkeys(metric for task in tasks.values() for metric in task.aggregation())
    pool = Group(
        name="+".join(names),
        aggregate_metric_list=[AggMetricConfig(metric=name, filter_list=None) for name in metrics],
    )
    for one in top:
        pool.add(one)
    return pool
