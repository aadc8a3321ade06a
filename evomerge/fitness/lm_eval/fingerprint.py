"""What scores of lm-eval's tasks depend on beside the scored documents."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.task import Task

from evomerge.fitness.lm_eval.tasks import Suite

_PLACES = frozenset({"config_source"})
"""Of a task's metadata: where its file is, which differs from machine to machine."""
_BY_DOCUMENTS = frozenset({"test_split"})
"""Keys that say which documents are scored; these are items, and told by their content."""


def fingerprint(suite: Suite) -> dict[str, str]:
    """Identify each task and group of a suite by its content.

    Of a task: its configuration as it was loaded, whatever it includes, with the files that its
    functions are defined in, and the documents its examples are drawn from, where it shows some.
    What these files import is not in it.

    Args:
        suite: loaded, with the study's changes.

    Returns:
        "task 'name'" or "group 'name'" to a sha256.
    """
    found = {f"task '{name}'": _digest(_task(task)) for name, task in suite.tasks.items()}
    for group in suite.groups:
        described = [group.child_names, group.aggregate_metric_list]
        found[f"group '{group.name}'"] = _digest(described)
    return found


def _task(task: Task) -> dict[str, Any]:
    config = {key: value for key, value in vars(task.config).items() if key not in _BY_DOCUMENTS}
    metadata = config.get("metadata")
    if isinstance(metadata, Mapping):
        config["metadata"] = {k: v for k, v in metadata.items() if k not in _PLACES}
    shown = list(task.fewshot_docs() or ()) if task.config.num_fewshot else []
    return {"class": type(task), "config": config, "examples": shown}


def _digest(described: Any) -> str:
    return hashlib.sha256(json.dumps(described, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Write what JSON cannot, the same in every process."""
    if callable(value):
        return _code(value)
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    text = str(value)
    return type(value).__qualname__ if f" at {hex(id(value))}" in text else text


def _code(value: Any) -> list[Any]:
    """Return the name of a function or class and the content of its file, or what it wraps."""
    if not hasattr(value, "__qualname__") and hasattr(value, "func"):  # functools.partial
        return ["partial", value.func, value.args, value.keywords]
    value = inspect.unwrap(value)
    defined = value if hasattr(value, "__qualname__") else type(value)
    try:
        file = inspect.getsourcefile(defined)
    except TypeError:  # it is built in
        file = None
    content = "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return [defined.__qualname__, content]
