"""What a merge weighs its models by, tensor by tensor: the common tongue of linear recipes.

    theta = sum over models m of W[m] theta_m         in each tensor, the base among the models

A recipe of task vectors gives the base 1 less the others' sum. By this a result of one kind of
space is brought into another: exactly where that can express it, else as its mean over each group
of tensors that has a weight there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import SpaceError
from evomerge.recipe.filters import is_before_layers
from evomerge.recipe.flat_layouts import TensorShapes, order_of
from evomerge.recipe.lineage import Donor, Earlier, Lineage, Mix, Rebase, Spectral, SvdMutation
from evomerge.recipe.model import Node, Recipe, Source
from evomerge.recipe.order import Block, Order, Positions
from evomerge.recipe.parameters import Place, resolve
from evomerge.recipe.table import collapsed

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class ModelWeights:
    """Weights of models over segments of a flat order.

    Attributes:
        models: the base first, then the recipe's other models.
        order: what positions count in.
        ends: one past the last position of each segment, shape (n_segments,).
        weights: shape (n_segments, n_models).
        relative: the recipe adds task vectors to the base, which gets 1 less the others' sum.
        normalized: recipes of this kind always have weights that sum to 1.
    """

    models: tuple[Node, ...]
    order: Order
    ends: Positions
    weights: Weights
    relative: bool
    normalized: bool

    def by_tensor(self) -> dict[str, Weights]:
        """Return the mean weights of each tensor, shape (n_models,)."""
        sums: dict[str, Weights] = {}
        sizes: dict[str, int] = {}
        for cut in self.order.cuts(np.concatenate([[0], self.ends])):
            lengths = np.diff(cut.bounds)
            name = cut.member.tensor
            sums[name] = sums.get(name, np.zeros(len(self.models))) + lengths @ self.weights
            sizes[name] = sizes.get(name, 0) + cut.member.size
        return {name: total / sizes[name] for name, total in sums.items()}


def weights_of(recipe: Recipe, base: Node, shape: TensorShapes) -> ModelWeights:
    """Return what a recipe weighs its models by.

    Args:
        recipe: task_arithmetic, linear, or a lineage. Random mutations of a lineage count by what
            is expected of them.
        base: of the study.
        shape: of the models.

    Raises:
        SpaceError: the recipe is no linear combination of its models.
    """
    if recipe.lineage is not None:
        return _of_lineage(recipe, recipe.lineage, base, shape)
    if recipe.path is not None or recipe.slices is not None:
        raise SpaceError(
            "a layer path or an assembly of layers has no weights of its models to start from; "
            "take a stage that merges weights"
        )
    if recipe.merge_method not in ("task_arithmetic", "linear"):
        raise SpaceError(
            f"a merge by {recipe.merge_method} is no linear combination of its models; seeds come "
            "from task_arithmetic, linear or a population"
        )
    return _of_parameters(recipe, base, shape)


def tensor_table(order: Order, rows: Mapping[str, Weights]) -> tuple[Positions, Weights]:
    """Lay rows by tensor out over an order, exactly.

    Args:
        order: the flat order.
        rows: weights of each tensor, all of one shape.

    Returns:
        Ends of segments, and their weights; neighbours may be equal.
    """
    ends: list[Positions] = []
    weights: list[Weights] = []
    for block, start in zip(order.blocks, order.starts, strict=False):
        own = np.array([rows[member.tensor] for member in block.members])
        if (own == own[0]).all():
            ends.append(np.array([start + block.size]))
            weights.append(own[:1])
        else:
            ends.append(start + _unit_ends(block))
            weights.append(np.tile(own, (block.units, 1)))
    return np.concatenate(ends), np.concatenate(weights)


def _unit_ends(block: Block) -> Positions:
    """Return where each member's part of each unit ends, from the block's beginning."""
    inside = np.cumsum(block.widths)
    found: Positions = (np.arange(block.units)[:, None] * block.width + inside).reshape(-1)
    return found


def _of_lineage(recipe: Recipe, lineage: Lineage, base: Node, shape: TensorShapes) -> ModelWeights:
    sources = recipe.models or ()
    models, place = _models(base, sources)
    ends, shares = _expected(collapsed(lineage), len(sources))
    weights = np.zeros((len(ends), len(models)))
    for donor, column in enumerate(place):
        weights[:, column] += shares[:, donor]
    if lineage.origin == "base":
        weights[:, 0] += 1 - shares.sum(axis=1)
    order = order_of(shape, lineage.layout, lineage.chromosomes)
    relative = lineage.origin == "base"
    return ModelWeights(models, order, ends, weights, relative, relative)


def _expected(normal: Lineage, n_donors: int) -> tuple[Positions, Weights]:
    """Return a lineage's weights of its donors, every random number being its expectation.

    Standard normal numbers are expected to be 0, factors on singular values the middle of their
    range, whatever the tensor.

    Returns:
        Ends of segments, and weights of shape (n_segments, n_donors).
    """
    found: list[tuple[Positions, Weights]] = []
    for node in normal.nodes:
        if isinstance(node, SvdMutation):
            ends, weights = found[node.svd]
            found.append((ends, weights * (node.scale / 2)))
        elif isinstance(node, Rebase):
            found.append(found[node.rebase])
        else:
            found.append(_expected_mix(node, found, n_donors))
    return found[-1]


def _expected_mix(
    node: Mix, before: Sequence[tuple[Positions, Weights]], n_donors: int
) -> tuple[Positions, Weights]:
    earlier = [before[one.node][0] for one in node.inputs if isinstance(one, Earlier)]
    ends = np.unique(np.concatenate([np.array(node.ends, dtype=np.int64), *earlier]))
    table = np.array(node.weights)[np.searchsorted(node.ends, ends, "left")]
    weights = np.zeros((len(ends), n_donors))
    for column, one in enumerate(node.inputs):
        factor = table[:, column]
        if isinstance(one, Donor):
            weights[:, one.donor] += factor
        elif isinstance(one, Spectral):
            weights[:, one.donor] += factor * (0.0 if one.symmetric else 0.5)
        elif isinstance(one, Earlier):
            own, rows = before[one.node]
            weights += factor[:, None] * rows[np.searchsorted(own, ends, "left")]
    return ends, weights


def _of_parameters(recipe: Recipe, base: Node, shape: TensorShapes) -> ModelWeights:
    sources = recipe.models or ()
    models, place = _models(base, sources)
    relative = recipe.merge_method == "task_arithmetic"
    shared = (recipe.parameters,)
    rows: dict[str, Weights] = {}
    for tensor in shape.shapes:
        at = _place(shape, tensor)
        given = np.array(
            [_number(resolve("weight", (one.parameters, *shared), at)) for one in sources]
        )
        normalize = resolve("normalize", shared, at)
        if normalize or (normalize is None and not relative):
            given /= given.sum() or 1.0
        if relative:
            given *= _number(resolve("lambda", shared, at))
        row = np.zeros(len(models))
        np.add.at(row, place, given)
        if relative:
            row[0] = 1 - row[1:].sum()
        rows[tensor] = row
    order = order_of(shape, "depth")
    normalized = relative or recipe.parameters.get("normalize", True) is True
    return ModelWeights(models, order, *tensor_table(order, rows), relative, normalized)


def _place(shape: TensorShapes, tensor: str) -> Place:
    """Say where a tensor stands in a merge of whole models."""
    layer, last = shape.layout.layer_of(tensor), shape.layout.n_layers - 1
    if layer is None:
        return Place(tensor, None, 0.0 if is_before_layers(tensor) else 1.0)
    return Place(tensor, layer, layer / last if last else 1.0)


def _models(base: Node, sources: tuple[Source, ...]) -> tuple[tuple[Node, ...], list[int]]:
    """Return base and sources, each once, and where each source stands among them."""
    models = [base]
    for source in sources:
        if source.model not in models:
            models.append(source.model)
    return tuple(models), [models.index(source.model) for source in sources]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 1.0
