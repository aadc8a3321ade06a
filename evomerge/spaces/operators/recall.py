"""From the recipe of a merge back to the genotype that means it, or to the nearest one.

A recipe says what each parameter is for each tensor. A gene of that parameter becomes the mean over
the tensors it holds for, weighed by their sizes. So what a space with one density for all layers
found can start a search of one with a density for each of them, whatever the merge method.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import TypeAlias

from evomerge.errors import SpaceError
from evomerge.recipe.filters import is_before_layers
from evomerge.recipe.model import Node, Parameters, Recipe, Scalar, Source
from evomerge.recipe.parameters import Place, resolve
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import BASE_INPUT, DeclaredSpace
from evomerge.spaces.domain import Gene
from evomerge.spaces.groups import Grouping
from evomerge.spaces.methods import NEUTRAL, shape_of
from evomerge.spaces.spec import Origin
from evomerge.types import GeneValue, Genotype

_WEIGHED = ("additive", "convex")
"""Families whose inputs each have a weight: their order does not count, and one may be absent."""

_Said: TypeAlias = tuple[Scalar, int]
"""What a parameter is for one tensor and one input, and the size of that tensor."""


def parameter_of(gene: Gene) -> str:
    """Return the parameter that a gene of a declared space is a value of."""
    return gene.name.partition("[")[0].partition(".")[0]


def recalled(space: DeclaredSpace, recipe: Recipe, context: SpaceContext) -> Genotype | None:
    """Return the genotype of a space whose merge is nearest to a recipe.

    Numbers are means over the tensors a gene holds for, within its bounds; of a choice the one
    that holds for most elements counts. A donor that the recipe does not know gets weight 0; what
    else it does not say stays where the search starts.

    Args:
        space: of one merge method.
        recipe: what another space found.
        context: of the space.

    Returns:
        None where the recipe is by another method, with another base or other fixed parameters,
        or interpolates between other models; and where the shapes of the models are not known.

    Raises:
        SpaceError: it would be a merge of this space but for a model that is no donor here.
    """
    start = space.decode(space.domain.initial)
    if context.shape is None or not _alike(space, recipe, start):
        return None
    inputs = _matched(recipe, start, context)
    genes = {gene.name: index for index, gene in enumerate(space.domain.genes)}
    values: list[GeneValue] = list(space.domain.initial)
    for parameter, gene_spec in space.spec.genes.items():
        grouping = Grouping.of(context.layout, gene_spec, Origin(), ("genes", parameter))
        for owner in (None, *inputs):
            # a gene is known by its name, as in the record of a run
            stem = parameter if owner is None else f"{parameter}[{owner}]"
            names = [f"{stem}.{label}" if label else stem for label in grouping.labels]
            if names[0] not in genes:
                continue
            sources = list(inputs.values()) if owner is None else [inputs[owner]]
            held = _by_group(parameter, recipe, sources, grouping, context)
            for name, said in zip(names, held, strict=True):
                index = genes[name]
                values[index] = _value(space.domain.genes[index], gene_spec.choices, said)
    return tuple(values)


def _alike(space: DeclaredSpace, recipe: Recipe, start: Recipe) -> bool:
    """Say whether a recipe and those of a space differ in the values of genes at most."""
    whole = recipe.models is not None and recipe.path is None and recipe.lineage is None
    named = (recipe.merge_method, recipe.compat, recipe.base_model)
    if not whole or named != (start.merge_method, start.compat, start.base_model):
        return False
    weighed = shape_of(recipe.merge_method).family in _WEIGHED
    if not weighed and _models(recipe) != _models(start):
        return False
    genes = set(space.spec.genes)
    fixed = {**NEUTRAL, **_without(start.parameters, genes)}
    if {**NEUTRAL, **_without(recipe.parameters, genes)} != fixed:
        return False
    return all(
        fixed.get(name) == value
        for source in recipe.models or ()
        for name, value in _without(source.parameters, genes).items()
    )


def _matched(recipe: Recipe, start: Recipe, context: SpaceContext) -> dict[str, Source | None]:
    """Return what a recipe says of each input of a space; None where it does not name it.

    Raises:
        SpaceError: it gives weight to another model.
    """
    sources, own = list(recipe.models or ()), _models(start)
    names = [*context.donors, BASE_INPUT][: len(own)]
    if _models(recipe) == own:
        return dict(zip(names, sources, strict=True))
    for source in sources:
        if source.model not in own and _has_weight(recipe, source, context):
            raise SpaceError(
                f"a seed draws on '{source.model}', which is no donor of this stage; add it to the "
                "stage's donors"
            )
    return {
        name: next((source for source in sources if source.model == node), None)
        for name, node in zip(names, own, strict=True)
    }


def _has_weight(recipe: Recipe, source: Source, context: SpaceContext) -> bool:
    scopes = (source.parameters, recipe.parameters)
    places = (_place(context, tensor) for tensor in context.layout.tensors)
    return any(resolve("weight", scopes, place) != 0 for place in places)


def _by_group(
    parameter: str,
    recipe: Recipe,
    sources: Sequence[Source | None],
    grouping: Grouping,
    context: SpaceContext,
) -> list[list[_Said]]:
    """Return what a recipe says of a parameter, by the groups that are searched."""
    groups: list[list[_Said]] = [[] for _ in grouping.labels]
    for tensor, shape in (context.shape.shapes if context.shape else {}).items():
        group = grouping.group_of(context.layout, tensor)
        if group < len(groups):
            place, size = _place(context, tensor), math.prod(shape)
            said = (_said(parameter, recipe, source, place) for source in sources)
            groups[group] += ((value, size) for value in said if value is not None)
    return groups


def _said(parameter: str, recipe: Recipe, source: Source | None, place: Place) -> Scalar | None:
    """Return what a parameter is for one input and tensor; None where nothing says it."""
    if source is None:
        return 0.0 if parameter == "weight" else None
    value = resolve(parameter, (source.parameters, recipe.parameters), place)
    return NEUTRAL.get(parameter) if value is None else value


def _value(gene: Gene, choices: Sequence[Scalar] | None, said: Sequence[_Said]) -> GeneValue:
    """Return what a gene is where a parameter has these values; its start where it has none."""
    sizes: dict[Scalar, int] = {}
    for value, size in said:
        sizes[value] = sizes.get(value, 0) + size
    if choices is not None:
        known = {value: size for value, size in sizes.items() if value in choices}
        if not known:
            return gene.initial
        return gene.choices[choices.index(max(known, key=known.__getitem__))]
    numbers = {float(value): size for value, size in sizes.items() if not isinstance(value, str)}
    if not sum(numbers.values()):
        return gene.initial
    if len(numbers) == 1:
        (mean,) = numbers  # to the last bit: the same recipe is not scored twice
    else:
        total = sum(numbers.values())
        mean = math.fsum(value * size for value, size in numbers.items()) / total
    mean = min(max(mean, gene.low), gene.high)
    return round(mean) if gene.kind == "integer" else mean


def _models(recipe: Recipe) -> list[Node]:
    return [source.model for source in recipe.models or ()]


def _without(parameters: Parameters, names: Container[str]) -> Parameters:
    return {name: value for name, value in parameters.items() if name not in names}


def _place(context: SpaceContext, tensor: str) -> Place:
    """Say where a tensor stands in a merge of whole models."""
    layer, last = context.layout.layer_of(tensor), context.layout.n_layers - 1
    if layer is None:
        return Place(tensor, None, 0.0 if is_before_layers(tensor) else 1.0)
    return Place(tensor, layer, layer / last if last else 1.0)
