"""What a stage searches: its donors in order, its space, where it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evomerge.errors import InvalidGenotype, SpaceError, UserError
from evomerge.recipe import ModelRef, Node, Recipe
from evomerge.spaces import (
    DeclaredSpace,
    Space,
    SpaceContext,
    ThroughPath,
    load_space,
    seeded,
    starting_at,
)
from evomerge.study.config import SpaceSource, StageConfig
from evomerge.types import Genotype

FOUND = "found"
MEANINGLESS = (InvalidGenotype, UserError, ValueError, ArithmeticError)
"""What decoding a genotype that means no recipe may raise, spaces written in Python included."""


def stage_donors(
    context: SpaceContext, stage: StageConfig, taken: Mapping[str, Recipe]
) -> dict[str, Node]:
    """Return the donors of a stage in its order: by default the taken ones first."""
    found: dict[str, Node] = {**taken, **context.donors}
    return {name: found[name] for name in stage.donors or found}


def stage_context(context: SpaceContext, donors: Mapping[str, Node]) -> SpaceContext:
    """Return the context of a study with other donors, recipes among them."""
    depths = {name: depth_of(node, context) for name, node in donors.items()}
    other = {name: depth for name, depth in depths.items() if depth != context.layout.n_layers}
    return replace(context, donors=dict(donors), depths=other)


def depth_of(node: Node, context: SpaceContext) -> int:
    """Return the number of layers of a model.

    Args:
        node: a model of the study, or a recipe over them.
        context: of the study.
    """
    if isinstance(node, ModelRef):
        names = (name for name, donor in context.donors.items() if donor == node)
        return max(map(context.depth, names), default=context.layout.n_layers)
    if node.path is not None:
        return len(node.path.hops)
    if node.slices is not None:
        ranges = [run.sources[0].layer_range or (0, 0) for run in node.slices]
        return sum(end - first for first, end in ranges)
    return context.layout.n_layers


def stage_space(
    source: SpaceSource,
    context: SpaceContext,
    donors: Mapping[str, Node],
    folder: Path,
    through: Recipe | None = None,
    start: Genotype | None = None,
    seeds: Mapping[str, Recipe] | None = None,
) -> Space:
    """Build what a stage searches.

    Args:
        source: the space as the study file names it; a file beside it comes before a shipped
            space of that name.
        context: of the study.
        donors: of the stage.
        folder: where relative paths start.
        through: the layer path whose first model the space's merges become.
        start: where the search starts, if not where the space says.
        seeds: found recipes that the search starts with as well, by name.

    Raises:
        SpaceError: the space is malformed, or does not fit the models or the path.
        PluginError: a Python space cannot be imported.
    """
    beside = isinstance(source, str) and (folder / source).is_file()
    named = Path(str(source)) if beside else source  # a path is read from the folder
    own = stage_context(context, donors)
    space = load_space(named, own, folder=folder)
    if seeds:
        space = seeded(space, seeds, own)
    if through is not None:
        space = through_path(space, through, context)
    return space if start is None else starting_at(space, start, FOUND)


def through_path(space: Space, path: Recipe, context: SpaceContext) -> ThroughPath:
    """Return a merge space whose merges take the place of a path's first model.

    Args:
        space: what is searched.
        path: a recipe with a path.
        context: of the study.

    Raises:
        SpaceError: it is no declared space of merges, or the layers of its merges are not those
            the path was found with.
    """
    if not isinstance(space, DeclaredSpace):
        raise SpaceError(
            "what is searched through a path are the coefficients of a merge: name a space that "
            "has a merge_method"
        )
    first = path.models[0].model if path.models else None
    if isinstance(first, Recipe) and first.path is not None:
        raise SpaceError(
            "the first model of the path is a layer path itself, and a merge has other layers; "
            "put a merge or a donor first among the donors of the stage that finds it"
        )
    if first is not None and depth_of(first, context) != context.layout.n_layers:
        raise SpaceError(
            f"the first model of the path has {depth_of(first, context)} layers and a merge "
            f"{context.layout.n_layers}; put a model of that depth first among the donors of the "
            "stage that finds it"
        )
    return ThroughPath(space, path)
