"""A layer path against real checkpoints: the plain checkpoint that computes the same.

Every hop becomes a layer of its own with the tensors of its donor, scales folded in
(`evomerge.recipe.unroll`); embeddings, final norm and head are those of the first model, whichever
model the first and the last hop belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.layer_path import require_compatible
from evomerge.merging.method import Method
from evomerge.merging.plan import TensorMerge
from evomerge.merging.skeleton import Collector, Slot, Stage, by_layer, lay_out_outside
from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.model import LayerPath, Recipe, Source
from evomerge.recipe.unroll import folding, has_head, unrolled


def lower(recipe: Recipe, path: LayerPath, checkpoints: Sequence[Checkpoint]) -> Recipe:
    """Check a path against its models and write its scales as parameters.

    Args:
        recipe: with `path`.
        path: of the recipe.
        checkpoints: one for each of the recipe's models.

    Raises:
        CheckpointError: the layers of the models cannot follow one another, or one is missing.
        RecipeError: the scales do not fold.
    """
    require_compatible([(c.label, c.config, c.layout.n_layers) for c in checkpoints], path)
    first = checkpoints[0].layout
    return unrolled(recipe, BLOCKS[first.model_type], tied=not has_head(first))


def lay_out_path(
    sources: Sequence[Source], path: LayerPath, checkpoints: Sequence[Checkpoint], method: Method
) -> tuple[Slot, ...]:
    """Lay out every tensor of a folded path, in the order of its layers.

    The slots outside the layers belong to no slice: only the recipe's own parameters reach them.

    Args:
        sources: the recipe's models.
        path: checked by `lower`.
        checkpoints: one for each source.
        method: passthrough.

    Raises:
        CheckpointError: layers of two models do not have the same tensors.
    """
    _require_alike(path, checkpoints)
    first = checkpoints[0]
    ends = Stage("models[0]", (sources[0],), (first,), ((0, len(path.hops)),))
    tables = [by_layer(checkpoint) for checkpoint in checkpoints]
    collector = Collector(method, None)
    lay_out_outside(collector, ends, embedding=True, t=0.0)
    for k, hop in enumerate(path.hops):
        stage = Stage(
            f"path.hops[{k}]",
            (sources[hop.model],),
            (checkpoints[hop.model],),
            ((hop.layer, hop.layer + 1),),
            index=k,
        )
        for local, name in sorted(tables[hop.model][hop.layer].items()):
            collector.add(f"{first.layout.prefix}{k}.{local}", k, stage, [name], [hop.layer], 1.0)
    lay_out_outside(collector, ends, embedding=False, t=1.0)
    return collector.result()


def require_range(path: LayerPath, first: Checkpoint, merges: Iterable[TensorMerge]) -> None:
    """Refuse float16 where folding rescales the residual stream.

    Activations of trained models reach thousands, float16 ends at 65504: divided by c_k they
    would overflow where those of the path do not.

    Raises:
        RecipeError: a folded tensor would be written in float16.
    """
    if not folding(path, tied=not has_head(first.layout)).rescales:
        return
    for merge in merges:
        if merge.out == torch.float16:
            raise RecipeError(
                f"tensor '{merge.name}': folding these scales divides the hidden state by their "
                "product, which float16 may not hold; set out_dtype to bfloat16 or float32"
            )


def _require_alike(path: LayerPath, checkpoints: Sequence[Checkpoint]) -> None:
    """Check that one configuration describes the layers of every hop."""
    first = checkpoints[0]
    tables = [by_layer(checkpoint) for checkpoint in checkpoints]
    known = {frozenset(table) for table in tables[0].values()}
    every = frozenset[str]().union(*known)
    shapes: dict[str, tuple[int, ...]] = {}
    for table in tables[0].values():
        for local, name in table.items():
            shapes.setdefault(local, first.shape(name))
    for model, layer in sorted({(hop.model, hop.layer) for hop in path.hops}):
        owner, table = checkpoints[model], tables[model].get(layer, {})
        place = f"layer {layer} of '{owner.label}'"
        if frozenset(table) not in known:
            odd = min(every.symmetric_difference(table))
            raise CheckpointError(
                f"{place} does not have the tensors of a layer of '{first.label}': see "
                f"'{odd}'; one configuration cannot describe both"
            )
        for local, name in table.items():
            if owner.shape(name) != shapes[local]:
                raise CheckpointError(
                    f"'{local}' has shape {owner.shape(name)} in {place} and {shapes[local]} in "
                    f"'{first.label}'; one configuration cannot describe both"
                )
