"""Repair: from any list of hops to a path within the limits, as near to it as the rules say.

In this order, each step leaving what the earlier ones reached:

1. Ends. Where they are fixed, the first hop on the first donor's first layer moves to the front
   and the last hop on its last layer to the end, with their scales; a missing one is added.
2. Uses. A layer that is used too often loses its latest uses.
3. Different layers. Too many of them: those of other donors go first, then the first donor's, of
   each the one that enters the path last.
4. Hops. Too many of them: repeated uses go first, then other donors' layers, then the first
   donor's, of each the latest.
5. Parameters. Too many of them: hops go in the order of step 4 until the rest fits.
6. Filling. Too few hops: layers of the first donor that the path lacks are put back, lowest
   first, each behind the last hop on a lower layer of that donor.

Fixed ends are never dropped. The result is a fixed point: repairing it again changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evomerge.recipe.layout import ParameterCounts
from evomerge.recipe.model import MAX_HOPS, Hop, Scaling
from evomerge.recipe.unroll import MAX_LOG2
from evomerge.spaces.paths.pool import Step
from evomerge.spaces.paths.spec import LimitsSpec
from evomerge.spaces.spec import Origin

_BOUND = 2.0**MAX_LOG2 * (1 - 1e-9)  # whoever multiplies in another order must still agree


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits of a space, for the depth of its first donor.

    Attributes:
        depth: number of layers of the first donor.
        fixed_ends: paths start and end with its end layers.
        min_hops: fewest hops.
        max_hops: most hops; None for any number, as below.
        max_unique: most different layers.
        max_uses: most uses of one layer.
        max_stored: most parameters of all hops together, each counted as often as it is passed.
        stored: parameters of each layer, where there is such a limit.
    """

    depth: int
    fixed_ends: bool = True
    min_hops: int = 1
    max_hops: int | None = None
    max_unique: int | None = None
    max_uses: int | None = None
    max_stored: int | None = None
    stored: Mapping[Step, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        limits: LimitsSpec,
        depth: int,
        origin: Origin,
        *,
        fixed_ends: bool,
        counts: Sequence[ParameterCounts] = (),
    ) -> Guards:
        """Read limits for a first donor of `depth` layers.

        Args:
            limits: as declared.
            depth: number of layers of the first donor.
            origin: where the declaration stands, for messages.
            fixed_ends: paths start and end with that donor's end layers.
            counts: what each donor stores; only a limit on parameters needs it.

        Raises:
            SpaceError: no path can keep them.
        """
        fewest = max(limits.min_hops, 2 if fixed_ends else 1)
        why = "two fixed ends" if fixed_ends and limits.min_hops < 2 else f"min_hops {fewest}"
        if depth < fewest:
            key = ("fixed_ends",) if fixed_ends and depth < 2 else ("limits", "min_hops")
            raise origin.error(key, f"the first donor has {depth} layers, too few for {why}")
        growth = limits.max_growth
        most = {
            "max_hops": limits.max_hops,
            # the last digit of a product such as 1.1 * 30 must not cost a hop
            "max_growth": None if growth is None else math.floor(growth * depth + 1e-9),
            "max_unique_layers": limits.max_unique_layers,
        }
        for name, value in most.items():
            if value is not None and value < fewest:
                raise origin.error(
                    ("limits", name), f"leaves room for {value} layers, too few for {why}"
                )
            if value is not None and value > MAX_HOPS:
                raise origin.error(
                    ("limits", name),
                    f"allows more than {MAX_HOPS:,} hops, the most of any path; lower it",
                )
        hops = [most[name] for name in ("max_hops", "max_growth")]
        stored = {
            (donor, layer): n
            for donor, one in enumerate(counts)
            for layer, n in enumerate(one.layers)
        }
        return cls(
            depth,
            fixed_ends,
            limits.min_hops,
            min((one for one in hops if one is not None), default=None),
            limits.max_unique_layers,
            limits.max_uses,
            _room(limits.max_parameters, counts, fewest, origin),
            stored,
        )


def _room(
    most: int | None, counts: Sequence[ParameterCounts], fewest: int, origin: Origin
) -> int | None:
    """Return how many parameters the hops of a path may have.

    Raises:
        SpaceError: the shortest path may have more, or nothing is known of the donors.
    """
    if most is None:
        return None
    key = ("limits", "max_parameters")
    if not counts:
        raise origin.error(key, "the parameters of the donors are not known here; use max_growth")
    room = most - counts[0].outside
    largest = max(n for one in counts for n in one.layers)
    if room < fewest * largest:
        raise origin.error(
            key,
            f"{most:,} leave no room for {fewest} hops: {counts[0].outside:,} lie outside the "
            f"layers, and a layer has up to {largest:,}",
        )
    return room


