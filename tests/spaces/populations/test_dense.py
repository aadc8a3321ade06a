"""Dense populations, against the operators written out in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import SpaceError
from evomerge.recipe.order import Block, Member, Order
from evomerge.spaces.populations import DenseBreeding, GaussianMutation, SeedSvdMutation
from evomerge.spaces.populations.dense import philox_normals, unit_normals
from evomerge.spaces.populations.operators import draw_splits

UNITS = Block(
    (
        Member.whole("up", (3, 4), axis=1),
        Member.whole("bias", (4,)),
        Member.whole("down", (4, 2)),
    ),
    4,
    layer=0,
)
HEAD = Block((Member.whole("head", (5, 3)),), 5, layer=1)
OUT = Block((Member.whole("out", (7,)),), 1)
ORDER = Order([("layers", [UNITS, HEAD]), ("rest", [OUT])])
STARTS = [0, UNITS.size, UNITS.size + HEAD.size, ORDER.size]


def vectors(seed, n=2, size=ORDER.size):
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


def breeding(a, b, order=ORDER, **options):
    return DenseBreeding({"a": a, "b": b}, order, **options)


def born(a, b, **options):
    """A family of two donors, trials 0 and 1."""
    made = breeding(a, b, **options)
    family = made.family()
    for number, seed in enumerate(made.seeds):
        family.add(number, seed.genotype)
    return made, family


def slerp(t, a, b):
    """Textbook, on whole vectors and in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cos = np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)
    omega = np.arccos(cos)
    if np.sin(omega) <= 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


def child_by_hand(a, b, ratios, splits, angle):
    """Every position interpolated with the whole vector's, its part's or its tensor's angle."""
    t = np.empty(ORDER.size)
    part = np.empty(ORDER.size, dtype=int)
    for number, (first, end) in enumerate([(0, STARTS[2]), (STARTS[2], STARTS[3])]):
        split = end if splits is None else splits[number]
        t[first:split], t[split:end] = ratios[number], 1 - ratios[number]
        part[first:split], part[split:end] = 2 * number, 2 * number + 1
    if angle == "global":
        part[:] = 0
    elif angle == "tensor":
        for number in range(3):
            part[STARTS[number] : STARTS[number + 1]] = number
    child = np.empty(ORDER.size)
    for scope in np.unique(part):
        inside = part == scope
        for value in np.unique(t[inside]):
            here = inside & (t == value)
            child[here] = slerp(value, a[inside], b[inside])[here[inside]]
    return child


