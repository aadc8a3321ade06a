"""Dominance against its definition, spelled out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evomerge.pareto import dominates, non_dominated, ranks

# Few distinct values, so that ties and duplicates are frequent.
costs_matrices = st.tuples(st.integers(0, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 3).map(float))
)


def beats(a: np.ndarray, b: np.ndarray) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y for x, y in zip(a, b, strict=True)
    )


@given(costs_matrices)
def test_front_is_what_nobody_dominates(costs):
    expected = [i for i, row in enumerate(costs) if not any(beats(other, row) for other in costs)]
    assert non_dominated(costs).tolist() == expected


@given(costs_matrices)
def test_dedupe_keeps_the_first_of_equal_rows(costs):
    seen: set[tuple[float, ...]] = set()
    expected = []
    for index in non_dominated(costs).tolist():
        if tuple(costs[index]) not in seen:
            expected.append(index)
        seen.add(tuple(costs[index]))
    assert non_dominated(costs, dedupe=True).tolist() == expected


@given(costs_matrices)
def test_dominates_is_the_definition(costs):
    for a in costs[:4]:
        for b in costs[:4]:
            assert dominates(a, b) == beats(a, b)


@given(costs_matrices)
def test_front_agrees_with_pymoo(costs):
    if len(costs):
        front = NonDominatedSorting().do(costs, only_non_dominated_front=True)
        assert non_dominated(costs).tolist() == sorted(front.tolist())


def test_ranks_agree_with_pymoo():
    rng = np.random.default_rng(1)
    for n_objectives in (1, 2, 3, 5):
        costs = rng.integers(0, 6, size=(60, n_objectives)).astype(float)
        expected = np.empty(60, dtype=int)
        for rank, front in enumerate(NonDominatedSorting().do(costs)):
            expected[front] = rank
        assert ranks(costs).tolist() == expected.tolist()


def test_empty_input_has_an_empty_front():
    assert non_dominated(np.empty((0, 3))).tolist() == []
    assert ranks(np.empty((0, 3))).tolist() == []


@pytest.mark.parametrize("bad", [[1.0, 2.0], np.empty((3, 0)), [[1.0, np.nan]], [[np.inf]]])
def test_malformed_costs_are_refused(bad):
    with pytest.raises(ValueError, match="costs must"):
        non_dominated(bad)


def test_dominates_needs_equal_lengths():
    with pytest.raises(ValueError):
        dominates([1.0, 2.0], [1.0])
