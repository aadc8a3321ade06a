"""Crossover and mutation of sequences: layer paths of any order and length.

A domain with a `HopSequence` spells its sequence in some of its genes. Operators read it from a
point of the unit cube, empty positions left out, edit it as a list and write it back from the first
position on; see `sequences`.

- Mutation makes one edit in half of the mutated children: insert, delete, repeat, swap, move or
  change. Attributes, and the genes outside the sequence, mutate as in any other domain.
- Crossover exchanges a segment of one parent for a segment of the other (two-point splice). In half
  of the matings both segments start and end at the same positions, so that what parents have in
  common stays aligned. Genes outside the sequence are crossed as in any other domain.

Runs have a geometric number of elements, 2 on average. No edit empties a sequence or exceeds
the number of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem

from evomerge.optimizers import mixed_variation
from evomerge.optimizers.mixed_variation import Floats
from evomerge.optimizers.sequences import (
    Sequences,
    change,
    delete,
    insert,
    move,
    repeat,
    splice,
    swap,
)
from evomerge.spaces.domain import Domain

EDIT_SHARE = 0.5
"""Mutated children whose sequence is edited; in the others only genes mutate."""

ALIGNED_SHARE = 0.5
"""Matings that exchange what stands at the same positions."""


class SequenceMutation(Mutation):  # type: ignore[misc]  # pymoo has no types
    """Edits sequences and mutates the other genes.

    Args:
        domain: with a sequence.
        probability: of mutating a child at all.
        eta: distribution index of polynomial mutation.
    """

    def __init__(self, domain: Domain, probability: float, eta: float) -> None:
        super().__init__(prob=probability)
        self._sequences = Sequences(domain)
        elements = self._sequences.element_columns
        self._others = [i for i in range(len(domain)) if i not in elements]
        part = _part(domain, self._others)
        self._cube = Problem(n_var=len(self._others), n_obj=1, xl=0.0, xu=1.0)
        self._mutation = mixed_variation.mutation(part, probability, eta)

    def _do(self, problem: Any, X: Floats, *args: Any, random_state: Any, **kwargs: Any) -> Floats:  # noqa: ARG002
        """Mutate children X, (n_children, n_genes)."""
        mutated = X.copy()
        if self._others:
            mutated[:, self._others] = self._mutation._do(
                self._cube, X[:, self._others], random_state=random_state
            )
        share = EDIT_SHARE if self._others else 1.0
        for index in np.flatnonzero(random_state.random(len(X)) < share):
            sequence = self._sequences.read(mutated[index])
            self._sequences.write(mutated[index], self.edit(sequence, random_state))
        return mutated

    def edit(self, sequence: Floats, random: np.random.Generator) -> Floats:
        """Make one edit, drawn evenly from those that the sequence's length allows."""
        length, limit = len(sequence), self._sequences.limit
        possible: list[Callable[[Floats, np.random.Generator], Floats]] = []
        if length < limit:
            possible.append(self._insert)
        if 0 < length < limit:
            possible.append(self._repeat)
        if length > 1:
            possible += [self._delete, self._swap, self._move]
        if length and len(self._sequences.elements) > 1:
            possible.append(self._change)
        return possible[random.integers(len(possible))](sequence, random) if possible else sequence

    def _insert(self, sequence: Floats, random: np.random.Generator) -> Floats:
        element = random.choice(self._sequences.elements)
        at = int(random.integers(len(sequence) + 1))
        return insert(sequence, at, np.array([element, *self._sequences.fresh]))

    def _delete(self, sequence: Floats, random: np.random.Generator) -> Floats:
        return delete(sequence, *_run(len(sequence), len(sequence) - 1, random))

    def _repeat(self, sequence: Floats, random: np.random.Generator) -> Floats:
        room = self._sequences.limit - len(sequence)
        return repeat(sequence, *_run(len(sequence), room, random))

    def _swap(self, sequence: Floats, random: np.random.Generator) -> Floats:
        first, second = random.choice(len(sequence), 2, replace=False)
        return swap(sequence, int(first), int(second))

    def _move(self, sequence: Floats, random: np.random.Generator) -> Floats:
        start, stop = _run(len(sequence), len(sequence) - 1, random)
        to = int(random.integers(len(sequence) - (stop - start)))
        return move(sequence, start, stop, to + (to >= start))  # never where it was

    def _change(self, sequence: Floats, random: np.random.Generator) -> Floats:
        at = int(random.integers(len(sequence)))
        elements = self._sequences.elements
        others = elements[np.abs(elements - sequence[at, 0]) > 1e-9]
        return change(sequence, at, float(random.choice(others)))


class SequenceCrossover(Crossover):  # type: ignore[misc]  # pymoo has no types
    """Splices sequences and crosses the genes outside them.

    Args:
        domain: with a sequence.
        probability: of crossing a pair of parents at all.
        eta: distribution index of simulated binary crossover.
    """

    def __init__(self, domain: Domain, probability: float, eta: float) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=probability)
        self._sequences = Sequences(domain)
        spelled = self._sequences.columns
        self._outside = [i for i in range(len(domain)) if i not in spelled]
        self._cube = Problem(n_var=len(self._outside), n_obj=1, xl=0.0, xu=1.0)
        part = _part(domain, self._outside)
        self._crossover = mixed_variation.crossover(part, probability, eta)

    def _do(self, problem: Any, X: Floats, *args: Any, random_state: Any, **kwargs: Any) -> Floats:  # noqa: ARG002
        """Cross parents X, (2, n_matings, n_genes), into as many children."""
        children = X.copy()
        if self._outside:
            children[:, :, self._outside] = self._crossover._do(
                self._cube, X[:, :, self._outside], random_state=random_state
            )
        for mating in range(X.shape[1]):
            parents = [self._sequences.read(X[which, mating]) for which in (0, 1)]
            for which, child in enumerate(self.cross(parents[0], parents[1], random_state)):
                self._sequences.write(children[which, mating], child)
        return children

    def cross(
        self, first: Floats, second: Floats, random: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Exchange a segment of each parent."""
        limit = self._sequences.limit
        if random.random() < ALIGNED_SHARE:
            start, stop = _cuts(max(len(first), len(second)), random)
            here = (min(start, len(first)), min(stop, len(first)))
            there = (min(start, len(second)), min(stop, len(second)))
        else:
            here, there = _cuts(len(first), random), _cuts(len(second), random)
        return (
            splice(first, here, second, there, limit),
            splice(second, there, first, here, limit),
        )


def _cuts(length: int, random: np.random.Generator) -> tuple[int, int]:
    first, second = sorted(random.integers(length + 1, size=2).tolist())
    return first, second


def _run(length: int, longest: int, random: np.random.Generator) -> tuple[int, int]:
    """Draw where a run starts and stops."""
    start = int(random.integers(length))
    return start, min(start + min(int(random.geometric(0.5)), longest), length)


def _part(domain: Domain, columns: Sequence[int]) -> Domain:
    """Return some genes as a domain; operators do not look at conditions."""
    return Domain(tuple(replace(domain.genes[i], condition=None) for i in columns))
