"""Arguments of a study file bound by name to a plug-in's signature, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from evomerge.errors import UserError, nearest

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class PlugIn:
    """Something of the user's that takes arguments.

    Attributes:
        what: its kind and name, for messages: "fitness 'mine'".
        target: a class or a function.
        fail: makes the error that is raised from a one-line message.
    """

    what: str
    target: Callable[..., Any]
    fail: Callable[[str], UserError]


def bind_arguments(
    plug: PlugIn,
    args: Mapping[str, Any],
    *,
    folder: Path,
    given: str | None = None,
    offered: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check arguments against a signature and convert them to its annotations.

    Args:
        plug: what takes them.
        args: from the study file.
        folder: where relative paths start, for parameters annotated as Path.
        given: what the first parameter is given when the plug-in is called, in a word, so that it
            is not bound here; None where there is no such thing.
        offered: further arguments for parameters of these names, unless `args` has them.

    Returns:
        Keyword arguments for the target. A parameter without annotation, or whose annotation
        exists for type checkers only, takes its argument as it is.

    Raises:
        UserError: an argument is unknown, missing or of the wrong type.
    """
    parameters = _parameters(plug)
    if given is not None:
        parameters = _without_first(plug, parameters, given)
    by_name = {p.name: p for p in parameters if p.kind in _BY_NAME}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    found = {key: value for key, value in (offered or {}).items() if key in by_name} | dict(args)
    for key in found:
        if key not in by_name and not takes_any:
            raise plug.fail(f"{plug.what}: argument '{key}' is unknown; {_hint(key, by_name)}")
    for parameter in parameters:
        required = parameter.default is parameter.empty
        if required and parameter.kind is parameter.POSITIONAL_ONLY:
            raise plug.fail(
                f"{plug.what}: parameter '{parameter.name}' is positional-only and arguments "
                "are bound by name; remove the '/' from the signature"
            )
        if required and parameter.kind in _BY_NAME and parameter.name not in found:
            raise plug.fail(
                f"{plug.what}: argument '{parameter.name}' is missing; it has no default, "
                "so give it in the study"
            )
    return {
        key: _converted(plug, by_name[key], value, folder) if key in by_name else value
        for key, value in found.items()
    }


def _parameters(plug: PlugIn) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(plug.target).parameters.values())
    except ValueError as error:  # some callables written in C
        raise plug.fail(
            f"{plug.what} has no readable signature; wrap it in a Python function"
        ) from error


def _without_first(
    plug: PlugIn, parameters: list[inspect.Parameter], given: str
) -> list[inspect.Parameter]:
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        raise plug.fail(f"{plug.what} takes no {given}, which is its first parameter")
    first = parameters[0]
    return parameters if first.kind is first.VAR_POSITIONAL else parameters[1:]


def _hint(key: str, by_name: Mapping[str, inspect.Parameter]) -> str:
    return nearest(key, by_name) if by_name else "it takes none"


def _converted(plug: PlugIn, parameter: inspect.Parameter, value: Any, folder: Path) -> Any:
    try:
        annotation = _annotation(plug.target, parameter)
    except NameError:  # imported under TYPE_CHECKING only: not for us to check
        return value
    if annotation is parameter.empty:
        return value
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=_config(annotation))
    except PydanticUserError as error:
        raise plug.fail(
            f"{plug.what}: parameter '{parameter.name}' is annotated {annotation!r}, which a "
            "study file cannot give; annotate it with plain types"
        ) from error
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        raise plug.fail(
            f"{plug.what}: argument '{parameter.name}': {problem['msg']}, got {value!r}"
        ) from error
    return folder / converted if isinstance(converted, Path) else converted


def _config(annotation: Any) -> ConfigDict | None:
    """Models and dataclasses bring a configuration of their own."""
    plain = not isinstance(annotation, type) or annotation.__module__ == "builtins"
    return ConfigDict(allow_inf_nan=False) if plain else None


def _annotation(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Evaluate one annotation, so that an unresolvable neighbour (`model`, mostly) is no matter."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    function = target.__init__ if inspect.isclass(target) else target
    function = function if inspect.isroutine(function) else type(target).__call__

    def holder() -> None: ...

    holder.__annotations__ = {"value": parameter.annotation}
    return get_type_hints(
        holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True
    )["value"]