def repaired(hops: Sequence[Hop], guards: Guards) -> tuple[Hop, ...]:
    """Return the path that a list of hops, empty or not, stands for.

    Args:
        hops: `model` counts through the pool, 0 is the first donor.
        guards: what the path is held to.
    """
    path = list(hops)
    if guards.fixed_ends:
        path = _with_ends(path, guards.depth - 1)
    if guards.max_uses is not None:
        path = _without(path, _excess_uses(path, guards.max_uses, guards))
    if guards.max_unique is not None:
        path = _without(path, _excess_layers(path, guards.max_unique, guards))
    if guards.max_hops is not None and len(path) > guards.max_hops:
        path = _without(path, set(_order_of_leaving(path, guards)[: len(path) - guards.max_hops]))
    if guards.max_stored is not None:
        path = _without(path, _excess_parameters(path, guards.max_stored, guards))
    return tuple(_filled(path, guards))


def with_valid_scales(
    hops: Sequence[Hop], scaling: Scaling, *, scale_embedding: bool
) -> tuple[Hop, ...]:
    """Return the hops with scales that execute and fold.

    The first hop's scale is 1 unless it is searched. Under 'full' a scale that would take the
    product of the scales so far beyond 2^6 or below 2^-6 becomes the one that reaches it.
    """
    result: list[Hop] = []
    product = 1.0
    for position, hop in enumerate(hops):
        scale = hop.scale if position or scale_embedding else 1.0
        if scaling == "full":
            scale = min(max(scale, 1 / _BOUND / product), _BOUND / product)
            product *= scale
        result.append(hop if scale == hop.scale else hop.model_copy(update={"scale": scale}))
    return tuple(result)


def layer_of(hop: Hop) -> Step:
    """Return which layer a hop uses."""
    return hop.model, hop.layer


def _with_ends(path: list[Hop], last_layer: int) -> list[Hop]:
    first, last = (0, 0), (0, last_layer)
    at = next((i for i, hop in enumerate(path) if layer_of(hop) == first), None)
    start = Hop(model=0, layer=0) if at is None else path.pop(at)
    at = next((i for i in reversed(range(len(path))) if layer_of(path[i]) == last), None)
    end = Hop(model=0, layer=last_layer) if at is None else path.pop(at)
    return [start, *path, end]


def _ends(path: list[Hop], guards: Guards) -> frozenset[int]:
    return frozenset({0, len(path) - 1}) if guards.fixed_ends else frozenset()


def _without(path: list[Hop], positions: set[int]) -> list[Hop]:
    return [hop for position, hop in enumerate(path) if position not in positions]


def _excess_uses(path: list[Hop], most: int, guards: Guards) -> set[int]:
    excess = {layer: n - most for layer, n in Counter(map(layer_of, path)).items() if n > most}
    ends = _ends(path, guards)
    dropped: set[int] = set()
    for position in reversed(range(len(path))):
        layer = layer_of(path[position])
        if excess.get(layer, 0) and position not in ends:
            excess[layer] -= 1
            dropped.add(position)
    return dropped


def _excess_layers(path: list[Hop], most: int, guards: Guards) -> set[int]:
    entered: dict[Step, int] = {}
    for position, hop in enumerate(path):
        entered.setdefault(layer_of(hop), position)
    kept = {layer_of(path[position]) for position in _ends(path, guards)}
    order = sorted(entered.keys() - kept, key=lambda layer: (layer[0] == 0, -entered[layer]))
    dropped = set(order[: max(0, len(entered) - most)])
    return {position for position, hop in enumerate(path) if layer_of(hop) in dropped}


def _excess_parameters(path: list[Hop], most: int, guards: Guards) -> set[int]:
    dropped: set[int] = set()
    total = sum(guards.stored[layer_of(hop)] for hop in path)
    for position in _order_of_leaving(path, guards):
        if total <= most:
            break
        dropped.add(position)
        total -= guards.stored[layer_of(path[position])]
    return dropped


def _order_of_leaving(path: list[Hop], guards: Guards) -> list[int]:
    """List the positions that may be dropped, the first to go first."""
    ends = _ends(path, guards)
    seen = {layer_of(path[position]) for position in ends}
    order: list[tuple[int, int]] = []
    for position, hop in enumerate(path):
        if position not in ends:
            rank = 0 if layer_of(hop) in seen else 1 if hop.model else 2
            order.append((rank, -position))
            seen.add(layer_of(hop))
    return [-position for _, position in sorted(order)]


def _filled(path: list[Hop], guards: Guards) -> list[Hop]:
    for layer in range(guards.depth):
        if len(path) >= guards.min_hops:
            break
        if any(layer_of(hop) == (0, layer) for hop in path):
            continue
        lower = [i for i, hop in enumerate(path) if hop.model == 0 and hop.layer < layer]
        at = lower[-1] + 1 if lower else 0
        path.insert(at, Hop(model=0, layer=layer))
    return path
