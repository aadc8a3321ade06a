"""A simulated world of item responses, in which the true score of every candidate is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evomerge.estimators import ItemParameters

N_ITEMS, N_DIMENSIONS, N_CANDIDATES = 1319, 5, 40
KNOWN_MERGES = ((0.5, 0.5), (0.25, 0.75), (0.75, 0.25))
"""Mixing weights of the merges that are scored on every item beside the two endpoints."""
OFF_SPAN = 0.4
"""Standard deviation of what off-span merges have beyond a mixture of the endpoints."""

Abilities = NDArray[np.float64]
Answers = dict[str, float]


@dataclass(frozen=True)
class World:
    """Items, two endpoints, and models that are made of them.

    Attributes:
        seed: of everything that is drawn.
        off_span: whether merges leave the span of the endpoints.
    """

    seed: int
    off_span: bool

    @cached_property
    def _random(self) -> np.random.Generator:
        return self._drawn("models")

    @cached_property
    def items(self) -> ItemParameters:
        """The true items."""
        random = self._drawn("items")
        a = np.abs(random.normal(0.7, 0.4, (N_ITEMS, N_DIMENSIONS)))
        b = random.normal(0.6, 1.5, N_ITEMS)
        return ItemParameters(tuple(f"item-{at:04}" for at in range(N_ITEMS)), a, b)

    @cached_property
    def known_items(self) -> ItemParameters:
        """The items as an item model gives them: off by 15 % in a and by 0.15 in b."""
        random, a = self._drawn("noise"), self.items.discriminations
        a = a * (1.0 + random.normal(0.0, 0.15, a.shape))
        b = self.items.offsets + random.normal(0.0, 0.15, N_ITEMS)
        return ItemParameters(self.items.ids, a, b)

    @cached_property
    def endpoints(self) -> Abilities:
        """Abilities of the two endpoints, (2, n_dimensions)."""
        return self._drawn("endpoints").normal(size=(2, N_DIMENSIONS))

    def _drawn(self, what: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.off_span, *what.encode()])

    def merges(self, mixtures: Sequence[Sequence[float]]) -> Abilities:
        """Return abilities of merges with these mixing weights, (n_merges, n_dimensions)."""
        theta = np.array(mixtures) @ self.endpoints
        if self.off_span:
            theta = theta + self._random.normal(0.0, OFF_SPAN, theta.shape)
        return np.asarray(theta)

    def random_merges(self, count: int) -> Abilities:
        """Return abilities of merges whose mixing weights are uniform in [-0.2, 1.2]."""
        return self.merges(self._random.uniform(-0.2, 1.2, (count, 2)).tolist())

    def answers(self, abilities: Abilities) -> list[Answers]:
        """Return the answers of each model to every item, right or wrong."""
        right = self._random.random((len(abilities), N_ITEMS)) < self.items.probabilities(abilities)
        ids = self.items.ids
        return [dict(zip(ids, row.astype(float).tolist(), strict=True)) for row in right]
