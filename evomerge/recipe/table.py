"""The normal form of a lineage: a table of segments x inputs.

Claim: with linear combinations alone, a descendant is in every position i the sum over inputs k of
C[segment(i), k] v_k[i]. Proof by induction: refine the parents' tables to the union of their
segments and those of the merge; on each piece the child's row is the same combination of the
parents' rows. SLERP is such a combination once its angle is known, mutation adds an input.

Arithmetic is elementwise float64 in a fixed order, so a collapse gives the same numbers anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.recipe.lineage import (
    Donor,
    Earlier,
    Input,
    Lineage,
    LineageNode,
    Mix,
    Rebase,
    SvdMutation,
    parents_of,
)
from evomerge.recipe.order import Positions

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Weights of inputs over segments.

    Attributes:
        inputs: each once.
        ends: one past the last position of each segment, shape (n_segments,).
        weights: float64, shape (n_segments, n_inputs).
    """

    inputs: tuple[Input, ...]
    ends: Positions
    weights: Floats

    @classmethod
    def of(cls, one: Input, size: int) -> Table:
        """Return an input as it is."""
        return cls((one,), np.array([size], dtype=np.int64), np.ones((1, 1)))

    @classmethod
    def read(cls, node: Mix) -> Table:
        """Return the table a node spells."""
        return cls(node.inputs, np.array(node.ends, dtype=np.int64), np.array(node.weights))

    def node(self) -> Mix:
        """Return the table as a node."""
        rows = tuple(tuple(row) for row in self.weights.tolist())
        return Mix.model_construct(inputs=self.inputs, ends=tuple(self.ends.tolist()), weights=rows)

    @property
    def nbytes(self) -> int:
        """Memory of the numbers."""
        return self.ends.nbytes + self.weights.nbytes


def mixed(tables: Sequence[Table], ends: Positions, weights: Floats) -> Table:
    """Combine tables linearly, with other weights in each region.

    Args:
        tables: at least one, all of one size.
        ends: one past the last position of each region, shape (n_regions,).
        weights: shape (n_regions, n_tables).

    Returns:
        The combination: donors in order, then other inputs as they appear; inputs without weight
        are left out and neighbouring segments of equal weights joined.
    """
    every = dict.fromkeys(one for table in tables for one in table.inputs)
    inputs = tuple(sorted(every, key=_donors_first))  # stable
    column = {one: index for index, one in enumerate(inputs)}
    union = np.unique(np.concatenate([ends, *(table.ends for table in tables)]))
    region = np.searchsorted(ends, union, "left")
    found = np.zeros((len(union), len(inputs)))
    for number, table in enumerate(tables):
        segment = np.searchsorted(table.ends, union, "left")
        factor = weights[region, number][:, None]
        columns = [column[one] for one in table.inputs]
        # what grows beyond all bounds is refused when it is merged
        with np.errstate(over="ignore", invalid="ignore"):
            found[:, columns] += factor * table.weights[segment]
    return _joined(inputs, union, found)


def collapsed(lineage: Lineage) -> Lineage:
    """Return the normal form of a lineage, which rebuilds the same model.

    Its last node is one table for the result; before it stand, for each step that is not linear
    and that the result depends on, the table of what it starts from and the step itself.
    """
    tables: list[Table] = []
    nodes: list[LineageNode] = []
    for node in lineage.nodes:
        if isinstance(node, Mix):
            parts = [
                tables[one.node] if isinstance(one, Earlier) else Table.of(one, lineage.size)
                for one in node.inputs
            ]
            own = Table.read(node)
            tables.append(mixed(parts, own.ends, own.weights))
            continue
        nodes.append(tables[parents_of(node)[0]].node())
        nodes.append(moved(node, {parents_of(node)[0]: len(nodes) - 1}))
        tables.append(Table.of(Earlier(node=len(nodes) - 1), lineage.size))
    return pruned(lineage.model_copy(update={"nodes": (*nodes, tables[-1].node())}))


def pruned(lineage: Lineage) -> Lineage:
    """Return a lineage without the nodes that its result does not depend on."""
    wanted = {len(lineage.nodes) - 1}
    for position in range(len(lineage.nodes) - 1, -1, -1):
        if position in wanted:
            wanted.update(parents_of(lineage.nodes[position]))
    kept = sorted(wanted)
    place = {old: new for new, old in enumerate(kept)}
    nodes = tuple(moved(lineage.nodes[old], place) for old in kept)
    return lineage.model_copy(update={"nodes": nodes})


def moved(node: LineageNode, place: Mapping[int, int]) -> LineageNode:
    """Return a node whose earlier nodes stand at other positions."""
    if isinstance(node, SvdMutation):
        return node.model_copy(update={"svd": place[node.svd]})
    if isinstance(node, Rebase):
        return Rebase(rebase=place[node.rebase])
    inputs = tuple(
        Earlier(node=place[one.node]) if isinstance(one, Earlier) else one for one in node.inputs
    )
    return node.model_copy(update={"inputs": inputs})


def _donors_first(one: Input) -> tuple[bool, int]:
    return (False, one.donor) if isinstance(one, Donor) else (True, 0)


def _joined(inputs: tuple[Input, ...], ends: Positions, weights: Floats) -> Table:
    used = np.flatnonzero(weights.any(axis=0))
    used = used if len(used) else np.array([0])
    weights = np.ascontiguousarray(weights[:, used])
    last = np.append((weights[1:] != weights[:-1]).any(axis=1), True)
    return Table(tuple(inputs[i] for i in used), ends[last], weights[last])
