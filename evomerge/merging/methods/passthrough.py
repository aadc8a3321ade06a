"""One input, taken over as it is: what layer assemblies are made of."""

from __future__ import annotations

from torch import Tensor

from evomerge.merging.method import Group, PerInput, each, merge_method

UNSCALED = each(None)


@merge_method(base="ignored", max_inputs=1)
def passthrough(group: Group, *, scale: PerInput[float | None] = UNSCALED) -> Tensor:
    """Return x, or scale * x."""
    tensor, factor = group.inputs[0], scale[0]
    return tensor if factor is None else tensor * factor
