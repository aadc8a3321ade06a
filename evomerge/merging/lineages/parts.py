"""Lineages against real checkpoints: the part of a lineage that each output tensor takes."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from evomerge.errors import CheckpointError, NonFiniteMerge, RecipeError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.lineages.segments import Piece
from evomerge.merging.methods.lineage import MixPart, NodePart, TensorLineage
from evomerge.merging.plan import TensorMerge
from evomerge.merging.recent import Recent
from evomerge.merging.skeleton import node_key
from evomerge.merging.tensor_shapes import tensor_shapes
from evomerge.recipe.fingerprint import fingerprint
from evomerge.recipe.flat_layouts import LayoutName, order_of
from evomerge.recipe.lineage import Donor, Lineage, Mix, Rebase, Spectral, SvdMutation
from evomerge.recipe.model import Recipe
from evomerge.recipe.order import Order
from evomerge.recipe.table import Table, collapsed

_KEPT_ORDERS = 8
_OrderKey = tuple[Checkpoint, LayoutName, tuple[tuple[str, str], ...]]


class Orders:
    """Flat orders of the checkpoints that lineages are over, each made once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_OrderKey, Order] = OrderedDict()

    def of(self, checkpoint: Checkpoint, lineage: Lineage) -> Order:
        """Return the order that a lineage's positions count in.

        Raises:
            RecipeError: the model has no such order, or one of another size.
        """
        key = (checkpoint, lineage.layout, tuple(lineage.chromosomes.items()))
        if key not in self._kept:
            shape = tensor_shapes(checkpoint)
            self._kept[key] = order_of(shape, lineage.layout, lineage.chromosomes)
            if len(self._kept) > _KEPT_ORDERS:
                self._kept.popitem(last=False)
        order = self._kept[key]
        if order.size != lineage.size:
            raise RecipeError(
                f"lineage: it counts {lineage.size:,} positions, '{checkpoint.label}' has "
                f"{order.size:,} in layout '{lineage.layout}'; name the base that it was made with"
            )
        return order


def with_lineage(
    merges: Mapping[str, TensorMerge],
    recipe: Recipe,
    lineage: Lineage,
    order: Order,
    reference: Checkpoint,
    recent: Recent,
) -> dict[str, TensorMerge]:
    """Give every tensor its part of a recipe's lineage, and only the inputs that it needs.

    Args:
        merges: of the recipe, without arguments.
        recipe: with `lineage`.
        lineage: of the recipe.
        order: of its positions.
        reference: the base.
        recent: keeps what is costly between merges.

    Raises:
        CheckpointError: the merged model has other tensors than the order.
        NonFiniteMerge: a weight is inf or NaN.
    """
    normal = collapsed(lineage)
    floating = {name for name, one in merges.items() if not one.copied and math.prod(one.shape) > 0}
    require_order(order, floating, reference)
    parts: dict[str, list[NodePart]] = {name: [] for name in floating}
    for position, node in enumerate(normal.nodes):
        if isinstance(node, Mix):
            for name, part in _mix_parts(node, order, position).items():
                parts[name].append(part)
        else:
            for nodes in parts.values():
                nodes.append(node)
    digests = _digests(normal, recipe)
    base = "" if recipe.base_model is None else node_key(recipe.base_model)
    models = {
        donor: f"{node_key(source.model)} {base}"
        for donor, source in enumerate(recipe.models or ())
    }
    family = family_of(recipe)
    return {
        name: _narrowed(
            one,
            TensorLineage(
                one.name,
                recipe.seed,
                family,
                normal.origin,
                tuple(parts[name]),
                digests,
                {},
                models,
                recent,
            ),
        )
        if name in floating
        else one
        for name, one in merges.items()
    }


