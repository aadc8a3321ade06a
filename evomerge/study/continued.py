"""Whether a study that is started again is the one a run folder holds already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evomerge.errors import RunDirectoryError
from evomerge.journal import DATABASE, read_events
from evomerge.study.config import StudyConfig
from evomerge.study.outline import first_event


def holds_run(out: Path) -> bool:
    """Say whether a folder holds a run that was started."""
    return (out / DATABASE).exists() and bool(read_events(out))


def require_same_study(config: StudyConfig, out: Path) -> None:
    """Refuse to continue a run whose study says something else by now.

    Spaces count as they are named. A deadline does not count, since a time of day means another
    day by now, and neither does a secret address of which only the redacted form is recorded.

    Args:
        config: what the study file says now.
        out: a folder that holds a run.

    Raises:
        RunDirectoryError: naming the first key that differs.
    """
    recorded = StudyConfig.model_validate(first_event(read_events(out), out).payload["study"])
    key = _difference(_comparable(recorded), _comparable(config))
    if key is not None:
        raise RunDirectoryError(
            f"{out} holds a run of another study: {key} differs; 'evomerge resume {out}' continues "
            "that run as it was started, --out names a folder for a new one"
        )


def _comparable(config: StudyConfig) -> dict[str, Any]:
    content = config.model_dump(mode="json")
    content["budget"].pop("deadline", None)
    if config.notify is not None:
        content["notify"]["url"] = config.notify.redacted
    return content


def _difference(one: Any, other: Any, path: str = "") -> str | None:
    """Return the path of the first key in which two contents differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return None if one == other else path
    for key in {**one, **other}:
        inner = f"{path}.{key}".removeprefix(".")
        if (key in one) != (key in other):
            return inner
        found = _difference(one[key], other[key], inner)
        if found is not None:
            return found
    return None
