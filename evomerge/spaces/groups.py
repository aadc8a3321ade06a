"""Which tensors share a gene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, get_args

from evomerge.errors import nearest
from evomerge.recipe.filters import is_before_layers
from evomerge.recipe.layout import Layout, Part, part_of
from evomerge.recipe.model import Conditional, ParameterValue, Scalar
from evomerge.spaces.conditions import Condition, conditions_for
from evomerge.spaces.spec import REST, GeneSpec, Origin

PARTS: tuple[str, ...] = get_args(Part)

_Key: TypeAlias = tuple[int, int, str]
"""First layer, one past the last, module; -1 and n_layers + 1 stand outside the layers."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of one parameter.

    Attributes:
        labels: one a group that is searched, e.g. 'layers[0:4].attention'; '' for all tensors.
        fixed: values of the groups that are not searched; they are numbered after `labels`.
        conditions: which group a tensor belongs to; empty when there is one group only.
    """

    labels: tuple[str, ...]
    fixed: tuple[Scalar, ...]
    conditions: tuple[Condition, ...]

    @classmethod
    def of(cls, layout: Layout, gene: GeneSpec, origin: Origin, path: tuple[str, ...]) -> Grouping:
        """Group the tensors of a layout.

        Raises:
            SpaceError: a module matches no tensor, or a tensor belongs to no module.
        """
        modules = _modules(layout, gene, origin, path)
        keys: dict[str, _Key | str] = {}
        inside = {module for name, module in modules.items() if layout.layer_of(name) is not None}
        for name, module in modules.items():
            in_layers = module in inside
            keys[name] = (
                module
                if module in gene.fixed
                else _key(layout, gene, name, module, in_layers=in_layers)
            )
        order = list(gene.modules or (REST,))
        searched = sorted(
            {key for key in keys.values() if not isinstance(key, str)},
            key=lambda key: (key[0], key[1], order.index(key[2])),
        )
        used = [name for name in gene.fixed if name in keys.values()]
        ordered: list[_Key | str] = [*searched, *used]
        numbers = {key: i for i, key in enumerate(ordered)}
        classes = {name: numbers[key] for name, key in keys.items()}
        return cls(
            labels=tuple(_label(key, gene, layout, modules) for key in searched),
            fixed=tuple(gene.fixed[name] for name in used),
            conditions=conditions_for(layout, classes, len(searched)) if len(numbers) > 1 else (),
        )

    def group_of(self, layout: Layout, tensor: str) -> int:
        """Return the number of the group a tensor belongs to."""
        layer = layout.layer_of(tensor)
        for one in self.conditions:
            if one.layers and (layer is None or not one.layers[0] <= layer < one.layers[1]):
                continue
            if one.filter is None or one.filter in tensor:
                return one.group
        return 0

    def value(self, values: tuple[Scalar, ...]) -> ParameterValue:
        """Return the parameter of a recipe that gives each group its value, in label order."""
        every = (*values, *self.fixed)
        if not self.conditions:
            return every[0]
        return tuple(
            Conditional(value=every[one.group], filter=one.filter, layers=one.layers)
            for one in self.conditions
        )


def _modules(
    layout: Layout, gene: GeneSpec, origin: Origin, path: tuple[str, ...]
) -> Mapping[str, str]:
    """Return the module of every tensor."""
    named = [*gene.fixed, *(gene.modules or (REST,))]
    candidates = sorted(named, key=lambda name: name == REST)
    modules: dict[str, str] = {}
    for tensor in layout.tensors:
        match = next((name for name in candidates if _belongs(tensor, name)), None)
        if match is None:
            raise origin.error(
                (*path, "modules"),
                f"tensor '{tensor}' belongs to none of {', '.join(candidates)}; add 'rest', or "
                "a value for it under 'fixed'",
            )
        modules[tensor] = match
    for name in candidates:
        if name == REST or name in modules.values() or name in PARTS:
            continue
        key = "fixed" if name in gene.fixed else "modules"
        if any(name in tensor for tensor in layout.tensors):
            raise origin.error(
                (*path, key), f"'{name}' has no tensor left: those before it take them all"
            )
        raise origin.error(
            (*path, key),
            f"no tensor of the base has '{name}' in its name, and it is no part; "
            f"{nearest(name, (*PARTS, REST))}",
        )
    if not any(name in modules.values() for name in gene.modules or (REST,)):
        raise origin.error((*path, "modules"), "no tensor is left to search")
    return modules


def _belongs(tensor: str, module: str) -> bool:
    if module == REST:
        return True
    return part_of(tensor) == module if module in PARTS else module in tensor


def _key(layout: Layout, gene: GeneSpec, tensor: str, module: str, *, in_layers: bool) -> _Key:
    """Return the group of a tensor that is searched."""
    n_layers = layout.n_layers
    if gene.layers is None or n_layers == 0:
        return (0, n_layers, module)
    layer = layout.layer_of(tensor)
    if layer is None:
        before = is_before_layers(tensor)
        if gene.outside_layers == "separate" or not in_layers:
            return (-1, 0, module) if before else (n_layers, n_layers + 1, module)
        layer = 0 if before else n_layers - 1
    first = layer - layer % gene.layers
    return (first, min(first + gene.layers, n_layers), module)


def _label(key: _Key, gene: GeneSpec, layout: Layout, modules: Mapping[str, str]) -> str:
    first, end, module = key
    named = gene.modules is not None
    if gene.layers is None or layout.n_layers == 0:
        return module if named else ""
    if first < 0 or first >= layout.n_layers:
        side = "embedding" if first < 0 else "head"
        sides = {
            is_before_layers(name)
            for name, other in modules.items()
            if other == module and layout.layer_of(name) is None
        }
        # a part that stands on one side only is clear by its own name
        return side if module in (REST, side) else module if len(sides) == 1 else f"{side}.{module}"
    return f"layers[{first}:{end}]" + (f".{module}" if named else "")
