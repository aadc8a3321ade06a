"""Inner products from chunks and cut chunks, against plain sums over whole vectors."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine
from evomerge.merging.lineages import inner_products
from evomerge.merging.lineages.exact_sums import dot, precise_dot
from evomerge.recipe import ModelRef
from tests.merging.flat import flat_order, lineage_recipe, merged, weights
from tests.merging.tiny_models import llama

LAYOUTS = ["storage", "depth", "unit"]


def refs(paths):
    return [ModelRef(path=str(path)) for path in paths]


def products_of(engine, paths, order, *, task_vectors=True):
    base, *donors = refs(paths)
    return engine.inner_products(order, base, donors, task_vectors=task_vectors)


def vectors(flat, paths, *, task_vectors=True):
    """The donors in the flat order, float64; task vectors as float32 has them."""
    base, *donors = (flat.vector(weights(path)) for path in paths)
    return np.stack([donor - base if task_vectors else donor for donor in donors]).astype(float)


def direct(v, bounds):
    return np.array(
        [[[math.fsum(x * y) for y in v[:, a:b]] for x in v[:, a:b]] for a, b in pairwise(bounds)]
    )


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 200 positions, so that a tiny model has many."""
    monkeypatch.setattr(inner_products, "_CHUNK", 200)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_ranges(name, layout, family, monkeypatch):
    """Borders of blocks, chunks and units, positions inside units, and single positions."""
    monkeypatch.setattr(inner_products, "_CHUNK", 200)
    paths = family(name)
    engine = MergeEngine()
    flat = flat_order(engine, paths[0], layout)
    order = flat.order
    v = vectors(flat, paths)
    products = products_of(engine, paths, order)
    edges = {*order.starts.tolist(), *products._starts.tolist()}
    near = sorted({max(0, min(order.size, edge + step)) for edge in edges for step in (-1, 0, 1)})

    @given(st.sets(st.sampled_from(near) | st.integers(0, order.size), min_size=2, max_size=12))
    def check(positions):
        bounds = np.array(sorted(positions))
        found = products.grams(bounds)
        expected = direct(v, bounds)
        squares = np.diagonal(expected, axis1=1, axis2=2)
        scale = np.sqrt(squares[:, :, None] * squares[:, None, :])
        assert (np.abs(found - expected) <= 1e-14 * scale).all()
        assert np.array_equal(found, found.transpose(0, 2, 1))

    check()


@pytest.mark.usefixtures("small_chunks")
def test_what_was_asked_before_makes_no_difference(family):
    paths = family("qwen2")
    engine = MergeEngine()
    order = flat_order(engine, paths[0], "unit").order
    random = np.random.default_rng(0)
    queries = [
        np.unique(random.integers(0, order.size, size=int(random.integers(2, 30))))
        for _ in range(20)
    ]
    forward, backward = (products_of(engine, paths, order) for _ in range(2))
    first = [forward.grams(bounds) for bounds in queries]
    second = [backward.grams(bounds) for bounds in reversed(queries)][::-1]
    assert all(map(np.array_equal, first, second))


def test_a_tiny_range_among_large_values_keeps_its_digits(tmp_path, family):
    """A sum of 1e-12 between two of 1e6: no difference of rounded sums would find it."""
    base, donor, *_ = family("llama")
    engine = MergeEngine()
    flat = flat_order(engine, base, "storage")
    name, start = flat.order.blocks[0].members[0].tensor, 40
    tensors = weights(donor)
    tensors[name].view(-1)[:] = 1e3
    tensors[name].view(-1)[start : start + 3] = torch.tensor([1e-6, 2e-6, 3e-6])
    folder = tmp_path / "steep"
    folder.mkdir()
    (folder / "config.json").write_bytes((base / "config.json").read_bytes())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    products = products_of(engine, [base, folder, donor], flat.order, task_vectors=False)
    gram = products.grams(np.array([0, start, start + 3, flat.order.size]))[1, 0, 0]
    assert gram == pytest.approx(14e-12, rel=1e-6)


