"""Recipes as evomerge's own YAML: everything a recipe holds, and back to the last bit.

The first key, `evomerge_recipe`, names the version of the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from evomerge.errors import RecipeError
from evomerge.located_yaml import Locator, explain, load_located
from evomerge.recipe.lineage import Donor
from evomerge.recipe.model import Hop, ModelRef, Recipe

FORMAT_KEY = "evomerge_recipe"
FORMAT_VERSION = 1


def dumps(recipe: Recipe) -> str:
    """Write a recipe as YAML; `loads` gives back an equal recipe."""
    return to_yaml({FORMAT_KEY: FORMAT_VERSION, **_plain(recipe)})


def loads(text: str, *, source: str = "<string>") -> Recipe:
    """Read what `dumps` wrote, or what a user wrote in its form.

    Args:
        text: the YAML.
        source: the file's name for messages.

    Raises:
        RecipeError: one line 'file:line: key: what was expected' for each problem.
    """
    data, locate = load_located(text, source, RecipeError)
    return read(data, locate, source)


def read(data: Any, locate: Locator, source: str) -> Recipe:
    """Validate a loaded document; see `loads`."""
    if not isinstance(data, dict) or FORMAT_KEY not in data:
        raise RecipeError(
            f"{source}:1: not a native recipe; its first key is '{FORMAT_KEY}: {FORMAT_VERSION}'"
        )
    version = data[FORMAT_KEY]
    if version != FORMAT_VERSION:
        raise RecipeError(
            f"{source}:{locate((FORMAT_KEY,))}: {FORMAT_KEY}: version {version!r} is not "
            f"{FORMAT_VERSION}, the one this evomerge reads; a newer evomerge may read it"
        )
    try:
        return Recipe.model_validate({k: v for k, v in data.items() if k != FORMAT_KEY})
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, locate, source, Recipe))) from None


def spelling(ref: ModelRef) -> str | None:
    """Return path[@revision][+adapter[@revision]] if that reads back as `ref`, else None."""
    parts = (ref.path, ref.revision, ref.adapter, ref.adapter_revision)
    given = [part for part in parts if part is not None]
    ambiguous = any(not part or "@" in part or "+" in part for part in given)
    dangling = ref.adapter_revision is not None and ref.adapter is None
    return None if ambiguous or dangling or ref.sha256 else str(ref)


def to_yaml(data: Mapping[str, Any]) -> str:
    """Write plain data readably: scalars and short entries on one line, keys in given order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _plain(value: Any) -> Any:
    """Reduce a model to plain data without what its class says already."""
    short = _short(value)
    if short is not None:
        return short
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        present = {name: getattr(value, name) for name in fields}
        return {
            name: _plain(entry)
            for name, entry in present.items()
            if entry != fields[name].get_default(call_default_factory=True)
        }
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _short(value: Any) -> Any:
    """Return the short spelling of a model, a hop or a donor; None of anything else."""
    if isinstance(value, ModelRef):
        return spelling(value)
    if isinstance(value, Hop):
        return [value.model, value.layer, *([value.scale] if value.scale != 1 else [])]
    return value.donor if isinstance(value, Donor) else None


# A value with its conditions; an input or a step of a lineage.
_ON_ONE_LINE = {"value", "gaussian", "spectral", "node", "svd", "rebase"}


class _Dumper(yaml.SafeDumper):
    """Flow style for what fits on a line; a value that occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        return True


def _is_short(entries: Any) -> bool:
    """Say whether a mapping of these values fits on a line."""
    nested = [entry for entry in entries if isinstance(entry, list)]
    flat = not any(isinstance(entry, dict) for entry in entries) and not any(
        isinstance(one, list | dict) for entry in nested for one in entry
    )
    return flat and len(repr(entries)) <= 160


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    flat = not any(isinstance(entry, list | dict) for entry in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


def _represent_dict(dumper: _Dumper, data: dict[str, Any]) -> yaml.Node:
    flat = bool(_ON_ONE_LINE & set(data)) and _is_short(list(data.values()))
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=flat or not data)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_dict)
