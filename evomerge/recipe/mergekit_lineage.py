"""A lineage in mergekit's words: one linear merge whose weights depend on the tensor.

Only a table of donors whose segments end at borders of tensors has them. A lineage of SLERPs
becomes a linear merge too: mergekit's own slerp would take angles of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from evomerge.errors import RecipeError
from evomerge.recipe.flat_layouts import TensorShapes, order_of
from evomerge.recipe.layout import Layout
from evomerge.recipe.lineage import Donor, Gaussian, Lineage, Mix, Spectral
from evomerge.recipe.model import Conditional, ParameterValue, Recipe, Source
from evomerge.recipe.parameters import Place, evaluate
from evomerge.recipe.table import collapsed
from evomerge.recipe.vocabulary import refusal

_REMEDY = "export the merged checkpoint instead"


def flattened(
    recipe: Recipe, lineage: Lineage, shape: TensorShapes | None
) -> tuple[Recipe, list[str]]:
    """Lower a recipe with a lineage for mergekit.

    Args:
        recipe: with `lineage`.
        lineage: of the recipe.
        shape: of the base, in whose flat order positions count.

    Returns:
        A recipe by task_arithmetic (origin base) or linear (origin zero), and lines that its
        reader must know.

    Raises:
        RecipeError: mergekit 0.1.5 cannot express the lineage.
    """
    if shape is None:
        raise refusal(
            "lineage",
            "which tensors its segments hold is known from the tensors' shapes only",
            "pass the shape of the base",
        )
    models, parameters = recipe.models or (), {"normalize": False}
    rows = _rows(lineage, shape, len(models))
    kept = [
        (source, [row[donor] for row in rows.values()])
        for donor, source in enumerate(models)
        if lineage.origin == "zero" or source.model != recipe.base_model
    ]
    kept = [one for one in kept if any(one[1])] or kept
    if not kept:
        raise refusal("models", "its only donor is the base", "take the base itself")
    sources = tuple(
        Source(
            model=source.model,
            parameters={"weight": _weights(dict(zip(rows, values, strict=True)), shape.layout)},
        )
        for source, values in kept
    )
    changes = {"lineage": None, "models": sources, "parameters": parameters}
    if lineage.origin == "base":
        return recipe.model_copy(update={**changes, "merge_method": "task_arithmetic"}), []
    listed = any(source.model == recipe.base_model for source in sources)
    base, notes = (recipe.base_model, []) if listed else (None, [_NO_BASE])
    return recipe.model_copy(
        update={**changes, "merge_method": "linear", "base_model": base}
    ), notes


_NO_BASE = "configuration and tokenizer come from the first model; evomerge takes the base's"


def _rows(lineage: Lineage, shape: TensorShapes, n_models: int) -> dict[str, tuple[float, ...]]:
    """Return the weights of all models in every tensor."""
    node = _only_donors(collapsed(lineage))
    order = order_of(shape, lineage.layout, lineage.chromosomes)
    if order.size != lineage.size:
        raise RecipeError(
            f"lineage: it counts {lineage.size:,} positions, the base has {order.size:,} in "
            f"layout '{lineage.layout}'; pass the shape of the base that it was made with"
        )
    rows: dict[str, tuple[float, ...]] = {}
    for cut in order.cuts(np.array(node.ends, dtype=np.int64)):
        for segment in np.flatnonzero(np.diff(cut.bounds, prepend=0)):
            row = [0.0] * n_models
            for one, weight in zip(node.inputs, node.weights[segment], strict=True):
                if isinstance(one, Donor):
                    row[one.donor] = weight
            if rows.setdefault(cut.member.tensor, tuple(row)) != tuple(row):
                raise refusal(
                    "lineage",
                    f"tensor '{cut.member.tensor}' is cut in two, and mergekit weighs whole "
                    "tensors",
                    f"{_REMEDY}, or breed with granularity tensor or layer",
                )
    return rows


def _only_donors(normal: Lineage) -> Mix:
    """Return the table that a lineage is, if it is one of donors alone."""
    node = normal.nodes[-1]
    if len(normal.nodes) > 1 or not isinstance(node, Mix):
        kinds = {type(one).__name__ for one in normal.nodes} - {"Mix"}
        what = "SVD mutation" if "SvdMutation" in kinds else "rebased ancestors"
        raise refusal("lineage", f"mergekit has no {what}", _REMEDY)
    for one in node.inputs:
        if isinstance(one, Gaussian | Spectral):
            what = "Gaussian mutation" if isinstance(one, Gaussian) else "SVD mutation"
            raise refusal("lineage", f"mergekit has no {what}", _REMEDY)
    return node


def _weights(values: Mapping[str, float], layout: Layout) -> ParameterValue:
    """Write a weight for each tensor as conditions, the commonest last and without any."""
    counts = Counter(values.values())
    rest = min(counts, key=lambda value: (-counts[value], value))
    if len(counts) == 1:
        return rest
    for conditions in (_by_layer(values, layout, rest), _by_name(values)):
        whole = (*conditions, Conditional(value=rest))
        if all(
            evaluate(whole, Place(name, layout.layer_of(name), 0.0)) == value
            for name, value in values.items()
        ):
            return whole
    raise refusal("lineage", "no list of name filters tells its tensors apart", _REMEDY)


def _by_layer(values: Mapping[str, float], layout: Layout, rest: float) -> list[Conditional]:
    """Name runs of equal layers, where they differ inside tensor by tensor, and what is outside."""
    layers: list[dict[str, float]] = [{} for _ in range(layout.n_layers)]
    outside: dict[str, float] = {}
    for name, value in values.items():
        layer = layout.layer_of(name)
        if layer is None:
            outside[name] = value
        else:
            layers[layer][name[len(f"{layout.prefix}{layer}.") :]] = value
    found: list[Conditional] = []
    first = 0
    for end in range(1, len(layers) + 1):
        if end == len(layers) or layers[end] != layers[first]:
            found += _of_run(layers[first], (first, end))
            first = end
    return found + [one for one in _by_name(outside) if one.value != rest]


def _of_run(values: Mapping[str, float], run: tuple[int, int]) -> Iterator[Conditional]:
    if len(set(values.values())) == 1:
        yield Conditional(value=next(iter(values.values())), layers=run)
        return
    for one in _by_name(values):
        yield Conditional(value=one.value, filter=one.filter, layers=run)


def _by_name(values: Mapping[str, float]) -> list[Conditional]:
    """List whole names, longest first: of two names in one another the longer comes first."""
    names = sorted(values, key=lambda name: (-len(name), name))
    return [Conditional(value=values[name], filter=name) for name in names]
