"""Repair leads every list of hops into the limits, and changes nothing that is inside them."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import SpaceError
from evomerge.recipe import Hop, LayerPath, ParameterCounts
from evomerge.recipe.unroll import folding
from evomerge.spaces import Origin
from evomerge.spaces.paths import Guards, LimitsSpec, repaired, with_valid_scales

DEPTHS = (4, 3, 6)
STORED = {(d, layer): 3 + (2 * d + layer) % 5 for d, n in enumerate(DEPTHS) for layer in range(n)}
ONES = st.just(1.0)


def hops_of(text):
    """Read 'a0 b1 a3': donors a, b, c."""
    return tuple(Hop(model="abc".index(word[0]), layer=int(word[1:])) for word in text.split())


def layers(path):
    return [(hop.model, hop.layer) for hop in path]


@st.composite
def hops(draw, scales=ONES):
    pool = [(donor, layer) for donor, depth in enumerate(DEPTHS) for layer in range(depth)]
    steps = draw(st.lists(st.sampled_from(pool), max_size=14))
    return [Hop(model=donor, layer=layer, scale=draw(scales)) for donor, layer in steps]


@st.composite
def guards(draw):
    fixed_ends = draw(st.booleans())
    fewest = draw(st.integers(1, DEPTHS[0]))
    least = max(fewest, 2 if fixed_ends else 1)
    return Guards(
        DEPTHS[0],
        fixed_ends,
        fewest,
        draw(st.none() | st.integers(least, 12)),
        draw(st.none() | st.integers(least, 8)),
        draw(st.none() | st.integers(1, 3)),
        draw(st.none() | st.integers(least * 7, 60)),
        STORED,
    )


def within(path, limits):
    counts = Counter(layers(path))
    return (
        limits.min_hops <= len(path) <= (limits.max_hops or math.inf)
        and len(counts) <= (limits.max_unique or math.inf)
        and max(counts.values()) <= (limits.max_uses or math.inf)
        and sum(STORED[one] for one in layers(path)) <= (limits.max_stored or math.inf)
        and (not limits.fixed_ends or layers(path)[:: len(path) - 1] == [(0, 0), (0, 3)])
    )


@settings(max_examples=400, deadline=None)
@given(hops(), guards())
def test_every_list_becomes_a_path_within_the_limits(spelled, limits):
    path = repaired(spelled, limits)
    assert within(path, limits)
    assert repaired(path, limits) == path
    assert repaired(list(spelled), limits) == path


@settings(max_examples=200, deadline=None)
@given(hops(), guards())
def test_a_path_within_the_limits_stays(spelled, limits):
    if len(spelled) > 1 and within(spelled, limits):
        assert repaired(spelled, limits) == tuple(spelled)
    # what repair drops or adds, it leaves the rest in its order
    free = Guards(DEPTHS[0], fixed_ends=False)
    if spelled:
        assert repaired(spelled, free) == tuple(spelled)


@pytest.mark.parametrize(
    ("spelled", "limits", "expected"),
    [
        # ends: moved with what they are, or added
        ("", {}, "a0 a3"),
        ("b1", {}, "a0 b1 a3"),
        ("a1 a2 a3 b0", {}, "a0 a1 a2 b0 a3"),
        ("b0 a0 a3 a0 a3 b2", {}, "a0 b0 a3 a0 b2 a3"),
        ("", {"fixed_ends": False}, "a0"),
        ("b1 a3", {"fixed_ends": False}, "b1 a3"),
        # the latest uses go; an end stays
        ("a0 b1 a1 b1 a1 b1 a3", {"max_uses": 2}, "a0 b1 a1 b1 a1 a3"),
        ("a0 a3 a1 a0 a3", {"max_uses": 1}, "a0 a1 a3"),
        # other donors' layers go first, the last to enter before the others
        ("a0 b1 a1 b2 b1 a3", {"max_unique": 4}, "a0 b1 a1 b1 a3"),
        ("a0 b1 a1 b2 b1 a2 a3", {"max_unique": 3}, "a0 a1 a3"),
        # repeats go first, then other donors' layers, then the first donor's
        ("a0 b1 b1 a1 a1 b2 a3", {"max_hops": 6}, "a0 b1 b1 a1 b2 a3"),
        ("a0 b1 b1 a1 a1 b2 a3", {"max_hops": 4}, "a0 b1 a1 a3"),
        ("a0 b1 b1 a1 a1 b2 a2 a3", {"max_hops": 3}, "a0 a1 a3"),
        ("a0 a3 b1 a3", {"max_hops": 3}, "a0 b1 a3"),
        # the same hops go until the parameters fit: 3 4 5 6 in a, 5 6 7 in b
        ("a0 b1 b1 a1 a1 b2 a3", {"max_stored": 32, "stored": STORED}, "a0 b1 b1 a1 b2 a3"),
        ("a0 b1 b1 a1 a1 b2 a3", {"max_stored": 31, "stored": STORED}, "a0 b1 a1 b2 a3"),
        ("a0 b1 b1 a1 a1 b2 a3", {"max_stored": 13, "stored": STORED}, "a0 a1 a3"),
        ("a0 b1 b1 a1 a1 b2 a3", {"max_stored": 12, "stored": STORED}, "a0 a3"),
        # filled up with the first donor's layers
        ("b1", {"min_hops": 4}, "a0 a1 b1 a3"),
        ("a2 a0", {"min_hops": 4}, "a0 a1 a2 a3"),
        ("b1 b1", {"min_hops": 4, "fixed_ends": False, "max_uses": 1}, "a0 a1 a2 b1"),
    ],
)
def test_rules(spelled, limits, expected):
    path = repaired(hops_of(spelled), Guards(DEPTHS[0], **limits))
    assert layers(path) == layers(hops_of(expected))


def test_a_moved_end_keeps_its_scale():
    spelled = [
        Hop(model=1, layer=0, scale=0.5),
        Hop(model=0, layer=3, scale=0.7),
        Hop(model=1, layer=1, scale=0.6),
    ]
    path = repaired(spelled, Guards(4))
    assert [hop.scale for hop in path] == [1.0, 0.5, 0.6, 0.7]


SCALES = st.floats(2**-6, 2**6) | st.sampled_from([0.4, 1.6, 2.0**6, 2.0**-6])


@settings(max_examples=200, deadline=None)
@given(hops(SCALES), st.booleans())
def test_full_scales_can_be_folded(spelled, embedding):
    path = with_valid_scales(repaired(spelled, Guards(4)), "full", scale_embedding=embedding)
    folded = folding(LayerPath(hops=path, scaling="full"), tied=False)
    products = itertools.accumulate((hop.scale for hop in path), lambda a, b: a * b)
    assert all(abs(math.log2(c)) <= 6 for c in products)
    assert len(folded.residual) == len(path)
    assert embedding or path[0].scale == 1
    assert with_valid_scales(path, "full", scale_embedding=embedding) == path


def test_scales_change_only_where_they_must():
    def scaled(*scales):
        return tuple(Hop(model=0, layer=layer, scale=s) for layer, s in enumerate(scales))

    path = scaled(0.5, -2, 0)
    kept = with_valid_scales(path, "delta", scale_embedding=False)
    assert [hop.scale for hop in kept] == [1, -2, 0]
    assert with_valid_scales(path, "delta", scale_embedding=True) == path
    kept = with_valid_scales(scaled(2, 16, 16), "full", scale_embedding=False)
    assert [hop.scale for hop in kept] == [1, 16, pytest.approx(4)]


COUNTS = [ParameterCounts((9, 9, 12, 9), 10)]


@pytest.mark.parametrize(
    ("limits", "depth", "message"),
    [
        ({"max_growth": 0.4}, 4, "limits.max_growth: leaves room for 1 layers, too few for two"),
        ({"max_hops": 1}, 4, "limits.max_hops: leaves room for 1 layers, too few for two fixed"),
        ({"max_unique_layers": 1}, 4, "limits.max_unique_layers: leaves room for 1 layers"),
        ({"min_hops": 3, "max_growth": 0.5}, 4, "leaves room for 2 layers, too few for min_hops 3"),
        ({"min_hops": 5}, 4, "limits.min_hops: the first donor has 4 layers, too few for min_hops"),
        ({"max_growth": 9999}, 4, "limits.max_growth: allows more than 10,000 hops"),
        ({"max_parameters": 30}, 4, "limits.max_parameters: 30 leave no room for 2 hops: 10 lie"),
        ({}, 1, "fixed_ends: the first donor has 1 layers, too few for two fixed ends"),
    ],
)
def test_limits_that_no_path_keeps(limits, depth, message):
    with pytest.raises(SpaceError) as caught:
        Guards.of(LimitsSpec(**limits), depth, Origin("s.yaml"), fixed_ends=True, counts=COUNTS)
    assert message in str(caught.value)


def test_growth_counts_layers_of_the_first_donor():
    def most(limits, depth):
        return Guards.of(LimitsSpec(**limits), depth, Origin(), fixed_ends=True).max_hops

    assert most({"max_growth": 1.1}, 30) == 33  # 1.1 * 30 is 33.00000000000001, 1.15 * 100 less
    assert most({"max_growth": 1.15}, 100) == 115
    assert most({"max_growth": 1.2}, 32) == 38
    assert most({"max_growth": 2, "max_hops": 40}, 32) == 40
    assert most({}, 32) is None
