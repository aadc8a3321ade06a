"""A YAML document as a tree of plain values that know their lines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from evomerge.errors import EvomergeError

MAX_DEPTH = 200
MAX_VALUES = 1_000_000  # after aliases are expanded, which is what the reader of the data walks

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null"))
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """A value, the line it starts on, and the nodes and key lines below it."""

    value: Any
    line: int
    size: int = 1
    children: dict[Any, Node] = field(default_factory=dict)
    key_lines: dict[Any, int] = field(default_factory=dict)
    merges: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: Node | None = None


class TreeBuilder:
    """Folds parser events into nodes, without recursion.

    Args:
        source: the file's name for messages.
        fail: makes the error that is raised from a one-line message.
    """

    def __init__(self, source: str, fail: Callable[[str], EvomergeError]) -> None:
        self._source = source
        self._fail = fail
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._scalars = LOADER("")

    def build(self, events: Iterator[Any]) -> Node | None:
        """Return the document's root; None for an empty document."""
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                self._add(Node(self._scalar(event, line), line), event.anchor, line)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._start(event, line)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self._end(line)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise self._error(line, f"alias '*{event.anchor}' has no anchor before it")
                self._add(self._anchors[event.anchor], None, line)
            elif isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise self._error(line, "a second document; one file holds one document")
        return self._root

    def _error(self, line: int, message: str) -> EvomergeError:
        return self._fail(f"{self._source}:{line}: {message}")

    def _scalar(self, event: Any, line: int) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._scalars.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == f"{_TAG}merge":
            return event.value
        if tag == f"{_TAG}timestamp":
            tag = f"{_TAG}str"
        if tag not in _SCALARS:
            raise self._error(line, f"tag '{event.tag or tag}' is not supported; remove it")
        try:
            return self._scalars.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError):
            kind = tag.removeprefix(_TAG)
            raise self._error(line, f"'{event.value}' is not a valid {kind}") from None

    def _start(self, event: Any, line: int) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_TAG}map" if mapping else f"{_TAG}seq"):
            raise self._error(line, f"tag '{event.tag}' is not supported; remove it")
        if len(self._open) >= MAX_DEPTH:
            raise self._error(line, f"nested deeper than {MAX_DEPTH} levels")
        self._open.append(_Open(Node({} if mapping else [], line), event.anchor))

    def _end(self, line: int) -> None:
        done = self._open.pop()
        for merged in done.node.merges:  # YAML's '<<': keys written out win, earlier merges too
            for key, child in merged.children.items():
                if key not in done.node.children:
                    done.node.value[key] = child.value
                    done.node.children[key] = child
                    done.node.key_lines[key] = merged.key_lines[key]
        self._add(done.node, done.anchor, line)

    def _add(self, node: Node, anchor: str | None, line: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.node.size += node.size
        if parent.node.size > MAX_VALUES:
            raise self._error(line, f"more than {MAX_VALUES} values, aliases expanded")
        if isinstance(parent.node.value, list):
            index = len(parent.node.value)
            parent.node.value.append(node.value)
            parent.node.children[index] = node
            parent.node.key_lines[index] = node.line
        elif parent.key is None:
            if not isinstance(node.value, Hashable):
                raise self._error(line, "a key must be text or a number, not a list or mapping")
            parent.key = Node(node.value, line)
        else:
            key, parent.key = parent.key, None
            self._add_item(parent.node, key, node)

    def _add_item(self, mapping: Node, key: Node, node: Node) -> None:
        if key.value == "<<":
            merged = node.children.values() if isinstance(node.value, list) else (node,)
            if not all(isinstance(one.value, dict) for one in merged):
                raise self._error(key.line, "'<<' merges mappings only")
            mapping.merges.extend(merged)
            return
        if key.value in mapping.children:
            first = mapping.key_lines[key.value]
            raise self._error(
                key.line, f"key '{key.value}' stands here twice, first on line {first}; keep one"
            )
        mapping.value[key.value] = node.value
        mapping.children[key.value] = node
        mapping.key_lines[key.value] = key.line
