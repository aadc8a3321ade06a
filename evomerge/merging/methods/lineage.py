"""Members of populations: weighted sums over segments, and the steps that are not linear.

Abrantes et al. 2025, arXiv 2508.16204 (crossover at split points); Kuroki et al. 2025, arXiv
2410.14735 (mutation of singular values). What a lineage says is in `evomerge.recipe.lineage`; here
one tensor of it is computed:

    value(mix)    = sum over inputs of weight(segment) * input;  a donor's input is x - base
    value(svd)    = U diag(w sigma) V^T of value(node) = U diag(sigma) V^T;  unchanged if no matrix
    value(rebase) = value(node)
    out           = base + value(last node)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from evomerge.merging.lineages.segments import Piece, add_weighted
from evomerge.merging.lineages.spectral import Factors, factors, normals, recomposed
from evomerge.merging.method import Group, Method
from evomerge.merging.random import Stream
from evomerge.merging.recent import Recent
from evomerge.recipe.lineage import Donor, Earlier, Gaussian, Input, Rebase, Spectral, SvdMutation


@dataclass(frozen=True, eq=False, slots=True)
class MixPart:
    """What a table of segments x inputs says about one tensor.

    Attributes:
        inputs: those with weight in the tensor.
        pieces: together they hold every element of the tensor once.
    """

    inputs: tuple[Input, ...]
    pieces: tuple[Piece, ...]


NodePart: TypeAlias = MixPart | SvdMutation | Rebase


@dataclass(frozen=True, eq=False, slots=True)
class TensorLineage:
    """One tensor of a lineage in normal form.

    Attributes:
        tensor: its name, which names its random numbers.
        seed: of the recipe.
        family: of its models, see `evomerge.merging.lineages.parts.family_of`.
        origin: 'base' sums task vectors and adds the base; 'zero' sums whole weights.
        nodes: in order; each made of those before it.
        digests: of each node that is not linear, by position: equal where all that it depends on
            is.
        places: position in `Group.inputs` by donor.
        models: what identifies each donor's task vector, by donor.
        recent: keeps factors of donors and values of nodes that are not linear.
    """

    tensor: str
    seed: int
    family: str
    origin: Literal["base", "zero"]
    nodes: tuple[NodePart, ...]
    digests: Mapping[int, str]
    places: Mapping[int, int]
    models: Mapping[int, str]
    recent: Recent

    def stream(self, kind: str, key: int) -> Stream:
        """Return the random numbers that a kind and a key name."""
        return Stream(self.seed, f"{kind}:{key}:{self.family}", self.tensor)


def _lineage(group: Group, *, part: TensorLineage) -> Tensor:
    """Return one tensor of a lineage."""
    value = lineage_value(group, part)
    return group.base + value if part.origin == "base" else value


LINEAGE_METHOD = Method(
    name="lineage",
    kernel=_lineage,
    base="required",
    min_inputs=1,
    max_inputs=None,
    parameters={},
    inert=frozenset(),
    native=frozenset(),
    singleton="merge",
    nonzero_sum=None,
)


def lineage_value(group: Group, part: TensorLineage) -> Tensor:
    """Return the value of a lineage's last node, without the base; read-only.

    Raises:
        NonFiniteMerge: singular values are wanted of something that holds inf or NaN.
    """
    values: dict[int, Tensor] = {}
    uses: dict[int, int] = {}
    waiting = [len(part.nodes) - 1]
    while waiting:
        position = waiting.pop()
        uses[position] = uses.get(position, 0) + 1
        if uses[position] > 1:
            continue
        kept = None
        if position in part.digests:
            kept = part.recent.get((part.digests[position], part.tensor))
        if kept is not None:
            values[position] = kept[0]
        else:
            waiting += _needed(part.nodes[position])
    for position in sorted(uses):
        if position in values:
            continue
        node = part.nodes[position]
        values[position] = _value(group, part, node, values)
        if position in part.digests:
            part.recent.put((part.digests[position], part.tensor), (values[position],))
        for needed in _needed(node):
            uses[needed] -= 1
            if not uses[needed]:
                del values[needed]
    return values[len(part.nodes) - 1]


def _needed(node: NodePart) -> tuple[int, ...]:
    if isinstance(node, SvdMutation):
        return (node.svd,)
    if isinstance(node, Rebase):
        return (node.rebase,)
    return tuple(one.node for one in node.inputs if isinstance(one, Earlier))


def _value(
    group: Group, part: TensorLineage, node: NodePart, values: Mapping[int, Tensor]
) -> Tensor:
    if isinstance(node, MixPart):
        return _mixed(group, part, node, values)
    if isinstance(node, Rebase):
        return values[node.rebase]
    matrix = values[node.svd]
    if matrix.ndim != 2:
        return matrix
    found = factors(part.tensor, matrix)
    stream = part.stream("svd", node.key)
    by = stream.uniform(len(found[1]), matrix.device) * node.scale
    return recomposed(found, by, matrix.dtype)


def _mixed(
    group: Group, part: TensorLineage, node: MixPart, values: Mapping[int, Tensor]
) -> Tensor:
    out = torch.zeros_like(group.inputs[0])
    origin = group.base if part.origin == "base" else None
    spectral: dict[int, list[int]] = {}
    for index, one in enumerate(node.inputs):
        columns = [piece.rows[:, index] for piece in node.pieces]
        match one:
            case Donor():
                term = group.inputs[part.places[one.donor]]
                add_weighted(out, term, origin, node.pieces, columns)
            case Gaussian():
                term = normals(part.stream("gaussian", one.gaussian), out)
                add_weighted(out, term, None, node.pieces, columns)
            case Earlier():
                add_weighted(out, values[one.node], None, node.pieces, columns)
            case Spectral():
                spectral.setdefault(one.donor, []).append(index)
    for donor, indices in spectral.items():
        if out.ndim == 2:
            _add_spectral(out, group, part, node, donor, indices)
    return out


def _add_spectral(
    out: Tensor, group: Group, part: TensorLineage, node: MixPart, donor: int, indices: list[int]
) -> None:
    """Add a donor's task vector under the sum of all random numbers on its singular values."""
    u, sigma, vt = _donor_factors(group, part, donor)
    drawn = []
    for index in indices:
        one = node.inputs[index]
        if isinstance(one, Spectral):
            stream = part.stream("spectral", one.spectral)
            uniform = stream.uniform(len(sigma), out.device)
            drawn.append(2 * uniform - 1 if one.symmetric else uniform)
    rows = [piece.rows[:, indices] for piece in node.pieces]
    for row in np.unique(np.concatenate(rows), axis=0):
        if row.any():
            by = torch.zeros_like(drawn[0])
            for weight, numbers in zip(row.tolist(), drawn, strict=True):
                by += weight * numbers
            here = [(own == row).all(axis=1).astype(np.float64) for own in rows]
            term = recomposed((u, sigma, vt), by, out.dtype)
            add_weighted(out, term, None, node.pieces, here)


def _donor_factors(group: Group, part: TensorLineage, donor: int) -> Factors:
    key = ("factors", part.models[donor], part.tensor)
    kept = part.recent.get(key)
    if kept is not None:
        u, sigma, vt = kept
        return u, sigma, vt
    found = factors(part.tensor, group.inputs[part.places[donor]] - group.base)
    part.recent.put(key, found)
    return found
