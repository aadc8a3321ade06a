"""How long the paths of a space may become."""

from __future__ import annotations

from collections.abc import Sequence

from evomerge.spaces import Space
from evomerge.spaces.paths.repair import Guards
from evomerge.spaces.paths.spec import DepthwiseSpec, JointSpec, SequenceSpec, SlotsSpec
from evomerge.spaces.spec import Origin


def most_hops(space: Space, depths: Sequence[int]) -> int | None:
    """Return the most hops a path of a space may have.

    Args:
        space: what is searched.
        depths: number of layers of each donor of a path, the first one's first.

    Returns:
        None where recipes are no paths, or the space is written in Python and does not say.
    """
    spec = getattr(space, "spec", None)
    if isinstance(spec, JointSpec):
        spec = spec.layers
    if not isinstance(spec, SlotsSpec | DepthwiseSpec | SequenceSpec):
        return None
    limits = spec.limits.model_copy(update={"max_parameters": None})  # how many hops, not how big
    guards = Guards.of(limits, depths[0], Origin(), fixed_ends=spec.fixed_ends)
    bounds = [guards.max_hops]
    if isinstance(spec, SlotsSpec):
        bounds.append(spec.repeats * sum(depths))
    elif isinstance(spec, DepthwiseSpec):
        ends = 2 if spec.fixed_ends else 0
        bounds.append((depths[0] - ends) * spec.stack + ends)
    if guards.max_uses is not None:
        layers = sum(depths) if guards.max_unique is None else guards.max_unique
        bounds.append(guards.max_uses * layers)
    return min(bound for bound in bounds if bound is not None)