@pytest.mark.parametrize("task_vectors", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_streamed_products(layout, task_vectors, family):
    base, *donors = family("llama")
    engine = MergeEngine()
    flat = flat_order(engine, base, layout)
    size = flat.order.size
    recipes = []
    for key in range(2):
        ends = [size // 3 + key, size]
        rows = [[0.5, 0.2, 0.01], [-0.1, 1.0, 0.02]]
        node = {"inputs": [0, 1, {"gaussian": key}], "ends": ends, "weights": rows}
        lineage = {"layout": layout, "size": size, "nodes": [node]}
        lineage["origin"] = "base" if task_vectors else "zero"
        recipes.append(lineage_recipe(base, donors, lineage))
    bounds = np.array([0, 1, 777, size // 3, size // 3 + 1, size - 50, size])
    products = products_of(engine, [base, *donors], flat.order, task_vectors=task_vectors)
    found = products.streamed(*recipes, bounds)
    values = [flat.vector(merged(engine, recipe)).astype(float) for recipe in recipes]
    if task_vectors:
        origin = flat.vector(weights(base)).astype(float)
        values = [value - origin for value in values]
    expected = direct(np.stack(values), bounds)
    pairs = np.stack([expected[:, 0, 0], expected[:, 0, 1], expected[:, 1, 1]], axis=1)
    np.testing.assert_allclose(found, pairs, rtol=2e-5, atol=2e-6)


def test_streamed_products_of_combinations_of_donors_are_those_of_the_tables(family):
    base, *donors = family("gpt2")
    engine = MergeEngine()
    order = flat_order(engine, base, "unit").order
    products = products_of(engine, [base, *donors], order)
    rows = np.array([[0.5, 0.3, 0.2], [1.0, -0.4, 0.1]])
    recipes = [
        lineage_recipe(
            base,
            donors,
            {
                "layout": "unit",
                "size": order.size,
                "nodes": [{"inputs": [0, 1, 2], "ends": [order.size], "weights": [row.tolist()]}],
            },
        )
        for row in rows
    ]
    bounds = np.array([0, 5, order.size // 2, order.size])
    grams = products.grams(bounds)
    expected = [
        [x @ gram @ y for x, y in ((rows[0], rows[0]), (rows[0], rows[1]), (rows[1], rows[1]))]
        for gram in grams
    ]
    np.testing.assert_allclose(products.streamed(*recipes, bounds), expected, rtol=1e-5)


def test_the_angle_between_near_copies(tmp_path):
    """Two copies with independent relative noise of 1e-4 in 2 million numbers: right to 1 %."""
    base = llama(tmp_path / "base", seed=0, layers=1, hidden=960)
    origin = weights(base)
    assert sum(tensor.numel() for tensor in origin.values()) > 2_000_000
    generator = torch.Generator().manual_seed(1)
    paths = [base]
    for i in range(2):
        folder = tmp_path / f"copy{i}"
        folder.mkdir()
        (folder / "config.json").write_bytes((base / "config.json").read_bytes())
        noisy = {
            name: tensor * (1 + 1e-4 * torch.randn(tensor.shape, generator=generator))
            for name, tensor in origin.items()
        }
        save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
        paths.append(folder)
    engine = MergeEngine()
    flat = flat_order(engine, base)
    products = products_of(engine, paths, flat.order, task_vectors=False)
    (gram,) = products.grams(np.array([0, flat.order.size]))
    x, y = (
        np.concatenate([weights(path)[name].double().numpy().ravel() for name in origin])
        for path in paths[1:]
    )
    # the chord between the two directions does not cancel as 1 - cos does
    chord = np.linalg.norm(x / np.linalg.norm(x) - y / np.linalg.norm(y))
    omega = math.acos(gram[0, 1] / math.sqrt(gram[0, 0] * gram[1, 1]))
    assert chord == pytest.approx(1.41e-4, rel=0.02)
    assert omega == pytest.approx(2 * math.asin(chord / 2), rel=0.01)


def test_nothing_is_read_before_it_is_asked_for(family):
    base, *_ = family("llama")
    engine = MergeEngine()
    order = flat_order(engine, base).order
    strangers = [ModelRef(path="./missing")]
    products = engine.inner_products(order, refs([base])[0], strangers, task_vectors=True)
    with pytest.raises(CheckpointError, match="missing"):
        products.grams(np.array([0, order.size]))


def test_an_order_of_another_model_is_refused(family):
    engine = MergeEngine()
    order = flat_order(engine, family("gpt2")[0]).order
    products = products_of(engine, family("llama"), order)
    with pytest.raises(CheckpointError, match="a lineage counts in the order of its base"):
        products.grams(np.array([0, order.size]))


FLOATS = st.floats(-1e3, 1e3, width=32)


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=60), st.integers(1, 400))
def test_sums_against_rational_numbers(pairs, times):
    """However long the vector: no more than one rounding apart, and none with its remainder."""
    x, y = (torch.tensor([pair[i] for pair in pairs] * times, dtype=torch.float64) for i in (0, 1))
    true = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0)) * times
    size = float(sum((abs(Fraction(a) * Fraction(b)) for a, b in pairs), Fraction(0)) * times)
    assert abs(Fraction(dot(x, y)) - true) <= Fraction(size) * Fraction(2) ** -48
    high, low = precise_dot(x, y)
    assert abs(Fraction(high) + Fraction(low) - true) <= Fraction(size) * Fraction(2) ** -98
