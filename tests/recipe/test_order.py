"""Flat orders: every element once, and boundaries where brute force finds them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.recipe.order import Block, Member, Order

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=30)


@st.composite
def members(draw, tensor, units):
    """A whole tensor, or the first or second half of one, that `units` divides along its axis."""
    per_unit = draw(st.integers(1, 3))
    axis = draw(st.integers(0, 2))
    shape = [draw(st.integers(1, 3)) for _ in range(3)][: draw(st.integers(axis + 1, 3))]
    shape[axis] = units * per_unit
    return Member.whole(tensor, tuple(shape), axis)


@st.composite
def orders(draw):
    """One to three chromosomes of one to three blocks; a tensor may be in two halves."""
    number = 0
    chromosomes = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        blocks = []
        for _ in range(draw(st.integers(1, 3))):
            units = draw(st.integers(1, 4))
            found = []
            for _ in range(draw(st.integers(1, 3))):
                number += 1
                one = draw(members(f"t{number}", units))
                if draw(st.booleans()):
                    half = one.end
                    shape = tuple(2 * n if i == one.axis else n for i, n in enumerate(one.shape))
                    found += [
                        Member(one.tensor, shape, one.axis, 0, half),
                        Member(one.tensor, shape, one.axis, half, 2 * half),
                    ]
                else:
                    found.append(one)
            blocks.append(Block(tuple(found), units, draw(st.none() | st.integers(0, 1))))
        chromosomes.append((name, blocks))
    return Order(chromosomes)


def positions(order):
    """Return (tensor, row-major index, member) of every position, one after the other."""
    found = []
    for block in order.blocks:
        for unit in range(block.units):
            for member in block.members:
                every = np.arange(math.prod(member.shape)).reshape(member.shape)
                n = (member.end - member.first) // block.units
                run = range(member.first + unit * n, member.first + (unit + 1) * n)
                found += [
                    (member.tensor, int(i), member) for i in every.take(run, member.axis).ravel()
                ]
    return found


@REPEATABLE
@given(orders())
def test_every_element_has_one_position(order):
    found = positions(order)
    assert len(found) == order.size
    elements = {(tensor, index) for tensor, index, _ in found}
    assert len(elements) == order.size
    sizes = {m.tensor: math.prod(m.shape) for block in order.blocks for m in block.members}
    assert sum(sizes.values()) == order.size
    assert order.tensors == sizes.keys()


@REPEATABLE
@given(orders(), st.data())
def test_cuts_count_what_stands_before_each_boundary(order, data):
    bounds = data.draw(st.lists(st.integers(0, order.size), min_size=1, max_size=6).map(sorted))
    found = positions(order)
    cuts = list(order.cuts(np.array(bounds)))
    assert [cut.member for cut in cuts] == [m for block in order.blocks for m in block.members]
    for cut in cuts:
        own = np.array([member is cut.member for _, _, member in found])
        assert cut.bounds.tolist() == [int(own[:bound].sum()) for bound in bounds]
    whole = [cut.bounds[0] for cut in order.cuts(np.array([order.size]))]
    assert whole == [cut.member.size for cut in cuts]


@REPEATABLE
@given(orders())
def test_chromosomes_and_blocks_follow_one_another(order):
    edges = [0, *(one.end for one in order.chromosomes)]
    assert [one.start for one in order.chromosomes] == edges[:-1]
    assert edges[-1] == order.size
    for position in range(order.size):
        index = order.block_at(position)
        assert order.starts[index] <= position < order.starts[index + 1]


@REPEATABLE
@given(orders())
def test_splits_are_where_their_granularity_says(order):
    found = positions(order)
    for one in order.chromosomes:
        assert order.splits("element", one) is None
        units, tensors, layers = (
            order.splits(kind, one).tolist() for kind in ("unit", "tensor", "layer")
        )
        assert units[0] == tensors[0] == layers[0] == one.start
        assert set(layers) <= set(tensors) <= set(units)
        assert units[-1] < one.end
        blocks = {order.block_at(position) for position in range(one.start, one.end)}
        assert len(tensors) == len(blocks)
        assert len(units) == sum(order.blocks[index].units for index in blocks)
        for position in layers[1:]:
            before, after = (order.blocks[order.block_at(p)] for p in (position - 1, position))
            assert before.layer != after.layer
        # a unit never holds two indices of an axis apart that belong together
        for first, end in zip(units, [*units[1:], one.end], strict=True):
            assert len({order.block_at(p) for p in range(first, end)}) == 1
            assert found[first][2] is order.blocks[order.block_at(first)].members[0]


def test_units_must_divide_every_member():
    with pytest.raises(ValueError, match="tensor 'w': 3 units do not divide its 8 indices"):
        Block((Member.whole("w", (8, 2)),), 3)


def test_a_scalar_is_one_position():
    order = Order([("all", [Block((Member.whole("s", ()),), 1)])])
    assert order.size == 1
    (cut,) = order.cuts(np.array([0, 1]))
    assert cut.bounds.tolist() == [0, 1]
