"""One input, taken over as it is or changed affinely: what layer assemblies are made of."""

from __future__ import annotations

from torch import Tensor

from evomerge.merging.method import Group, PerInput, each, merge_method

UNCHANGED = each(None)


@merge_method(base="ignored", max_inputs=1, native=("shift",))
def passthrough(
    group: Group,
    *,
    scale: PerInput[float | None] = UNCHANGED,
    shift: PerInput[float | None] = UNCHANGED,
) -> Tensor:
    """Return scale * x + shift; without either, x.

    mergekit has no shift. Norms that store their gain less a constant need it: a factor f on the
    gain 1 + g makes f * g + (f - 1) of g.
    """
    tensor, factor, summand = group.inputs[0], scale[0], shift[0]
    if factor is not None:
        tensor = tensor * factor
    return tensor if summand is None else tensor + summand
