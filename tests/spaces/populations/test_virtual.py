"""Virtual families: tables by trial number, against the same merges of whole vectors."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import InvalidGenotype
from evomerge.recipe import (
    Donor,
    Earlier,
    Gaussian,
    Layout,
    Lineage,
    Mix,
    Order,
    Spectral,
    Table,
    TensorShapes,
    collapsed,
    order_of,
)
from evomerge.recipe.order import Block, Member
from evomerge.spaces.populations import (
    ChildSvdMutation,
    DenseBreeding,
    GaussianMutation,
    Offspring,
    SeedSvdMutation,
    VirtualBreeding,
    VirtualFamily,
)
from evomerge.spaces.populations.operators import cosine, regions, slerp_pair, slerp_weights

ORDER = Order(
    [
        ("a", [Block((Member.whole("w", (4, 3)),), 4), Block((Member.whole("b", (5,)),), 5)]),
        ("b", [Block((Member.whole("v", (6,)), Member.whole("u", (2, 6), 1)), 3)]),
    ]
)
NAMES = ("x", "y", "z")
SCOPES = ["linear", "global", "part", "tensor"]
VECTORS = {
    name: np.random.default_rng(seed).normal(size=ORDER.size).astype(np.float32)
    for seed, name in enumerate(NAMES)
}


class FakeProducts:
    """Inner products of vectors that are held, for tables of donors alone."""

    def __init__(self, vectors=VECTORS):
        self.values = np.stack([vector.astype(float) for vector in vectors.values()])

    def vector(self, family: VirtualFamily, number: int) -> np.ndarray:
        table = family.table(number)
        rows = np.repeat(table.weights, np.diff(table.ends, prepend=0), axis=0)
        total = np.zeros(rows.shape[0])
        for column, one in enumerate(table.inputs):
            total += rows[:, column] * self.leaf(one)
        return total

    def leaf(self, one):
        if isinstance(one, Donor):
            return self.values[one.donor]
        text = one.model_dump_json() + type(one).__name__
        return np.random.default_rng(list(text.encode())).normal(size=self.values.shape[1])

    def __call__(self, family, a, b, bounds):
        x, y = self.vector(family, a), self.vector(family, b)
        ranges = [slice(first, end) for first, end in pairwise(bounds)]
        return np.array([[x[r] @ x[r], x[r] @ y[r], y[r] @ y[r]] for r in ranges])


def breeding(scope="linear", *, order=ORDER, names=NAMES, found=None, limit=64, **options):
    node = Mix(inputs=(Donor(donor=0),), ends=(order.size,), weights=((1.0,),))
    products = options.pop("products", None) or FakeProducts()
    return VirtualBreeding(
        names,
        found or {},
        Lineage(size=order.size, nodes=(node,)),
        order,
        operator="linear" if scope == "linear" else "slerp",
        angle="global" if scope == "linear" else scope,
        granularity=options.pop("granularity", "element"),
        max_random_vectors=limit,
        products=products,
    )


def started(space):
    family = space.family()
    for number, seed in enumerate(space.seeds):
        family.add(number, seed.genotype)
    return family


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("scope", SCOPES)
def test_tables_and_arrays_are_one_population(scope, split):
    """The dense population makes the same genotypes, and the tables mean its arrays."""
    space = breeding(scope)
    dense = DenseBreeding(
        VECTORS,
        ORDER,
        operator="linear" if scope == "linear" else "slerp",
        angle="global" if scope == "linear" else scope,
    )
    family, arrays = started(space), dense.family()
    for number, seed in enumerate(dense.seeds):
        arrays.add(number, seed.genotype)
    random = np.random.default_rng(1)
    products = FakeProducts()
    for number in range(3, 60):
        a, b = (int(one) for one in random.choice(number, 2, replace=False))
        ratios = random.random(2).tolist()
        splits = space.draw_splits(random) if split else None
        child, twin = (one.cross((a, b), ratios, splits) for one in (family, arrays))
        assert child[:6] == twin[:6]
        np.testing.assert_allclose(
            Offspring.read(child).weights, Offspring.read(twin).weights, rtol=0, atol=1e-5
        )
        family.add(number, child)
        arrays.add(number, child)
        np.testing.assert_allclose(
            products.vector(family, number), dense.individuals[number], rtol=0, atol=1e-5
        )


@st.composite
def histories(draw):
    """Steps of a family: parents, ratios, splits and mutation of each child."""
    steps = []
    for number in range(3, 3 + draw(st.integers(1, 12))):
        parents = (draw(st.integers(0, number - 1)), draw(st.integers(0, number - 1)))
        splits = (draw(st.integers(0, 16)), draw(st.integers(17, ORDER.size - 1)))
        ratios = [draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 0.3])) for _ in range(2)]
        mutation = draw(
            st.sampled_from(
                [
                    None,
                    None,
                    GaussianMutation(number, 0.01),
                    SeedSvdMutation(number, 1, 0.1),
                    SeedSvdMutation(number, 2, 0.1, -1),
                    ChildSvdMutation(number, 1.5),
                ]
            )
        )
        steps.append((parents, ratios, splits, mutation))
    return steps


def bred(space, history):
    family = started(space)
    for number, (parents, ratios, splits, mutation) in enumerate(history, start=3):
        family.add(number, family.cross(parents, ratios, splits, mutation))
    return family


@settings(deadline=None, derandomize=True, max_examples=40)
@given(histories(), st.integers(0, 3))
def test_whole_lineages_collapse_to_the_family_s_own_normal_form(history, limit):
    family = bred(breeding(limit=limit), history)
    for number in range(3, 3 + len(history)):
        full, short = family.lineage(number), family.collapsed(number)
        assert Lineage.model_validate(full.model_dump()) == full
        assert Lineage.model_validate(short.model_dump()) == short
        assert collapsed(full) == short
        assert family.table(number).nbytes < 4000


@settings(deadline=None, derandomize=True, max_examples=30)
@given(histories(), st.randoms(use_true_random=False))
def test_tables_are_worked_out_again_when_they_are_gone(history, random):
    family = bred(breeding(limit=2), history)
    numbers = range(3 + len(history))
    before = {number: family.collapsed(number) for number in numbers}
    for number in random.sample(numbers, len(numbers)):
        family.discard(random.choice(numbers))
        assert family.collapsed(number) == before[number]
    again = breeding(limit=2).family()
    for number in numbers:
        again.add(number, family._genotypes[number])
    assert again.collapsed(numbers[-1]) == before[numbers[-1]]


def test_a_child_beyond_the_limit_of_random_vectors_is_rebased():
    family = started(breeding(limit=2))
    for number in range(3, 9):
        mutation = GaussianMutation(key=number, std=0.1)
        family.add(number, family.cross((number - 1, 0), [0.5, 0.5], None, mutation))
    drawn = [
        sum(isinstance(one, Gaussian) for one in family.table(number).inputs)
        for number in range(3, 9)
    ]
    assert drawn == [1, 2, 0, 1, 2, 0]
    assert family.table(5).inputs == (Earlier(node=11),)
    assert Offspring.read(family._genotypes[5]).rebased
    assert not Offspring.read(family._genotypes[4]).rebased


def test_blends_weigh_whole_individuals():
    family = started(breeding())
    mutation = SeedSvdMutation(key=9, donor=1, rate=0.25, low=-1)
    family.add(3, family.blend([0, 1, 2], [0.2, 0.5, 0.3], mutation))
    table = family.table(3)
    assert table.inputs[:3] == tuple(Donor(donor=i) for i in range(3))
    assert table.inputs[3] == Spectral(spectral=9, donor=1, symmetric=True)
    assert table.weights.tolist() == [[0.2, 0.5, 0.3, 0.25]]


def test_recipes_of_earlier_stages_are_founders():
    found = Table(
        (Donor(donor=0), Donor(donor=2)), np.array([9, ORDER.size]), np.array([[1, 0.5], [0, 2.0]])
    )
    space = breeding(found={"front-0": found})
    assert [seed.name for seed in space.seeds] == [*NAMES, "front-0"]
    family = started(space)
    family.add(4, family.cross((3, 1), [0.5, 0.5], None))
    np.testing.assert_array_equal(family.table(4).weights, [[0.5, 0.5, 0.25], [0.0, 0.5, 1.0]])


def test_strangers_are_refused():
    family = started(breeding())
    with pytest.raises(InvalidGenotype, match="trial 3 descends from trial 7, which does not come"):
        family.add(3, family.cross((0, 7), [0.5, 0.5], None))
    with pytest.raises(InvalidGenotype, match="not a founder"):
        breeding().founder(("donor", "w"))
    with pytest.raises(InvalidGenotype, match="not a founder"):
        breeding().founder(("found", 0))
    with pytest.raises(InvalidGenotype, match="not an individual"):
        family.add(3, ("mixed", 2))


def test_regions_follow_splits_chromosomes_and_tensors():
    cut = regions(ORDER, [0.25, 0.75], (14, 17), "part")
    assert cut.ends.tolist() == [14, 17, 35]  # the second split leaves its left side empty
    assert cut.t.tolist() == [0.25, 0.75, 0.25]
    assert cut.scope.tolist() == [0, 1, 2]
    cut = regions(ORDER, [0.25, 0.75], (14, 20), "tensor")
    assert cut.ends.tolist() == [12, 14, 17, 20, 35]
    assert cut.scope.tolist() == [0, 1, 1, 2, 2]
    cut = regions(ORDER, [0.25, 0.75], None, "global")
    assert cut.ends.tolist() == [17, 35]
    assert set(cut.scope.tolist()) == {0}


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0.01, math.pi - 0.01))
def test_slerp_of_unit_vectors_stays_on_the_circle(t, omega):
    a, b = np.array([1.0, 0.0]), np.array([math.cos(omega), math.sin(omega)])
    left, right = slerp_pair(cosine(1.0, float(a @ b), 1.0), t)
    child = left * a + right * b
    expected = [math.cos(t * omega), math.sin(t * omega)]
    np.testing.assert_allclose(child, expected, rtol=0, atol=1e-9)


def test_parents_without_an_angle_are_mixed_linearly():
    cut = regions(ORDER, [0.25, 0.25], (3, 20), "part")
    products = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 2], [4, -4, 4]], float)
    assert slerp_weights(cut, products).tolist() == [
        [0.75, 0.25],
        [0.25, 0.75],
        [0.75, 0.25],
        [0.25, 0.75],
    ]


def llama_2_7b() -> TensorShapes:
    layer = {
        "input_layernorm.weight": (4096,),
        "post_attention_layernorm.weight": (4096,),
        "mlp.gate_proj.weight": (11008, 4096),
        "mlp.up_proj.weight": (11008, 4096),
        "mlp.down_proj.weight": (4096, 11008),
        **{f"self_attn.{one}_proj.weight": (4096, 4096) for one in "qkvo"},
    }
    shapes = {f"model.layers.{i}.{name}": size for i in range(32) for name, size in layer.items()}
    shapes |= {"model.embed_tokens.weight": (32000, 4096), "lm_head.weight": (32000, 4096)}
    shapes["model.norm.weight"] = (4096,)
    return TensorShapes(Layout.of(shapes, "llama"), shapes, kv_heads=32, heads=32)


class RoughProducts:
    """Angles of donors at random, the same everywhere; enough to breed by SLERP."""

    def __init__(self, n_donors):
        cosines = np.random.default_rng(0).uniform(0, 0.3, (n_donors, n_donors))
        self.gram = np.eye(n_donors) + np.triu(cosines, 1) + np.triu(cosines, 1).T

    def __call__(self, family, a, b, bounds):
        x, y = (family.table(one).weights.mean(axis=0) for one in (a, b))
        full = []
        for number, rows in ((a, x), (b, y)):
            row = np.zeros(len(self.gram))
            row[[one.donor for one in family.table(number).inputs]] = rows
            full.append(row)
        x, y = full
        one = [x @ self.gram @ x, x @ self.gram @ y, y @ self.gram @ y]
        return np.diff(bounds)[:, None] * np.array(one)


@pytest.fixture
def traced():
    """Count the bytes that Python and NumPy hold from here on."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("layout", "granularity", "scope"),
    [
        ("storage", "element", "linear"),
        ("unit", "unit", "linear"),
        ("depth", "tensor", "tensor"),
        ("unit", "element", "part"),
        ("depth", "layer", "global"),
    ],
)
def test_a_population_of_a_7b_model_takes_kilobytes(layout, granularity, scope):
    """20 individuals after 1,000 random merges of 5 donors, and all that is kept of the others."""
    order = order_of(llama_2_7b(), layout)
    assert order.size == 6_738_415_616
    names = tuple("abcde")
    space = breeding(
        scope, order=order, names=names, granularity=granularity, products=RoughProducts(5)
    )
    family = started(space)
    random = np.random.default_rng(2)
    living = list(range(5))
    for number in range(5, 1005):
        a, b = (int(one) for one in random.choice(living, 2, replace=False))
        child = family.cross((a, b), [float(random.random())], space.draw_splits(random))
        family.add(number, child)
        family.table(number)
        living.append(number)
        if len(living) > 20:
            family.discard(living.pop(int(random.integers(len(living)))))
    tables = [family.table(number) for number in living]
    assert len(tables) == 20
    assert max(len(table.ends) for table in tables) > 20
    assert sum(table.nbytes for table in tables) < 2 * 2**20
    assert tracemalloc.get_traced_memory()[0] < 50e6
