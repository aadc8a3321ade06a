"""What a parameter of a recipe is worth for one tensor.

Scopes are asked nearest first (source, slice, recipe), then the method's default decides. Within
a scope a value is a scalar, a gradient over the layers, or a list of conditionals of which the
first that matches decides; when none matches, the next scope is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evomerge.errors import RecipeError
from evomerge.recipe.model import Conditional, ParameterValue, Scalar


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter is looked up.

    Attributes:
        tensor: the name filters are matched against: the input's tensor name for a per-input
            parameter, the output's for a global one. They differ once layers are renumbered.
        layer: the layer index in that name; None outside the layers.
        t: position inside the slice, 0 at its first layer and 1 at its last.
    """

    tensor: str
    layer: int | None
    t: float


def interpolate(values: tuple[Scalar, ...], t: float) -> Scalar:
    """Read a gradient at `t` in [0, 1].

    Numbers are interpolated linearly between equally spaced anchors; where a value is a bool or a
    text, the anchor at or before `t` is picked.
    """
    scaled = t * (len(values) - 1)
    first = int(scaled)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return values[first]
    second = min(len(values) - 1, first + 1)
    fraction = scaled - first
    return (1 - fraction) * numbers[first] + fraction * numbers[second]


def evaluate(value: ParameterValue, place: Place) -> Scalar | None:
    """Return what one scope says about a tensor; None when none of its conditionals matches."""
    if not isinstance(value, tuple):
        return value
    scalars: list[Scalar] = []
    for entry in value:
        if not isinstance(entry, Conditional):
            scalars.append(entry)
        elif _matches(entry, place):
            if isinstance(entry.value, tuple):
                return interpolate(entry.value, place.t)
            return entry.value
    return interpolate(tuple(scalars), place.t) if scalars else None


def resolve(
    name: str, scopes: Iterable[Mapping[str, ParameterValue]], place: Place
) -> Scalar | None:
    """Return the value of parameter `name` for one tensor; None when no scope speaks of it.

    Args:
        name: the parameter.
        scopes: nearest first.
        place: the tensor.

    Raises:
        RecipeError: a gradient is empty; the message names the parameter and the tensor.
    """
    for scope in scopes:
        if name not in scope:
            continue
        setting = scope[name]
        if isinstance(setting, tuple) and not setting:
            raise RecipeError(
                f"parameter '{name}' for tensor '{place.tensor}': the list is empty; "
                "give at least one value"
            )
        value = evaluate(setting, place)
        if value is not None:
            return value
    return None


def _matches(entry: Conditional, place: Place) -> bool:
    if entry.layers is not None and (
        place.layer is None or not entry.layers[0] <= place.layer < entry.layers[1]
    ):
        return False
    return entry.filter is None or entry.filter in place.tensor
