"""Arguments of a study file bound by name to a plug-in's signature, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from evomerge.errors import FitnessError, nearest

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def bind_arguments(
    name: str,
    target: Callable[..., Any],
    args: Mapping[str, Any],
    *,
    takes_model: bool,
    metric: str | None,
    folder: Path,
) -> dict[str, Any]:
    """Check arguments against a signature and convert them to its annotations.

    Args:
        name: of the fitness, for messages.
        target: a class, or a function of the model and further parameters.
        args: from the study file.
        takes_model: the first parameter is the model and not bound here.
        metric: the objective's metric; a parameter named 'metric' receives it unless `args` does.
        folder: where relative paths start, for parameters annotated as Path.

    Returns:
        Keyword arguments for the target. A parameter without annotation, or whose annotation
        exists for type checkers only, takes its argument as it is.

    Raises:
        FitnessError: an argument is unknown, missing or of the wrong type.
    """
    parameters = _parameters(name, target)
    if takes_model:
        parameters = _without_model(name, parameters)
    by_name = {p.name: p for p in parameters if p.kind in _BY_NAME}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    given = dict(args)
    if metric is not None and "metric" in by_name:
        given.setdefault("metric", metric)
    for key in given:
        if key not in by_name and not takes_any:
            raise FitnessError(
                f"fitness '{name}': argument '{key}' is unknown; {_hint(key, by_name)}"
            )
    for parameter in parameters:
        required = parameter.default is parameter.empty
        if required and parameter.kind is parameter.POSITIONAL_ONLY:
            raise FitnessError(
                f"fitness '{name}': parameter '{parameter.name}' is positional-only and arguments "
                "are bound by name; remove the '/' from the signature"
            )
        if required and parameter.kind in _BY_NAME and parameter.name not in given:
            raise FitnessError(
                f"fitness '{name}': argument '{parameter.name}' is missing; it has no default, "
                "so give it in the objective"
            )
    return {
        key: _converted(name, target, by_name[key], value, folder) if key in by_name else value
        for key, value in given.items()
    }


def _parameters(name: str, target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except ValueError as error:  # some callables written in C
        raise FitnessError(
            f"fitness '{name}' has no readable signature; wrap it in a Python function"
        ) from error


def _without_model(name: str, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        raise FitnessError(
            f"fitness '{name}' takes no model; its first parameter must be the merged model"
        )
    first = parameters[0]
    return parameters if first.kind is first.VAR_POSITIONAL else parameters[1:]


def _hint(key: str, by_name: Mapping[str, inspect.Parameter]) -> str:
    return nearest(key, by_name) if by_name else "it takes none"


def _converted(
    name: str,
    target: Callable[..., Any],
    parameter: inspect.Parameter,
    value: Any,
    folder: Path,
) -> Any:
    try:
        annotation = _annotation(target, parameter)
    except NameError:  # imported under TYPE_CHECKING only: not for us to check
        return value
    if annotation is parameter.empty:
        return value
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=_config(annotation))
    except PydanticUserError as error:
        raise FitnessError(
            f"fitness '{name}': parameter '{parameter.name}' is annotated {annotation!r}, which a "
            "study file cannot give; annotate it with plain types"
        ) from error
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        raise FitnessError(
            f"fitness '{name}': argument '{parameter.name}': {problem['msg']}, got {value!r}"
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
