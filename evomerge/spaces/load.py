"""From what a study calls its space to a space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

from pydantic import ValidationError

import evomerge
from evomerge.errors import SpaceError, UserError, nearest
from evomerge.located_yaml import Locator, explain, load_located
from evomerge.registry import Registry
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Space
from evomerge.spaces.mergekit_evolve import EvolveSpace, EvolveSpec
from evomerge.spaces.operators import OperatorsSpace, OperatorsSpec
from evomerge.spaces.paths import (
    DepthwiseSpec,
    JointSpace,
    JointSpec,
    PathSpace,
    PathSpec,
    SequenceSpec,
    SlotsSpec,
    ThroughPath,
)
from evomerge.spaces.populations import PopulationSpace, PopulationSpec
from evomerge.spaces.spec import Origin, SpaceSpec

AnySpec: TypeAlias = SpaceSpec | OperatorsSpec | PathSpec | JointSpec | PopulationSpec | EvolveSpec
"""The content of a space file: merges by one method or by one of several, paths, a merge and a path
at once, a population, or the genome of mergekit-evolve."""

_PATHS: dict[str, type[PathSpec]] = {
    "slots": SlotsSpec,
    "depthwise": DepthwiseSpec,
    "sequence": SequenceSpec,
}

SPACES = Registry("space", {})
"""Spaces written in Python: callables SpaceContext -> Space."""

_SUFFIXES = (".yaml", ".yml", ".json")


def shipped_spaces() -> dict[str, Path]:
    """Return the space files that come with evomerge, by name."""
    package = Path(evomerge.__file__).parent
    # beside the modules in an installed package, at the top of a clone
    folders = (package / "search_spaces", package.parent / "search_spaces")
    folder = next((one for one in folders if one.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def load_space(
    source: str | Path | Mapping[str, Any] | AnySpec,
    context: SpaceContext,
    *,
    folder: Path | None = None,
    origin: Origin | None = None,
) -> Space:
    """Build the space a study names.

    Args:
        source: a YAML file ('search_spaces/x.yaml'), the name of a shipped or registered space,
            './file.py:attr' or 'module:attr' (a callable SpaceContext -> Space), or the content
            of a space file.
        context: the models.
        folder: where relative paths start; the current directory by default.
        origin: where an inline space stands, for messages.

    Raises:
        SpaceError: the space is malformed or does not fit the models.
        PluginError: a Python space cannot be imported.
    """
    if isinstance(source, get_args(AnySpec)):
        return _of_spec(source, context, origin or Origin())
    if isinstance(source, Mapping):
        origin = origin or Origin()
        return _of_spec(_spec(dict(source), origin), context, origin)
    name = str(source)
    if isinstance(source, Path) or name.endswith(_SUFFIXES):
        return _from_file(Path(folder or ".", name), context)
    shipped = shipped_spaces()
    if name in shipped:
        return _from_file(shipped[name], context)
    if ":" not in name and name not in SPACES.names():
        hint = nearest(name, (*shipped, *SPACES.names()))
        raise SpaceError(f"space '{name}' is unknown; {hint} (or name a file ending in .yaml)")
    return _built(SPACES.load(name, folder), name, context)


def declaration(space: Space) -> dict[str, Any] | None:
    """Return the plain content of a space file that rebuilds a space; None for one in Python.

    Of a merge space through a path it is the merge space's.
    """
    if not isinstance(
        space,
        DeclaredSpace
        | OperatorsSpace
        | PathSpace
        | JointSpace
        | ThroughPath
        | PopulationSpace
        | EvolveSpace,
    ):
        return None
    content: dict[str, Any] = space.spec.model_dump(mode="json", exclude_defaults=True)
    return content


def _built(factory: Any, name: str, context: SpaceContext) -> Space:
    if not callable(factory):
        raise SpaceError(f"space '{name}' is not callable; expected SpaceContext -> Space")
    try:
        space = factory(context)
    except UserError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise SpaceError(f"space '{name}' raised {type(error).__name__}: {error}") from error
    missing = [part for part in ("domain", "decode") if not hasattr(space, part)]
    if missing:
        raise SpaceError(
            f"space '{name}' gave a {type(space).__name__} without {' and '.join(missing)}; "
            "see evomerge.spaces.Space"
        )
    result: Space = space
    return result


def _from_file(path: Path, context: SpaceContext) -> Space:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = (
            f"; '{path.stem}' alone names the shipped one" if path.stem in shipped_spaces() else ""
        )
        raise SpaceError(f"space file {path} cannot be read: {reason}{hint}") from None
    data, locate = load_located(text, str(path), SpaceError)
    origin = Origin(str(path), locate)
    return _of_spec(_spec(data, origin), context, origin)


def _of_spec(spec: AnySpec, context: SpaceContext, origin: Origin) -> Space:
    if isinstance(spec, SpaceSpec):
        return DeclaredSpace(spec, context, origin)
    if isinstance(spec, OperatorsSpec):
        return OperatorsSpace(spec, context, origin)
    if isinstance(spec, JointSpec):
        return JointSpace(spec, context, origin)
    if isinstance(spec, PopulationSpec):
        return PopulationSpace(spec, context, origin)
    if isinstance(spec, EvolveSpec):
        return EvolveSpace(spec, context, origin)
    return PathSpace(spec, context, origin)


def _spec(data: Any, origin: Origin) -> AnySpec:
    model = _model(data, origin)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        locate = origin.locate or Locator.of(data, origin.prefix)
        lines = explain(error, locate, origin.source, model, origin.prefix)
        raise SpaceError("\n".join(lines)) from None


def _model(data: Any, origin: Origin) -> type[AnySpec]:
    """Tell by its keys what a space is."""
    if isinstance(data, Mapping):
        if "population" in data:
            return PopulationSpec
        if "genome" in data:
            return EvolveSpec
        if "operators" in data:
            return OperatorsSpec
        if "path" in data:
            return _path_model(data["path"], origin, ("path",))
        if "merge" in data or "layers" in data:
            layers = data.get("layers")
            if isinstance(layers, Mapping) and "path" in layers:
                _path_model(layers["path"], origin, ("layers", "path"))
            return JointSpec
    return SpaceSpec


def _path_model(kind: Any, origin: Origin, key: tuple[str, ...]) -> type[PathSpec]:
    if not isinstance(kind, str) or kind not in _PATHS:
        hint = nearest(str(kind), _PATHS)
        raise origin.error(key, f"expected {', '.join(_PATHS)}, got {kind!r}; {hint}")
    return _PATHS[kind]
