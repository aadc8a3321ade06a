"""Sizes of merges, layer paths and both at once."""

from __future__ import annotations

import pytest

from evomerge.cost.candidate import candidate, largest
from evomerge.cost.shape import shape_of
from evomerge.recipe.model import Hop, LayerPath, ModelRef, Recipe, Source
from tests.cost.families import build, tiny

A, B, BASE = (ModelRef(path=f"./{name}") for name in "abz")
SHAPES = {ref: shape_of({**tiny("gemma2").to_dict(), "dtype": "float32"}) for ref in (A, B, BASE)}
BYTES = SHAPES[A].bytes


def merge(*refs):
    return Recipe(
        merge_method="task_arithmetic",
        base_model=BASE,
        models=tuple(Source(model=ref, parameters={"weight": 1.0}) for ref in refs),
    )


def path(*models, hops):
    return Recipe(
        merge_method="passthrough",
        models=tuple(Source(model=model) for model in models),
        path=LayerPath(hops=tuple(Hop(model=m, layer=n) for m, n in hops)),
    )


def test_a_merge_reads_its_inputs_and_writes_one_model():
    found = candidate(merge(A, B), SHAPES)
    assert (found.read, found.written, found.resident) == (3 * BYTES, BYTES, BYTES)
    assert found.export_bytes == BYTES
    assert (found.inputs, found.path) == (3, False)


def test_the_dtype_of_the_study_decides_what_is_written():
    found = candidate(merge(A, B), SHAPES, dtype="bfloat16")
    assert (found.read, found.written) == (3 * BYTES, BYTES // 2)


def test_a_path_holds_each_donor_once_and_exports_each_hop():
    found = candidate(path(A, B, hops=[(0, 0), (1, 1), (1, 1), (0, 2)]), SHAPES)
    assert (found.read, found.written, found.resident) == (0, 0, 2 * BYTES)
    exported = build(tiny("gemma2", num_hidden_layers=4, layer_types=None), device="meta")
    assert found.shape.parameters == sum(p.numel() for p in exported.parameters())
    # every second layer of Gemma 2 slides
    assert [layer.window for layer in found.shape.layers] == [6, None, None, 6]


def test_only_merges_that_change_are_paid_for():
    recipe = path(merge(A), B, hops=[(0, 0), (1, 1)])
    joint = candidate(recipe, SHAPES)
    after = candidate(recipe, SHAPES, constant=[merge(A)])
    assert (joint.read, joint.written, joint.resident) == (2 * BYTES, BYTES, 2 * BYTES)
    assert (after.read, after.written, after.resident) == (0, 0, 2 * BYTES)


def test_the_largest_path_passes_the_costliest_layer_at_every_hop():
    first = candidate(path(A, hops=[(0, 0), (0, 2)]), SHAPES)
    most = largest(first, [SHAPES[A], SHAPES[B]], 7)
    assert len(most.shape.layers) == 7
    assert {layer.window for layer in most.shape.layers} == {None}
    assert most.resident == 2 * BYTES
    merged = candidate(merge(A), SHAPES)
    assert largest(merged, [SHAPES[A]], None) is merged


def test_slices_are_counted_layer_by_layer():
    recipe = Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": "./a", "layer_range": [0, 2]}]},
                {"sources": [{"model": "./b", "layer_range": [1, 3]}]},
            ],
        }
    )
    assert len(candidate(recipe, SHAPES).shape.layers) == 4


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_donors_of_a_path_are_held_in_its_dtype(dtype):
    found = candidate(path(A, B, hops=[(0, 0)]), SHAPES, dtype=dtype)
    assert found.resident == 2 * SHAPES[A].with_dtype(dtype).bytes