@pytest.mark.parametrize("angle", ["global", "part", "tensor"])
@pytest.mark.parametrize("splitting", [True, False])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 2**20))
def test_slerp_of_every_scope(angle, splitting, data, seed):
    a, b = vectors(seed)
    ratios = data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2))
    splits = None
    if splitting:
        splits = (
            data.draw(st.integers(0, STARTS[2] - 1)),
            data.draw(st.integers(STARTS[2], STARTS[3] - 1)),
        )
    made, family = born(a, b, angle=angle)
    family.add(2, family.cross((0, 1), ratios, splits))
    expected = child_by_hand(a, b, ratios, splits, angle)
    np.testing.assert_allclose(made.individuals[2], expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("splits", [None, (11, 43)])
def test_linear_interpolation(splits):
    a, b = vectors(1)
    made, family = born(a, b, operator="linear")
    family.add(2, family.cross((0, 1), [0.2, 0.7], splits))
    t = np.full(ORDER.size, 0.2)
    t[STARTS[2] :] = 0.7
    if splits:
        t[11 : STARTS[2]], t[43:] = 0.8, 0.3
    expected = (1 - t) * a + t * b
    np.testing.assert_allclose(made.individuals[2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("angle", ["global", "part", "tensor"])
def test_parents_without_an_angle_are_interpolated_linearly(angle):
    (a,) = vectors(3, 1)
    for b in (2 * a, -a, np.zeros_like(a)):
        made, family = born(a, b, angle=angle)
        family.add(2, family.cross((0, 1), [0.25, 0.25], None))
        assert np.isfinite(made.individuals[2]).all()
        np.testing.assert_allclose(made.individuals[2], 0.75 * a + 0.25 * b, rtol=1e-5, atol=1e-6)


def test_the_angle_between_two_fine_tunes_is_right():
    """Two copies of 2 M weights with independent relative noise of 1e-4: omega = 1.4e-4."""
    random = np.random.default_rng(8)
    theta = random.standard_normal(2_000_000, dtype=np.float32)
    a, b = (
        theta * (1 + np.float32(1e-4) * random.standard_normal(theta.size, dtype=np.float32))
        for _ in range(2)
    )
    x, y = (one.astype(np.longdouble) for one in (a, b))
    chord = np.sqrt(np.sum((x / np.sqrt(np.sum(x * x)) - y / np.sqrt(np.sum(y * y))) ** 2))
    truth = float(2 * np.arcsin(chord / 2))
    assert truth == pytest.approx(np.sqrt(2) * 1e-4, rel=0.01)
    order = Order([("all", [Block((Member.whole("w", theta.shape),), 1)])])
    made, _ = born(a, b, order=order)
    _, weights = made.resolve((0, 1), [0.5], None)
    # at t = 1/2 both weights are 1 / (2 cos(omega / 2))
    omega = 2 * np.arccos(1 / weights.sum())
    assert omega == pytest.approx(truth, rel=0.01)


def test_mutation_adds_the_numbers_of_its_key():
    a, b = vectors(5)
    made, family = born(a, b, seed=9)
    family.add(2, family.cross((0, 1), [0.3, 0.6], (4, 44), GaussianMutation(77, 0.5)))
    family.add(3, family.cross((0, 1), [0.3, 0.6], (4, 44)))
    bits = np.random.Philox(key=np.array([9, 77], dtype=np.uint64))
    noise = np.random.Generator(bits).standard_normal(ORDER.size, dtype=np.float32)
    np.testing.assert_allclose(
        made.individuals[2] - made.individuals[3], 0.5 * noise, rtol=1e-5, atol=1e-6
    )
    assert not np.array_equal(noise, philox_normals(10, ORDER.size)(77))
    assert not np.array_equal(noise, philox_normals(9, ORDER.size)(78))


def test_noise_of_another_kind():
    a, b = vectors(5)
    made, family = born(a, b, noise=lambda key: np.full(ORDER.size, key, dtype=np.float32))
    family.add(2, family.blend([0], [1.0], GaussianMutation(3, 0.5)))
    np.testing.assert_array_equal(made.individuals[2], a + np.float32(1.5))


def test_a_blend_of_several():
    a, b = vectors(6)
    made, family = born(a, b)
    family.add(2, family.blend([0, 1, 0], [0.5, 0.25, -1.0]))
    np.testing.assert_allclose(made.individuals[2], -0.5 * a + 0.25 * b, rtol=1e-5, atol=1e-6)


def test_whoever_is_discarded_is_gone_and_children_stay():
    a, b = vectors(7)
    made, family = born(a, b)
    family.add(2, family.cross((0, 1), [0.5, 0.5], None))
    child = made.individuals[2].copy()
    family.discard(0)
    family.discard(0)
    assert set(made.individuals) == {1, 2}
    np.testing.assert_array_equal(made.individuals[2], child)


def test_a_number_given_again_stands_for_the_new_individual():
    a, b = vectors(7)
    made, family = born(a, b)
    first = family.cross((0, 1), [0.5, 0.5], (9, 41))
    family.add(1, made.seeds[0].genotype)
    assert family.cross((0, 1), [0.5, 0.5], (9, 41)) != first  # its parents are parallel now


def test_mutation_of_units():
    a, b = vectors(5)
    noise = unit_normals(ORDER, 0.4, 3)
    drawn = np.stack([noise(key) for key in range(400)])
    np.testing.assert_array_equal(noise(7), drawn[7])
    assert not np.array_equal(unit_normals(ORDER, 0.4, 4)(7), drawn[7])
    for block, first in zip(ORDER.blocks, ORDER.starts.tolist(), strict=False):
        units = drawn[:, first : first + block.size].reshape(400, block.units, block.width)
        changed = (units != 0).any(axis=2)
        np.testing.assert_array_equal(changed, (units != 0).all(axis=2))  # whole units
        assert changed.mean() == pytest.approx(0.4, abs=0.1)
        assert units[changed].std() == pytest.approx(1, abs=0.05)
    made, family = born(a, b, noise=noise)
    family.add(2, family.blend([0], [1.0], GaussianMutation(5, 0.5)))
    np.testing.assert_allclose(made.individuals[2] - a, 0.5 * noise(5), rtol=1e-5, atol=1e-6)
    with pytest.raises(SpaceError, match=r"share of units that mutate: expected one in \(0, 1\]"):
        unit_normals(ORDER, 0.0, 3)


def test_donors_are_not_changed_by_their_descendants():
    a, b = vectors(7)
    kept = a.copy(), b.copy()
    _, family = born(a, b)
    for number in range(2, 12):
        mutation = GaussianMutation(number, 1.0)
        family.add(number, family.cross((number - 2, number - 1), [0.5, 0.1], (3, 42), mutation))
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("element", (range(STARTS[2]), range(STARTS[2], STARTS[3]))),
        ("unit", ([0, 6, 12, 18, 24, 27, 30, 33, 36], [39])),
        ("tensor", ([0, 24], [39])),
        ("layer", ([0, 24], [39])),
    ],
)
def test_splits_fall_where_the_granularity_allows_and_nowhere_else(granularity, expected):
    random = np.random.default_rng(3)
    drawn = [draw_splits(ORDER, granularity, random) for _ in range(1200)]
    for column, allowed in zip(zip(*drawn, strict=True), expected, strict=True):
        assert set(column) == set(allowed)
        counts = np.bincount(np.searchsorted(sorted(allowed), column))
        assert counts.max() < 3 * len(drawn) / len(allowed)


def test_bad_donors_and_mutations_are_refused():
    a, b = vectors(1)
    with pytest.raises(SpaceError, match="at least two donors, got 1"):
        DenseBreeding({"a": a}, ORDER)
    with pytest.raises(SpaceError, match=r"donor 'b' has shape \(45,\), expected \(46,\)"):
        breeding(a, b[:-1])
    _, family = born(a, b)
    with pytest.raises(SpaceError, match="no singular values; use Gaussian"):
        family.add(2, family.blend([0], [1.0], SeedSvdMutation(1, 0, 0.1)))
