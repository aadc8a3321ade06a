"""One mechanism for everything a user can plug in by name.

A name is one of: a built-in or entry point ('exact_match'), a module attribute
('package.module:attr'), or a file attribute ('./file.py:attr', relative to the study file).
Built-ins are 'module:attr' strings too, so listing them imports nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import reduce
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from evomerge.errors import PluginError, nearest


class Registry:
    """Names of one kind of plug-in.

    Args:
        kind: what is registered, in the singular, for messages ('fitness', 'optimizer', ...).
        builtins: name to 'module:attr'.

    Installed packages add names through the entry point group 'evomerge.<kind>'.
    """

    def __init__(self, kind: str, builtins: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtins = dict(builtins)

    def names(self) -> tuple[str, ...]:
        """Return every registered name, sorted; nothing is imported."""
        return tuple(sorted({*self._builtins, *(point.name for point in self._points())}))

    def load(self, name: str, folder: Path | None = None) -> Any:
        """Import what `name` stands for.

        Args:
            name: a registered name, 'module:attr' or './file.py:attr'.
            folder: where relative file paths start; the current directory by default.

        Raises:
            PluginError: the name is unknown, or importing it fails; the cause is in the message.
        """
        if name in self._builtins:
            return _attribute(self._builtins[name], self.kind)
        for point in self._points():
            if point.name == name:
                return _attribute(point.value, self.kind)
        if ":" not in name:
            hint = nearest(name, self.names())
            raise PluginError(
                f"{self.kind} '{name}' is unknown; {hint} (or name your own as ./file.py:attr)"
            )
        location, _, attribute = name.rpartition(":")
        if location.endswith(".py"):
            module = _file_module(Path(folder or ".", location), self.kind)
            return _getattr(module, attribute, name, self.kind)
        return _attribute(name, self.kind)

    def _points(self) -> Any:
        return entry_points(group=f"evomerge.{self.kind.replace(' ', '_')}")


def _attribute(reference: str, kind: str) -> Any:
    location, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(location)
    except Exception as error:  # what is imported may be the user's and raise anything
        raise PluginError(
            f"{kind} '{reference}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return _getattr(module, attribute, reference, kind)


def _file_module(path: Path, kind: str) -> ModuleType:
    """Import a Python file once per process, under a name derived from its full path."""
    path = path.resolve()
    name = f"evomerge_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise PluginError(f"{kind} file {path} does not exist; paths start at the study file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{kind} file {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file can raise anything while it is imported
        del sys.modules[name]
        raise PluginError(
            f"{kind} file {path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def _getattr(module: ModuleType, attribute: str, reference: str, kind: str) -> Any:
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError:
        hint = nearest(attribute, (name for name in vars(module) if not name.startswith("_")))
        raise PluginError(
            f"{kind} '{reference}': '{attribute}' is not defined there; {hint}"
        ) from None
