"""What one candidate of a search is: its size, and what merging it moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from evomerge.cost.shape import LayerShape, ModelShape
from evomerge.recipe.model import ModelRef, Node, Recipe


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate.

    Attributes:
        shape: of the model that is scored; a layer path has one layer for each hop.
        inputs: number of models that are merged anew for it.
        read: their bytes.
        written: bytes of the weights that are merged anew for it.
        resident: bytes of the weights a worker holds while it is scored: each layer once, however
            often a path uses it.
        path: layers are run in an order of their own.
    """

    shape: ModelShape
    inputs: int
    read: int
    written: int
    resident: int
    path: bool

    @property
    def export_bytes(self) -> int:
        """Bytes of the checkpoint; a layer is stored once for each hop that uses it."""
        return self.shape.bytes


def candidate(
    recipe: Node,
    shapes: Mapping[ModelRef, ModelShape],
    *,
    constant: Collection[Recipe] = (),
    dtype: str | None = None,
) -> Candidate:
    """Size a model.

    Args:
        recipe: what is merged, run as a path, or both; or a model that is left as it is.
        shapes: of every model the recipe names.
        constant: recipes inside it that are the same for all candidates, such as the result of
            an earlier stage: merged once, then held.
        dtype: of merged weights; that of the inputs where it is None.
    """
    if isinstance(recipe, ModelRef):
        shape = shapes[recipe]
        return Candidate(shape, 0, 0, 0, shape.bytes, path=False)
    if recipe.path is None:
        shape = _shape(recipe, shapes, dtype)
        inputs = _distinct(_inputs(recipe))
        read = sum(_shape(node, shapes, dtype).bytes for node in inputs)
        return Candidate(shape, len(inputs), read, shape.bytes, shape.bytes, path=False)
    nodes = [source.model for source in recipe.models or ()]
    merged = read = written = resident = 0
    for node in _distinct(nodes):
        resident += _in_dtype(_shape(node, shapes, dtype), dtype).bytes
        if isinstance(node, Recipe) and node not in constant:
            inner = candidate(node, shapes, constant=constant, dtype=dtype)
            read, written = read + inner.read, written + inner.written
            merged += inner.inputs
    shape = _shape(recipe, shapes, dtype)
    return Candidate(shape, merged, read, written, resident, path=True)


def largest(first: Candidate, pool: Collection[ModelShape], hops: int | None) -> Candidate:
    """Return the costliest candidate that a space allows.

    Args:
        first: a candidate of the space; the answer where recipes do not differ in size.
        pool: the models whose layers a path may use; a worker holds them all.
        hops: the most that a path may have; None where the space has no paths.
    """
    if hops is None or not first.path:
        return first
    costliest = max((layer for shape in pool for layer in shape.layers), key=_cost)
    shape = first.shape.with_layers([costliest] * hops)
    resident = sum(one.with_dtype(shape.dtype).bytes for one in pool)
    return replace(first, shape=shape, resident=resident)


def folded(one: Candidate) -> Candidate:
    """Return a layer path as it is exported, and scored on hold-out items: with a layer a hop.

    Args:
        one: sized without constant recipes, which are merged again for it.
    """
    if not one.path:
        return one
    size = one.shape.bytes
    return replace(
        one,
        inputs=max(1, one.inputs),
        read=one.read + size,
        written=size,
        resident=size,
        path=False,
    )


def _cost(layer: LayerShape) -> tuple[int, int, float]:
    return layer.parameters, layer.cached, layer.window or float("inf")


def _distinct(nodes: Iterable[Node]) -> list[Node]:
    """Leave out repetitions; recipes cannot be hashed."""
    found: list[Node] = []
    for node in nodes:
        if node not in found:
            found.append(node)
    return found


def _inputs(recipe: Recipe) -> Iterator[Node]:
    if recipe.base_model is not None:
        yield recipe.base_model
    yield from (source.model for source in recipe.models or ())
    for part in recipe.slices or ():
        yield from (source.model for source in part.sources)


def _shape(node: Node, shapes: Mapping[ModelRef, ModelShape], dtype: str | None) -> ModelShape:
    if isinstance(node, ModelRef):
        return shapes[node]
    nodes = list(_inputs(node))
    reference = _shape(nodes[0], shapes, dtype)
    if node.path is not None:
        tables = [_shape(source.model, shapes, dtype).layers for source in node.models or ()]
        hops = [tables[hop.model][hop.layer] for hop in node.path.hops]
        return _in_dtype(reference.with_layers(hops), dtype)
    if node.slices is not None:
        layers: list[LayerShape] = []
        for part in node.slices:
            source = part.sources[0]
            start, end = source.layer_range or (0, 0)
            layers += _shape(source.model, shapes, dtype).layers[start:end]
        reference = reference.with_layers(layers)
    return _in_dtype(reference, dtype)


def _in_dtype(shape: ModelShape, dtype: str | None) -> ModelShape:
    """Return the shape in the dtype of merged weights."""
    return shape if dtype is None else shape.with_dtype(dtype)
