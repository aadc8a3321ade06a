"""Flat orders by brute force: one index a position, written down unit by unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from evomerge.merging import MergeEngine, tensor_shapes
from evomerge.recipe import ModelRef
from evomerge.recipe.flat_layouts import LayoutName, order_of
from evomerge.recipe.model import Recipe
from evomerge.recipe.order import Order


def indices(order: Order) -> list[tuple[str, np.ndarray]]:
    """Return (tensor, row-major indices into it) for every unit and member, in order."""
    found = []
    for block in order.blocks:
        for unit in range(block.units):
            for member in block.members:
                shape = member.shape or (1,)
                every = np.arange(math.prod(shape)).reshape(shape)
                n = (member.end - member.first) // block.units
                first = member.first + unit * n
                found.append(
                    (member.tensor, every.take(range(first, first + n), member.axis).ravel())
                )
    return found


class Flat:
    """Turns tensors into vectors in a flat order, and back."""

    def __init__(self, order: Order, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.order = order
        self.shapes = dict(shapes)
        self._parts = indices(order)

    def vector(self, tensors: Mapping[str, torch.Tensor]) -> np.ndarray:
        flat = {name: tensors[name].reshape(-1).numpy() for name in self.shapes}
        return np.concatenate([flat[name][index] for name, index in self._parts])

    def tensors(self, vector: np.ndarray) -> dict[str, torch.Tensor]:
        out = {name: np.zeros(math.prod(s), vector.dtype) for name, s in self.shapes.items()}
        start = 0
        for name, index in self._parts:
            out[name][index] = vector[start : start + len(index)]
            start += len(index)
        return {name: torch.from_numpy(out[name]).view(s) for name, s in self.shapes.items()}


def flat_order(
    engine: MergeEngine,
    base: Path,
    layout: LayoutName = "depth",
    chromosomes: Mapping[str, str] | None = None,
) -> Flat:
    shape = tensor_shapes(engine.open(ModelRef(path=str(base))))
    return Flat(order_of(shape, layout, chromosomes), shape.shapes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def lineage_recipe(base: Path | Recipe, donors: Sequence, lineage: Mapping, **fields) -> Recipe:
    return Recipe.model_validate(
        {
            "merge_method": "lineage",
            "base_model": str(base) if isinstance(base, Path) else base,
            "models": [{"model": d if isinstance(d, dict) else str(d)} for d in donors],
            "lineage": lineage,
            **fields,
        }
    )


def merged(engine: MergeEngine, recipe: Recipe) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in engine.tensors(recipe)}


def assert_same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype
        assert torch.equal(tensor, b[name]), name
