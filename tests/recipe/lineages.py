"""Hypothesis strategies for lineages, and what one means, number by number."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from evomerge.recipe import (
    Donor,
    Earlier,
    Gaussian,
    Lineage,
    Mix,
    Rebase,
    Spectral,
    SvdMutation,
)

SIZE = 12
N_DONORS = 3
LEAVES = st.one_of(
    st.builds(Donor, donor=st.integers(0, N_DONORS - 1)),
    st.builds(Gaussian, gaussian=st.integers(0, 4)),
    st.builds(
        Spectral,
        spectral=st.integers(0, 4),
        donor=st.integers(0, N_DONORS - 1),
        symmetric=st.booleans(),
    ),
)
# multiples of 1/64, so that sums and products are exact and equal numbers are equal
NUMBERS = st.integers(-128, 128).map(lambda n: n / 64)


@st.composite
def mixes(draw, earlier):
    inputs = LEAVES
    if earlier:
        inputs = st.one_of(LEAVES, st.builds(Earlier, node=st.integers(0, earlier - 1)))
    chosen = draw(st.lists(inputs, min_size=1, max_size=3))
    ends = draw(st.sets(st.integers(1, SIZE - 1), max_size=3))
    ends = (*sorted(ends), SIZE)
    rows = [draw(st.tuples(*[NUMBERS] * len(chosen))) for _ in ends]
    return Mix(inputs=tuple(chosen), ends=ends, weights=tuple(rows))


@st.composite
def lineages(draw, *, max_nodes=6, linear=False):
    nodes = [draw(mixes(0))]
    for position in range(1, draw(st.integers(1, max_nodes))):
        kind = "mix" if linear else draw(st.sampled_from(["mix", "mix", "svd", "rebase"]))
        before = draw(st.integers(0, position - 1))
        if kind == "mix":
            nodes.append(draw(mixes(position)))
        elif kind == "svd":
            nodes.append(SvdMutation(svd=before, key=draw(st.integers(0, 9)), scale=1.5))
        else:
            nodes.append(Rebase(rebase=before))
    return Lineage(size=SIZE, nodes=tuple(nodes), layout=draw(st.sampled_from(["depth", "unit"])))


def leaf(one):
    """Return numbers in place of an input's, the same for the same input."""
    name = type(one).__name__, one.model_dump_json()
    seed = [sum(text.encode()) for text in name] + list(name[1].encode())
    return np.random.default_rng(seed).integers(-8, 9, SIZE) / 8


def value(lineage, position=-1):
    """Return what a node means if an SVD mutation squares every number."""
    node = lineage.nodes[position]
    if isinstance(node, SvdMutation):
        return value(lineage, node.svd) ** 2 + node.key
    if isinstance(node, Rebase):
        return value(lineage, node.rebase)
    total, first = np.zeros(SIZE), 0
    terms = [
        value(lineage, one.node) if isinstance(one, Earlier) else leaf(one) for one in node.inputs
    ]
    for end, row in zip(node.ends, node.weights, strict=True):
        for weight, term in zip(row, terms, strict=True):
            total[first:end] += weight * term[first:end]
        first = end
    return total