def family_of(recipe: Recipe) -> str:
    """Name the models of a lineage by what they are, whatever their order and their folders.

    Random numbers are named by it as well, so that an individual of one study that is a donor of
    another never meets its own random vectors again. A model without a digest counts by its place.
    """
    nodes = [recipe.base_model, *(source.model for source in recipe.models or ())]
    names = []
    for position, node in enumerate(nodes):
        if isinstance(node, Recipe):
            names.append(fingerprint(node))
        else:
            names.append((node.sha256 if node else None) or f"model-{position}")
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def require_order(order: Order, names: Iterable[str], base: Checkpoint) -> None:
    """Check that an order holds the tensors of a merged model, no more and no less.

    Raises:
        CheckpointError: one has a tensor that the other lacks.
    """
    odd = order.tensors.symmetric_difference(names)
    if odd:
        name = min(odd)
        lacking, where = (
            ("the merged model", "the order of the base")
            if name in order.tensors
            else (f"the base '{base.label}'", "the merged model")
        )
        raise CheckpointError(
            f"tensor '{name}' is in {where} and not in {lacking}; a lineage counts in the order "
            "of its base, so all its models need the base's tensors"
        )


def _mix_parts(node: Mix, order: Order, position: int) -> dict[str, MixPart]:
    """Cut a table into the pieces of every tensor."""
    table = Table.read(node)
    if not np.isfinite(table.weights).all():
        raise NonFiniteMerge(
            f"lineage.nodes[{position}]: a weight is inf or NaN; its ancestors grew too large"
        )
    pieces: dict[str, list[Piece]] = {}
    for cut in order.cuts(table.ends):
        present = np.flatnonzero(np.diff(cut.bounds, prepend=0))
        pieces.setdefault(cut.member.tensor, []).append(
            Piece(cut.member, cut.units, cut.bounds[present], table.weights[present])
        )
    return {name: _used(table, found) for name, found in pieces.items()}


def _used(table: Table, pieces: list[Piece]) -> MixPart:
    """Leave out inputs without weight in a tensor."""
    weighs = np.any([piece.rows.any(axis=0) for piece in pieces], axis=0)
    columns = np.flatnonzero(weighs)
    return MixPart(
        tuple(table.inputs[column] for column in columns),
        tuple(replace(piece, rows=piece.rows[:, columns]) for piece in pieces),
    )


def _narrowed(merge: TensorMerge, part: TensorLineage) -> TensorMerge:
    """Leave out inputs that a tensor does not draw on."""
    donors = {
        one.donor
        for node in part.nodes
        if isinstance(node, MixPart)
        for one in node.inputs
        if isinstance(one, Donor | Spectral)
    }
    wanted = set(donors)
    if merge.base_index is not None and (part.origin == "base" or not donors):
        wanted.add(merge.base_index)
    kept = sorted(wanted)
    place = {old: new for new, old in enumerate(kept)}
    return replace(
        merge,
        inputs=tuple(merge.inputs[old] for old in kept),
        base_index=None if merge.base_index is None else place.get(merge.base_index),
        origin=None,
        arguments={"part": replace(part, places={donor: place[donor] for donor in donors})},
    )


def _digests(lineage: Lineage, recipe: Recipe) -> dict[int, str]:
    """Name the value of every node that is not linear by all it depends on."""
    common = "\n".join(
        (
            *(node_key(source.model) for source in recipe.models or ()),
            "" if recipe.base_model is None else node_key(recipe.base_model),
            repr((lineage.layout, lineage.chromosomes, lineage.origin, recipe.seed)),
        )
    )
    found: dict[int, str] = {}
    for position, node in enumerate(lineage.nodes[:-1]):
        digest = hashlib.sha256(common.encode())
        if isinstance(node, Mix):
            for one in node.inputs:
                name = found.get(getattr(one, "node", -1)) or one.model_dump_json()
                digest.update(name.encode() + b"\n")
            digest.update(np.array(node.ends, dtype="<i8").tobytes())
            digest.update(np.array(node.weights, dtype="<f8").tobytes())
        elif isinstance(node, SvdMutation):
            digest.update(f"svd {found[node.svd]} {node.key} {node.scale!r}".encode())
        else:
            digest.update(f"rebase {found[node.rebase]}".encode())
        found[position] = digest.hexdigest()
    steps = {i for i, node in enumerate(lineage.nodes) if isinstance(node, SvdMutation | Rebase)}
    return {position: found[position] for position in steps}
