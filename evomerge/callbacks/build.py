"""From an entry of `callbacks:` to a callback."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from evomerge.binding import PlugIn, bind_arguments
from evomerge.callbacks.protocol import Callback, FinishedTrial
from evomerge.errors import MissingExtra, PluginError
from evomerge.registry import Registry
from evomerge.types import Arguments

CALLBACKS = Registry(
    "callback",
    {
        "mlflow": "evomerge.callbacks.mlflow:Mlflow",
        "tensorboard": "evomerge.callbacks.tensorboard:TensorBoard",
        "wandb": "evomerge.callbacks.wandb:WeightsAndBiases",
    },
)
"""Names a study may give; plug-ins join by the entry point group 'evomerge.callback'."""

_METHODS = ("begin", "trial", "end")


def check_callback(name: str, args: Arguments, *, folder: Path) -> None:
    """Find a callback and bind its arguments, running none of it.

    Args:
        name: a built-in, an entry point, 'module:attr' or './file.py:attr'.
        args: bound by name to a class's constructor, or to a function beyond the trial.
        folder: where relative paths start.

    Raises:
        PluginError: it cannot be imported, is no callback, or takes other arguments.
        MissingExtra: the library it shows a run in is not installed.
    """
    _bound(name, args, folder)


def build_callback(name: str, args: Arguments, *, folder: Path) -> Callback:
    """Build a callback. What its constructor raises passes through.

    Args:
        name: a built-in, an entry point, 'module:attr' or './file.py:attr'.
        args: bound by name to a class's constructor, or to a function beyond the trial.
        folder: where relative paths start.

    Raises:
        PluginError: it cannot be imported, is no callback, or takes other arguments.
        MissingExtra: the library it shows a run in is not installed.
    """
    target, arguments = _bound(name, args, folder)
    if inspect.isclass(target):
        return cast(Callback, target(**arguments))
    return _Function(target, arguments)


def _bound(name: str, args: Arguments, folder: Path) -> tuple[Any, dict[str, Any]]:
    target = CALLBACKS.load(name, folder)
    is_class = inspect.isclass(target)
    if not callable(target) or (is_class and not any(hasattr(target, one) for one in _METHODS)):
        raise PluginError(
            f"callback '{name}' is a {type(target).__name__}; expected a function of a finished "
            f"trial, or a class with any of {', '.join(_METHODS)}"
        )
    package = getattr(target, "package", None)
    if package is not None and importlib.util.find_spec(package) is None:
        raise MissingExtra(f"callback '{name}'", name)
    plug = PlugIn(f"callback '{name}'", target, PluginError)
    given = None if is_class else "trial"
    return target, bind_arguments(plug, args, folder=folder, given=given)


class _Function:
    """A function of a finished trial as a callback."""

    def __init__(self, function: Callable[..., None], arguments: dict[str, Any]) -> None:
        self._function = function
        self._arguments = arguments

    def begin(self, run: Any) -> None:
        """Do nothing."""

    def trial(self, trial: FinishedTrial) -> None:
        """Call the function."""
        self._function(trial, **self._arguments)

    def end(self, end: Any) -> None:
        """Do nothing."""
