"""Groups of tensors as the conditions of a recipe, exact for every tensor of a layout.

A recipe selects tensors by layer and by substrings of their names, the first match deciding. A
group is a set of tensors; here it becomes the shortest such list we know how to write, and each
list is checked against the groups before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from evomerge.errors import SpaceError
from evomerge.recipe.layout import Layout

_Rest: TypeAlias = Callable[[Iterable[int]], int]
"""Picks the group that takes what no substring names."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The group of the tensors of these layers (None: of any tensor) with this substring."""

    filter: str | None
    layers: tuple[int, int] | None
    group: int


def conditions_for(
    layout: Layout, groups: Mapping[str, int], n_searched: int
) -> tuple[Condition, ...]:
    """Return conditions of which the first that matches names the group of a tensor.

    Args:
        layout: the models'.
        groups: tensor name to group, for every tensor of the layout.
        n_searched: groups below this number are preferred to take what is left.

    Raises:
        SpaceError: a name contains another in a way that no list can tell apart.
    """

    def rest(found: Iterable[int]) -> int:
        return max(found, key=lambda group: (group < n_searched, group))

    for candidate in (
        _alike_in_all_layers(layout, groups, rest),
        _by_band(layout, groups, rest, whole_names=False),
        _by_band(layout, groups, rest, whole_names=True),
    ):
        if candidate and _exact(layout, groups, candidate):
            return tuple(candidate)
    raise SpaceError(
        "space: the tensor names of these models cannot be told apart by layer and substring; "
        "search fewer groups"
    )


def _alike_in_all_layers(layout: Layout, groups: Mapping[str, int], rest: _Rest) -> list[Condition]:
    """Cut names where they differ, whatever the layer: 'self_attn', 'mlp', and what is left."""
    layers, outside = _split(layout, groups)
    if any(layer != layers[0] for layer in layers[1:]):
        return []
    names = {**outside, **(layers[0] if layers else {})}
    return [Condition(name, None, group) for name, group in _cover(names, rest, whole_names=False)]


def _by_band(
    layout: Layout, groups: Mapping[str, int], rest: _Rest, *, whole_names: bool
) -> list[Condition]:
    """Cut each run of equal layers into components, then what stands outside the layers."""
    layers, outside = _split(layout, groups)
    conditions: list[Condition] = []
    first = 0
    for end in range(1, layout.n_layers + 1):
        if end == layout.n_layers or layers[end] != layers[first]:
            band = (first, end)
            conditions += (
                Condition(name, band, group)
                for name, group in _cover(layers[first], rest, whole_names=whole_names)
            )
            first = end
    # Inside the layers all is decided by now, so these names can only meet each other.
    conditions += (Condition(n, None, g) for n, g in _cover(outside, rest, whole_names=True))
    return conditions


def _cover(
    names: Mapping[str, int], pick_rest: _Rest, *, whole_names: bool
) -> Iterator[tuple[str | None, int]]:
    """Cut names into substrings, longest first; the last group takes what is left."""
    if not names:
        return
    rest = pick_rest(names.values())
    pieces: dict[str, int] = {}
    for name, group in names.items():
        whole = name.count(".") + 1
        depth = whole if whole_names else 1
        while depth < whole and _mixed(names, _head(name, depth)):
            depth += 1
        pieces[_head(name, depth)] = group
    for piece, group in sorted(pieces.items(), key=lambda entry: (-len(entry[0]), entry[0])):
        # what is left to the end must still be named where a later piece would catch it
        if group != rest or any(o in piece and g != rest for o, g in pieces.items()):
            yield piece, group
    yield None, rest


def _mixed(names: Mapping[str, int], head: str) -> bool:
    return len({group for name, group in names.items() if f"{name}.".startswith(f"{head}.")}) > 1


def _head(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _split(
    layout: Layout, groups: Mapping[str, int]
) -> tuple[list[dict[str, int]], dict[str, int]]:
    """Return the groups by name inside each layer, and by full name outside the layers."""
    layers: list[dict[str, int]] = [{} for _ in range(layout.n_layers)]
    outside: dict[str, int] = {}
    for tensor, group in groups.items():
        layer = layout.layer_of(tensor)
        if layer is None:
            outside[tensor] = group
        else:
            layers[layer][tensor[len(f"{layout.prefix}{layer}.") :]] = group
    return layers, outside


def _exact(layout: Layout, groups: Mapping[str, int], conditions: list[Condition]) -> bool:
    for tensor, group in groups.items():
        layer = layout.layer_of(tensor)
        for one in conditions:
            if one.layers and (layer is None or not one.layers[0] <= layer < one.layers[1]):
                continue
            if one.filter is None or one.filter in tensor:
                if one.group != group:
                    return False
                break
        else:
            return False
    return True
