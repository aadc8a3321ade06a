"""Normal forms of lineages, against what the lineages mean."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from evomerge.recipe import Donor, Earlier, Mix, Rebase, SvdMutation, Table, collapsed
from evomerge.recipe.lineage import parents_of
from evomerge.recipe.table import mixed, pruned
from tests.recipe.lineages import SIZE, lineages, value

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=50)


@REPEATABLE
@given(lineages())
def test_a_normal_form_means_the_same(lineage):
    short = collapsed(lineage)
    np.testing.assert_allclose(value(short), value(lineage), rtol=1e-9, atol=1e-9)
    assert collapsed(short) == short


@REPEATABLE
@given(lineages(linear=True))
def test_a_linear_lineage_is_one_table(lineage):
    (node,) = collapsed(lineage).nodes
    assert not any(isinstance(one, Earlier) for one in node.inputs)
    assert len(set(node.inputs)) == len(node.inputs)
    np.testing.assert_allclose(value(collapsed(lineage)), value(lineage), rtol=0, atol=1e-9)


@REPEATABLE
@given(lineages())
def test_steps_follow_the_table_they_start_from(lineage):
    nodes = collapsed(lineage).nodes
    for position, node in enumerate(nodes):
        if isinstance(node, SvdMutation | Rebase):
            assert parents_of(node) == (position - 1,)
            assert isinstance(nodes[position - 1], Mix)
    assert isinstance(nodes[-1], Mix)
    wanted = {len(nodes) - 1} | {one for node in nodes for one in parents_of(node)}
    assert wanted == set(range(len(nodes)))


@REPEATABLE
@given(lineages())
def test_pruning_leaves_what_counts(lineage):
    short = pruned(lineage)
    assert np.array_equal(value(short), value(lineage))
    wanted = {len(short.nodes) - 1} | {one for node in short.nodes for one in parents_of(node)}
    assert wanted == set(range(len(short.nodes)))


def table(inputs, ends, rows):
    return Table(tuple(Donor(donor=one) for one in inputs), np.array(ends), np.array(rows, float))


def test_neighbours_of_equal_weights_are_joined_and_weightless_inputs_left_out():
    a, b = table([0, 1], [4, 12], [[1, 0], [0, 1]]), table([1, 2], [12], [[1, 0]])
    found = mixed([a, b], np.array([8, SIZE]), np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert found.inputs == (Donor(donor=0), Donor(donor=1))
    assert found.ends.tolist() == [4, 12]
    assert found.weights.tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_an_input_that_cancels_is_gone():
    a = table([0, 1], [SIZE], [[0.5, 0.5]])
    found = mixed([a, a], np.array([SIZE]), np.array([[1.0, -1.0]]))
    assert found.weights.tolist() == [[0.0]]
    assert found.ends.tolist() == [SIZE]


def test_a_table_as_a_node_and_back():
    one = table([0, 2], [3, SIZE], [[1 / 3, 0.1], [-2.5, 1e-300]])
    node = one.node()
    assert node == Mix.model_validate(node.model_dump())
    again = Table.read(node)
    assert again.inputs == one.inputs
    assert np.array_equal(again.ends, one.ends)
    assert np.array_equal(again.weights, one.weights)
    assert one.nbytes == 2 * 8 + 4 * 8
