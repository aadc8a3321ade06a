"""Reading a study file: YAML, overrides, and every problem at once with its line."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evomerge.errors import ConfigError
from evomerge.located_yaml import Locator, explain, load_located, render
from evomerge.redaction import secrets_in
from evomerge.study.config import StudyConfig


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file.

    Args:
        path: the YAML file.
        overrides: 'a.b=value' with the value in YAML, applied before validation.

    Raises:
        ConfigError: one line for each problem, with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; write one with 'evomerge init'"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return read_study(text, str(path), overrides)


def read_study(text: str, source: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read the text of a study file.

    Args:
        text: the YAML.
        source: the file's name, for messages.
        overrides: as of `load_study`.

    Raises:
        ConfigError: one line for each problem, with file and line.
    """
    data, locate = load_located(text, source, lambda line: ConfigError([line]))
    if data is None:
        raise ConfigError([f"{source}: the file is empty; write a study with 'evomerge init'"])
    if not isinstance(data, dict):
        raise ConfigError([f"{source}: a study is a mapping of keys, got {type(data).__name__}"])
    if overrides:  # lines would point at what the overrides replaced
        data = overridden(data, overrides)
        locate, source = Locator.of(data), f"{source} with --set"
    # the address of `notify` is redacted where it is recorded
    secrets = [path for path in secrets_in(data) if path[0] != "notify"]
    if secrets:
        raise ConfigError(
            f"{locate.place(path, source)}: {render(path)}: a secret, and every run records its "
            "study; leave it out, and let what needs it read it from the environment"
            for path in secrets
        )
    try:
        return StudyConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, locate, source, StudyConfig)) from error


def overridden(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the content of a study file with keys set anew.

    Args:
        data: left as it is.
        overrides: as of `load_study`.

    Raises:
        ConfigError: an override is malformed, or there is no such place.
    """
    changed = copy.deepcopy(dict(data))  # aliases share values
    for override in overrides:
        _apply(changed, override)
    return changed


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one dotted key, 'stages.0.trials' in a list; YAML reads the value."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError([f"--set {override}: write it as key=value, e.g. budget.trials=50"])
    try:
        value, _ = load_located(text, "value", lambda line: ConfigError([line]))
    except ConfigError as error:
        reason = str(error).partition(": ")[2]
        raise ConfigError([f"--set {override}: the value is not YAML: {reason}"]) from error
    *parents, last = key.split(".")
    node: Any = data
    for parent in parents:
        if isinstance(node, list):
            node = node[_index(parent, node, override)]
        else:
            node = node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise ConfigError([f"--set {override}: '{parent}' is not a mapping"])
    node[_index(last, node, override) if isinstance(node, list) else last] = value


def _index(key: str, entries: list[Any], override: str) -> int:
    if not key.isdecimal() or int(key) >= len(entries):
        last = len(entries) - 1
        raise ConfigError(
            [f"--set {override}: '{key}' is no entry of the list, which has 0 to {last}"]
        )
    return int(key)
