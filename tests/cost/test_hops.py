"""The longest path of a space against paths that are really decoded."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.cost.hops import most_hops
from evomerge.spaces import load_space
from tests.spaces.models import decoders

GENES = {"weight": {"range": [0, 1]}}
SPACES = [
    ({"path": "slots", "repeats": 2}, 16),
    ({"path": "slots", "repeats": 3, "limits": {"max_hops": 9}}, 9),
    ({"path": "slots", "repeats": 3, "limits": {"max_growth": 1.6}}, 6),
    ({"path": "slots", "repeats": 3, "limits": {"max_uses": 1}}, 8),
    ({"path": "depthwise"}, 4),
    ({"path": "depthwise", "stack": 3}, 8),
    ({"path": "depthwise", "stack": 3, "fixed_ends": False}, 12),
    ({"path": "depthwise", "stack": 2, "band": 2}, 6),
    ({"path": "sequence", "limits": {"max_hops": 7}}, 7),
    ({"path": "sequence", "limits": {"max_hops": 7, "max_unique_layers": 2, "max_uses": 2}}, 4),
]


@pytest.mark.parametrize(("spec", "expected"), SPACES, ids=str)
def test_no_path_is_longer_and_some_path_is_as_long(spec, expected):
    space = load_space(spec, decoders(4))
    assert most_hops(space, [4, 4]) == expected
    random = np.random.default_rng(0)
    lengths = set()
    for _ in range(400):
        genotype = tuple(_used(gene, random) for gene in space.domain.genes)
        lengths.add(len(space.decode(space.domain.canonical(genotype)).path.hops))
    assert max(lengths) == expected


def test_a_joint_space_has_the_paths_of_its_layers():
    spec = {
        "merge": {"merge_method": "task_arithmetic", "genes": GENES},
        "layers": {"path": "slots", "repeats": 2},
    }
    assert most_hops(load_space(spec, decoders(4)), [4, 4, 4]) == 24


def test_merges_have_no_hops():
    spec = {"merge_method": "task_arithmetic", "genes": GENES}
    assert most_hops(load_space(spec, decoders(4)), [4, 4]) is None


def _used(gene, random):
    """Draw a value that uses its place."""
    if gene.kind != "categorical":
        return gene.initial
    used = [choice for choice in gene.choices if choice not in {"off", "skip", "-"}]
    return used[int(random.integers(len(used)))]
