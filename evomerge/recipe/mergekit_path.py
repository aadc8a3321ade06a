"""A layer path in mergekit's words: slices of one layer, and what mergekit would get wrong."""

from __future__ import annotations

from evomerge.recipe.blocks import BLOCKS, Block
from evomerge.recipe.layout import Layout
from evomerge.recipe.model import DType, LayerPath, Recipe, Source
from evomerge.recipe.unroll import folding, has_head, unrolled
from evomerge.recipe.vocabulary import refusal


def sliced(
    recipe: Recipe, path: LayerPath, layout: Layout | None, out: DType | None
) -> tuple[Recipe, list[str]]:
    """Lower a path recipe for mergekit.

    Args:
        recipe: with `path`.
        path: of the recipe.
        layout: of the recipe's first model: it names the architecture, and shows whether the
            embeddings are the head too.
        out: dtype of the merged model, if known.

    Returns:
        An ordinary recipe, and lines that its reader must know.

    Raises:
        RecipeError: mergekit 0.1.5 cannot express the path, or its scales do not fold.
    """
    for position, source in enumerate(recipe.models or ()):
        if isinstance(source.model, Recipe):
            raise refusal(
                f"models[{position}]",
                "a nested recipe is not a model",
                "write its result to a folder first",
            )
    block = BLOCKS.get(layout.model_type) if layout is not None else None
    if layout is None or block is None:
        found = f"architecture '{layout.model_type}'" if layout else "unknown tensor names"
        raise refusal(
            "path",
            f"where a scale goes depends on the architecture, and it is not known for {found}",
            f"pass the layout of a model of type {', '.join(sorted(BLOCKS))}",
        )
    _check_ends(path, recipe.models or ())
    factors = folding(path, tied=not has_head(layout))
    if block.gain_offset and any(f != 1 for f in (*factors.attention, *factors.mlp)):
        raise refusal(
            "path",
            f"scales fold into norms that store their gain less {block.gain_offset:g}, and "
            "mergekit's passthrough multiplies but does not add",
            "export the folded checkpoint instead",
        )
    if factors.rescales and out == "float16":
        raise refusal(
            "out_dtype",
            "folding these scales divides the hidden state, which float16 may not hold",
            "use bfloat16 or float32",
        )
    notes = _kinds(path, block, layout)
    return unrolled(recipe, block, tied=not has_head(layout)), notes


def _check_ends(path: LayerPath, models: tuple[Source, ...]) -> None:
    for position, borrowed in ((0, "embeddings"), (len(path.hops) - 1, "final norm and head")):
        owner = models[path.hops[position].model].model
        if owner != models[0].model:
            raise refusal(
                f"path.hops[{position}]",
                f"mergekit takes the {borrowed} from the model of this hop, '{owner}', evomerge "
                f"from the first of the models, '{models[0].model}'",
                "start and end the path with layers of the first model",
            )


def _kinds(path: LayerPath, block: Block, layout: Layout) -> list[str]:
    """Look after kinds of layers, which mergekit leaves where they are in the configuration."""
    moved = [k for k, hop in enumerate(path.hops) if hop.layer != k]
    if block.layer_types == "alternating" and moved:
        k = moved[0]
        raise refusal(
            f"path.hops[{k}]",
            f"mergekit does not move layer_types along with layers, and layer {path.hops[k].layer} "
            f"as layer {k} may have another kind of attention",
            "export the folded checkpoint instead",
        )
    if block.layer_types == "uniform" and (moved or len(path.hops) != layout.n_layers):
        return [
            "mergekit leaves layer_types in config.json as they are, and transformers 5 writes "
            "them for no other depth: take config.json from the folded checkpoint"
        ]
    return []
