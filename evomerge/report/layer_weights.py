"""What a merge weighs its models by in each layer, apart for attention, MLP and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import SpaceError
from evomerge.recipe import Node, ParameterValue, Recipe
from evomerge.recipe.filters import is_before_layers
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.layout import part_of
from evomerge.recipe.parameters import Place, resolve
from evomerge.spaces.model_weights import weights_of

_GROUPS = ("attention", "mlp", "norm", "embedding, head", "other")


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Weights of the inputs of one recipe over the layers.

    Attributes:
        parameter: what they are: 'weight', or 't' of SLERP.
        rows: input and group of tensors of each row, e.g. ('math', 'attention').
        columns: 'in', the layers '0', '1', ..., and 'out': embeddings stand before the layers,
            final norm and head after them.
        values: shape (n_rows, n_columns); NaN where the model has no such tensor.
    """

    parameter: str
    rows: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]


def layer_weights(
    recipe: Recipe, base: Node, shape: TensorShapes, names: Mapping[Node, str]
) -> LayerWeights | None:
    """Return the weights of a recipe of whole models; None where it has none, as a layer path.

    Args:
        recipe: of a merge.
        base: of the study.
        shape: of the models.
        names: of the models, as the study calls them.
    """
    if recipe.path is not None or recipe.slices is not None:
        return None
    found = _by_tensor(recipe, base, shape)
    if found is None:
        return None
    parameter, models, by_tensor = found
    layout = shape.layout
    columns = ("in", *(str(layer) for layer in range(layout.n_layers)), "out")
    sums = np.zeros((len(models), len(_GROUPS), len(columns)))
    sizes = np.zeros((len(_GROUPS), len(columns)))
    for tensor, weights in by_tensor.items():
        layer = layout.layer_of(tensor)
        outside = 0 if is_before_layers(tensor) else len(columns) - 1
        place = (_group(tensor), outside if layer is None else layer + 1)
        size = float(np.prod(shape.shapes[tensor]))
        sums[:, place[0], place[1]] += size * weights
        sizes[place] += size
    with np.errstate(invalid="ignore"):
        means = np.where(sizes > 0, sums / sizes, np.nan)
    rows, values = [], []
    for model, of_model in zip(models, means, strict=True):
        for group, row in zip(_GROUPS, of_model, strict=True):
            if not np.isnan(row).all():
                rows.append((names.get(model, str(model)) if model else "", group))
                values.append(row)
    return LayerWeights(parameter, tuple(rows), columns, np.array(values))


def _group(tensor: str) -> int:
    part = part_of(tensor)
    return _GROUPS.index("embedding, head" if part in ("embedding", "head") else part)


def _by_tensor(
    recipe: Recipe, base: Node, shape: TensorShapes
) -> tuple[str, tuple[Node | None, ...], Mapping[str, NDArray[np.float64]]] | None:
    """Return what the values are, whose, and those of each tensor."""
    try:
        linear = weights_of(recipe, base, shape)
    except SpaceError:
        pass
    else:
        donors = [place for place, model in enumerate(linear.models) if model != base]
        table = {name: row[donors] for name, row in linear.by_tensor().items()}
        return "weight", tuple(linear.models[place] for place in donors), table
    if recipe.merge_method == "slerp":
        found = {name: _values("t", ({},), recipe, name, shape) for name in shape.shapes}
        return None if None in found.values() else ("t", (None,), _arrays(found))
    sources = recipe.models or ()
    scopes = tuple(source.parameters for source in sources)
    found = {name: _values("weight", scopes, recipe, name, shape) for name in shape.shapes}
    if not sources or None in found.values():
        return None
    return "weight", tuple(source.model for source in sources), _arrays(found)


def _values(
    parameter: str,
    scopes: tuple[Mapping[str, ParameterValue], ...],
    recipe: Recipe,
    tensor: str,
    shape: TensorShapes,
) -> list[float] | None:
    """Return a parameter of each input for one tensor; None where one has none."""
    layer, last = shape.layout.layer_of(tensor), shape.layout.n_layers - 1
    t = 0.0 if is_before_layers(tensor) else 1.0
    if layer is not None and last:
        t = layer / last
    values = [
        resolve(parameter, (scope, recipe.parameters), Place(tensor, layer, t)) for scope in scopes
    ]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return numbers if len(numbers) == len(values) else None


def _arrays(found: Mapping[str, list[float] | None]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array(values) for name, values in found.items()}
