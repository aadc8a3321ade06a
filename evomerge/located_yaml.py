"""YAML with line numbers: read safely, and say where a value stands when it is wrong.

`load_located` builds plain data from parser events, without recursion and without constructing
anything but text, numbers, booleans, null, lists and mappings. `explain` turns the errors of a
pydantic model into one line each, with file, line, key and the nearest valid name.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError

from evomerge.errors import EvomergeError, RecipeError, nearest
from evomerge.yaml_tree import LOADER, Node, TreeBuilder

Path: TypeAlias = tuple[str | int, ...]

MAX_CHARACTERS = 16 * 2**20

_KINDS = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_TEXTS = {
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
}
_COUNTS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}


class Locator:
    """Line numbers of a document by path, e.g. `locate(("models", 0, "parameters"))`."""

    def __init__(self, root: Node | None = None) -> None:
        self._root = root

    @classmethod
    def of(cls, data: Any, prefix: Sequence[str | int] = ()) -> Locator:
        """Return a locator for data that stands at `prefix` and came without lines."""
        root = _unlocated(data)
        for key in reversed(prefix):
            root = Node({key: root.value}, 0, children={key: root}, key_lines={key: 0})
        return cls(root)

    def __call__(self, path: Sequence[str | int]) -> int:
        """Return the 1-based line of the key or item at `path`, or of its nearest parent.

        0 where the data came without lines.
        """
        node = self._root
        line = node.line if node else 1
        for key in path:
            if node is None or key not in node.children:
                break
            line = node.key_lines[key]
            node = node.children[key]
        return line

    def place(self, path: Sequence[str | int], source: str) -> str:
        """Return 'file:line', the beginning of a message; 'file' where there are no lines."""
        line = self(path)
        return f"{source}:{line}" if line else source

    def has(self, path: Sequence[str | int]) -> bool:
        """Say whether the document holds something at `path`."""
        node = self._root
        for key in path:
            if node is None or key not in node.children:
                return False
            node = node.children[key]
        return node is not None


def _unlocated(data: Any) -> Node:
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        entries = data.items()
    elif isinstance(data, list | tuple):
        entries = enumerate(data)
    children = {key: _unlocated(value) for key, value in entries}
    return Node(data, 0, children=children, key_lines=dict.fromkeys(children, 0))


def load_located(
    text: str, source: str, fail: Callable[[str], EvomergeError] = RecipeError
) -> tuple[Any, Locator]:
    """Read one YAML document.

    Args:
        text: the document; YAML 1.1 as PyYAML reads it, dates staying text.
        source: the file's name for messages.
        fail: makes the error that is raised from a one-line message.

    Returns:
        The data (None for an empty document), and the lines its values stand on. Values reached
        through an alias are shared: treat them as read-only.

    Raises:
        EvomergeError: as `fail` makes it, for a syntax error, a duplicate key, a tag, more than
            one document, or a document beyond the limits of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise fail(f"{source}: {len(text)} characters, more than the {MAX_CHARACTERS} allowed")
    try:
        root = TreeBuilder(source, fail).build(yaml.parse(text, Loader=LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise fail(f"{source}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise fail(f"{source}:1: not YAML: {' '.join(str(error).split())}") from None
    return (root.value if root else None), Locator(root)


def render(path: Iterable[str | int]) -> str:
    """Write a path as users know it: 'models[0].parameters.weight'."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def explain(
    error: ValidationError,
    locate: Locator,
    source: str,
    model: type[BaseModel],
    prefix: Path = (),
) -> list[str]:
    """Turn the errors of a pydantic model into lines 'file:line: key.path: what was expected'.

    Args:
        error: as raised by `model.model_validate(data)`.
        locate: the lines of the document the data came from.
        source: the file's name.
        model: the model that was validated; its fields supply the nearest valid names.
        prefix: where in the document the validated data stands.

    Returns:
        One line a wrong key, in the order of the file. Of a value that fits none of several
        shapes, only the errors of the shape it comes closest to are told.
    """
    found = [_Problem.of(one, locate, prefix) for one in error.errors(include_url=False)]
    places: dict[Path, list[_Problem]] = {}
    for problem in _closest_shapes(found):
        places.setdefault(problem.path, []).append(problem)
    return [
        ": ".join(filter(None, (locate.place(path, source), render(path), message)))
        for path in sorted(places, key=locate)
        for message in _messages(places[path], model)
    ]


@dataclass(frozen=True, slots=True)
class _Problem:
    """One pydantic error; `path` is its place in the document, without the names of shapes.

    `shapes` holds the (path so far, name) of every union member pydantic tried on the way.
    """

    path: Path
    shapes: tuple[tuple[Path, str], ...]
    loc: Path
    details: Any

    @classmethod
    def of(cls, details: Any, locate: Locator, prefix: Path) -> _Problem:
        path = prefix
        shapes: list[tuple[Path, str]] = []
        loc: Path = details["loc"]
        for index, key in enumerate(loc):
            absent = details["type"] == "missing" and index == len(loc) - 1
            if absent or locate.has((*path, key)):
                path = (*path, key)
            else:
                shapes.append((path, str(key)))
        return cls(path, tuple(shapes), loc, details)


def _closest_shapes(problems: list[_Problem]) -> list[_Problem]:
    """Where a union failed, keep the errors of the member that came closest."""
    kept = problems
    for fork in sorted({shape[0] for p in problems for shape in p.shapes}, key=len):
        names: dict[str, list[_Problem]] = {}
        for problem in kept:
            for at, name in problem.shapes:
                if at == fork:
                    names.setdefault(name, []).append(problem)
                    break
        if len(names) < 2:
            continue
        shallow = [p for group in names.values() for p in group if p.path == fork]
        if len({id(p) for p in shallow}) == sum(map(len, names.values())):
            continue  # no member fits at all: they are told together by `_message`
        # A member that got below the fork understood the value's outer shape.
        inside = {n: g for n, g in names.items() if any(len(p.path) > len(fork) for p in g)}
        best = min(inside.values(), key=_distance)
        losers = {id(p) for group in names.values() if group is not best for p in group}
        kept = [p for p in kept if id(p) not in losers]
    return kept


def _distance(problems: list[_Problem]) -> tuple[int, int]:
    """Few wrong keys are close, and of equally few those further down."""
    paths = {one.path for one in problems}
    return len(paths), -max(map(len, paths))


def _messages(problems: list[_Problem], model: type[BaseModel]) -> list[str]:
    """Say what is wrong in one place; members of a union that all fail there share one line."""
    finite = [one for one in problems if one.details["type"] == "finite_number"]
    problems = finite or problems
    wanted = [one for one in problems if one.details["type"] in _KINDS]
    if len(wanted) < 2:
        return list(dict.fromkeys(_message(one, model) for one in problems))
    kinds = list(dict.fromkeys(_KINDS[one.details["type"]] for one in wanted))
    text = f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else kinds[0]
    rest = [_message(one, model) for one in problems if one not in wanted]
    return [f"expected {text}, got {_shown(wanted[0].details['input'])}", *rest]


def _shown(value: Any) -> str:
    """Write a wrong value, unless it is long."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    if value is None:
        return "nothing"
    return text if len(text) <= 60 else f"a {type(value).__name__} of {len(value)}"


def _message(problem: _Problem, model: type[BaseModel]) -> str:
    details = problem.details
    kind = details["type"]
    if kind == "extra_forbidden":
        key = str(problem.loc[-1])
        return f"unknown key; {nearest(key, _fields_at(model, problem.loc[:-1]))}"
    if kind == "missing":
        return "this key is required and missing"
    if kind in ("value_error", "assertion_error"):
        cause = details["ctx"]["error"]
        if isinstance(cause, ValidationError):  # a validator built another model
            return "; ".join(one["msg"] for one in cause.errors(include_url=False))
        return " ".join(str(cause).split())
    if kind in _COUNTS:
        words, limit = _COUNTS[kind]
        count, found = details["ctx"][limit], details["ctx"]["actual_length"]
        return f"expected {words} {count} {'entry' if count == 1 else 'entries'}, got {found}"
    expected = re.sub(r"^(Input|Value|Keys) should be ", "", str(details["msg"]))
    expected = expected[:1].lower() + expected[1:] if expected[1:2].islower() else expected
    expected = _KINDS.get(kind, expected)
    if kind in _TEXTS:
        expected = _TEXTS[kind].format(**details["ctx"])
    got = details["input"]
    message = f"expected {expected}, got {_shown(got)}"
    if kind in ("literal_error", "enum") and isinstance(got, str):
        choices = re.findall("'([^']*)'", str(details["ctx"]["expected"]))
        hint = nearest(got, choices)
        message += f"; {hint}" if hint.endswith("?") else ""  # all of them are named already
    return message


def _fields_at(model: type[BaseModel], loc: Path) -> set[str]:
    """Return the keys valid at `loc` (which may hold names of union members)."""
    here: list[Any] = [model]
    for key in loc:
        below = [child for one in here for child in _below(one, key)]
        named = [m for one in here for m in _members(one) if _is_named(m, key)]
        here = below or named or here
    return {
        name
        for one in here
        for member in _members(one)
        if _is_model(member)
        for name in _names(member)
    }


def _names(model: type[BaseModel]) -> dict[str, Any]:
    try:
        # `model_fields` leaves the annotations of recursive models unresolved
        hints = typing.get_type_hints(model, include_extras=True)
    except NameError:
        hints = {}
    return {
        field.alias or name: hints.get(name, field.annotation)
        for name, field in model.model_fields.items()
    }


def _is_named(annotation: Any, shape: str | int) -> bool:
    """Say whether pydantic's name of a union member, e.g. 'function-after[f(), Recipe]', is it."""
    name = getattr(annotation, "__name__", "")
    return isinstance(shape, str) and bool(name) and re.search(rf"\b{name}\b", shape) is not None


def _members(annotation: Any) -> list[Any]:
    """Flatten unions, annotations and named aliases."""
    if hasattr(annotation, "__value__"):
        return _members(annotation.__value__)
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return [m for one in typing.get_args(annotation) for m in _members(one)]
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    return [annotation]


def _below(annotation: Any, key: str | int) -> list[Any]:
    """Return the annotations of what stands under `key`."""
    children = []
    for member in _members(annotation):
        if _is_model(member):
            children += [member_type for name, member_type in _names(member).items() if name == key]
        elif isinstance(key, int) or _is_mapping(member):
            children += list(typing.get_args(member))[-1 if _is_mapping(member) else 0 :]
    return [one for one in children if one is not Ellipsis]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)
