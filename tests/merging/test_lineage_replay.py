"""A thousand merges as a table, against the same merges made one by one on whole vectors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from evomerge.merging import MergeEngine, tensor_shapes
from evomerge.recipe import ModelRef
from evomerge.recipe.lineage import Donor
from evomerge.recipe.table import collapsed
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.populations import (
    ChildSvdMutation,
    Descent,
    GaussianMutation,
    PopulationSpace,
    PopulationSpec,
    SeedSvdMutation,
)
from evomerge.spaces.spec import Origin
from tests.merging.flat import Flat, assert_same, merged, weights
from tests.merging.tiny_models import VOCABULARY, llama

N_MERGES = 1000
LIVING = 20
SCOPES = ["linear", "global", "part", "tensor"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    make = {"layers": 1, "hidden": 16, "vocabulary": VOCABULARY[:24]}
    base = llama(folder / "base", seed=0, **make)
    return [base] + [llama(folder / f"d{i}", seed=i, near=base, **make) for i in range(1, 6)]


def build(engine, models, **spec) -> PopulationSpace:
    base, *donors = models
    opened = engine.open(ModelRef(path=str(base)))
    context = SpaceContext(
        base=ModelRef(path=str(base)),
        donors={f"d{i}": ModelRef(path=str(path)) for i, path in enumerate(donors)},
        layout=opened.layout,
        shape=tensor_shapes(opened),
        inner_products=engine.inner_products,
        seed=7,
    )
    return PopulationSpace(PopulationSpec.model_validate(spec), context, Origin("test", ()))


def slerp(a, b, t, scopes):
    """SLERP with an angle over each slice, t one number a position; angles in float64."""
    out = np.empty_like(a)
    for part in scopes:
        x, y, s = a[part].astype(np.float64), b[part].astype(np.float64), t[part]
        norm = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
        cos = min(max(float(x @ y) / norm, -1.0), 1.0) if norm else 1.0
        omega = math.acos(cos)
        if math.sin(omega) <= 1e-6:
            left, right = 1 - s, s
        else:
            left = np.sin((1 - s) * omega) / math.sin(omega)
            right = np.sin(s * omega) / math.sin(omega)
        out[part] = left.astype(a.dtype) * a[part] + right.astype(a.dtype) * b[part]
    return out


def crossed(order, a, b, ratios, splits, scope):
    t = np.empty(order.size)
    parts = []
    for one, w, split in zip(order.chromosomes, ratios, splits, strict=True):
        t[one.start : split], t[split : one.end] = w, 1 - w
        parts += [slice(one.start, split), slice(split, one.end)]
    if scope == "linear":
        return (1 - t).astype(a.dtype) * a + t.astype(a.dtype) * b
    if scope == "global":
        parts = [slice(0, order.size)]
    elif scope == "tensor":
        parts = [slice(first, end) for first, end in pairwise(order.starts.tolist())]
    return slerp(a, b, t, [part for part in parts if part.start < part.stop])


@pytest.mark.parametrize("n_donors", [2, 5])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_thousand_merges(scope, n_donors, models):
    engine = MergeEngine()
    spec = {"population": "task_vectors", "layout": "unit", "operator": "linear"}
    if scope != "linear":
        spec |= {"operator": "slerp", "angle": scope}
    space = build(engine, models[: n_donors + 1], **spec)
    order = space.order
    flat = Flat(order, tensor_shapes(engine.open(ModelRef(path=str(models[0])))).shapes)
    base = flat.vector(weights(models[0]))
    tasks = [flat.vector(weights(path)) - base for path in models[1 : n_donors + 1]]
    descent = Descent(space)
    exact, single = {}, {}
    for number, seed in enumerate(space.domain.seeds):
        descent.add(number, seed.genotype)
        exact[number], single[number] = tasks[number].astype(np.float64), tasks[number]
    random = np.random.default_rng(3)
    living = list(exact)
    for number in range(len(tasks), len(tasks) + N_MERGES):
        a, b = (int(one) for one in random.choice(living, 2, replace=False))
        ratios, splits = [float(random.random())], space.domain.draw_splits(random)
        genotype = descent.family.cross((a, b), ratios, splits)
        descent.add(number, genotype)
        for held in (exact, single):
            held[number] = crossed(order, held[a], held[b], ratios, splits, scope)
        living.append(number)
        if len(living) > LIVING:
            gone = living.pop(int(random.integers(len(living) - 1)))
            descent.family.discard(gone)
            del exact[gone], single[gone]
    v = np.stack([task.astype(np.float64) for task in tasks])
    for number in living:
        table = descent.family.table(number)
        rows = np.zeros((len(table.ends), len(tasks)))
        rows[:, [one.donor for one in table.inputs if isinstance(one, Donor)]] = table.weights
        lengths = np.diff(table.ends, prepend=0)
        found = (np.repeat(rows, lengths, axis=0).T * v).sum(axis=0)
        apart = np.linalg.norm(found - exact[number]) / np.linalg.norm(exact[number])
        assert apart <= 1e-12
    for number in living[-3:]:
        found = flat.vector(merged(engine, descent.recipe(number)))
        chain = base + single[number]
        assert np.linalg.norm(found - chain) / np.linalg.norm(chain) <= 1e-6
        whole = (base + exact[number]).astype(np.float32)
        assert np.abs(found - whole).max() <= 2e-7 * np.abs(whole).max()


@pytest.mark.parametrize("layout", ["storage", "unit"])
def test_full_and_collapsed_lineages_are_one_model(layout, models):
    """The two collapses agree to the last bit, and so do the models they rebuild."""
    engine = MergeEngine()
    space = build(
        engine,
        models,
        population="task_vectors",
        layout=layout,
        angle="part",
        chromosomes={"attention": "attn", "rest": "."},
        max_random_vectors=2,
    )
    descent = Descent(space)
    for number, seed in enumerate(space.domain.seeds):
        descent.add(number, seed.genotype)
    random = np.random.default_rng(5)
    n = len(space.domain.seeds)
    for number in range(n, n + 40):
        a, b = (int(one) for one in random.choice(number, 2, replace=False))
        descent.add(
            number,
            descent.family.cross(
                (a, b),
                random.random(2).tolist(),
                space.domain.draw_splits(random),
                mutation_of(number),
            ),
        )
    kinds: set[str] = set()
    for number in (n + 3, n + 17, n + 33, n + 39):
        full, short = descent.full_recipe(number), descent.recipe(number)
        assert collapsed(full.lineage) == short.lineage
        assert collapsed(short.lineage) == short.lineage
        assert_same(merged(engine, full), merged(engine, short))
        kinds |= {type(node).__name__ for node in short.lineage.nodes}
    assert kinds == {"Mix", "SvdMutation", "Rebase"}
    again = Descent(space)
    for number in range(n + 40):
        again.add(number, descent.family._genotypes[number])
    assert again.recipe(n + 39) == descent.recipe(n + 39)


def mutation_of(number):
    return [
        None,
        GaussianMutation(key=number, std=0.01),
        SeedSvdMutation(key=number, donor=number % 5, rate=0.1),
        ChildSvdMutation(key=number, scale=1.5),
        GaussianMutation(key=number, std=0.02),
    ][number % 5]
