"""Small benchmarks with answers drawn from the item model."""

from __future__ import annotations

import numpy as np

from evomerge.estimators import ItemParameters


def names(n):
    return tuple(f"item-{at:03}" for at in range(n))


def items_of(rng, n, n_dimensions=2):
    a = np.abs(rng.normal(0.8, 0.4, (n, n_dimensions)))
    return ItemParameters(names(n), a, rng.normal(0.4, 1.2, n))


def drawn(rng, items, abilities):
    """Answers of one model, right or wrong, by id."""
    right = rng.random(len(items.ids)) < items.probabilities(abilities)
    return dict(zip(items.ids, right.astype(float).tolist(), strict=True))


def endpoints_of(rng, items, count):
    return {
        f"end-{at}": drawn(rng, items, rng.normal(0, 1, items.n_dimensions)) for at in range(count)
    }


def first(answers, n):
    return dict(list(answers.items())[:n])
