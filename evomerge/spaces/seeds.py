"""Known points of a space: what its parameters must be for a merge to give back one input.

A target is one value, or one for each input; parameters without a target may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from evomerge.recipe.model import Parameters
from evomerge.spaces.methods import NEUTRAL, Family

Targets: TypeAlias = Mapping[str, float | Mapping[str, float]]


def known_points(
    family: Family, inputs: tuple[str, ...], *, has_base_input: bool
) -> dict[str, Targets]:
    """Return the targets of 'base', of each input by its name, and of 'uniform'.

    Args:
        family: how the method combines its inputs.
        inputs: names in order.
        has_base_input: the base is one of them.
    """
    points: dict[str, Targets] = {}
    alone = {one: {name: float(name == one) for name in inputs} for one in inputs}
    uniform = dict.fromkeys(inputs, 1.0 / len(inputs))
    if family == "additive":
        # With a density of 1 nothing is dropped or rescaled, and one donor of weight 1 agrees
        # with itself: consensus and normalisation change nothing.
        points["base"] = {"weight": dict.fromkeys(inputs, 0.0)}
        points |= {name: {"weight": alone[name], **NEUTRAL} for name in inputs}
        points["uniform"] = {"weight": uniform, **NEUTRAL}
    elif family == "convex":
        order = sorted(inputs, key=lambda name: not (has_base_input and name == "base"))
        points |= {name: {"weight": alone[name]} for name in order}
        points["uniform"] = {"weight": uniform}
    elif family == "pair":
        points = {inputs[0]: {"t": 0.0}, inputs[1]: {"t": 1.0}, "uniform": {"t": 0.5}}
    elif family == "swap":
        points["base"] = {"t": 0.0}
    return points


def says(parameters: Parameters, name: str, target: float | Mapping[str, float]) -> bool:
    """Say whether fixed parameters, or else the method's default, meet a target."""
    value = parameters.get(name, NEUTRAL.get(name))
    wanted = set(target.values()) if isinstance(target, Mapping) else {target}
    return not isinstance(value, bool) and wanted == {value}
