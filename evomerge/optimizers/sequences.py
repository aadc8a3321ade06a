"""Sequences that genes spell: reading them, writing them, and their edits.

A sequence is a table, (length, 1 + n_attributes): each row is an element, its own coordinate on the
unit cube and then those of its attributes, so whatever moves takes its scale along.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evomerge.errors import SpaceError
from evomerge.spaces.domain import Domain, Gene, HopSequence

Floats = npt.NDArray[np.float64]


def insert(sequence: Floats, at: int, element: Floats) -> Floats:
    """Put an element before position `at`."""
    return np.vstack([sequence[:at], element, sequence[at:]])


def delete(sequence: Floats, start: int, stop: int) -> Floats:
    """Take a run out."""
    return np.vstack([sequence[:start], sequence[stop:]])


def repeat(sequence: Floats, start: int, stop: int) -> Floats:
    """Let a run follow itself once more."""
    return np.vstack([sequence[:stop], sequence[start:]])


def swap(sequence: Floats, first: int, second: int) -> Floats:
    """Exchange two elements."""
    result = sequence.copy()
    result[[first, second]] = sequence[[second, first]]
    return result


def move(sequence: Floats, start: int, stop: int, to: int) -> Floats:
    """Cut a run out and put it before position `to` of what is left."""
    rest = delete(sequence, start, stop)
    return np.vstack([rest[:to], sequence[start:stop], rest[to:]])


def change(sequence: Floats, at: int, element: float) -> Floats:
    """Put another element in a place and keep the attributes that are there."""
    result = sequence.copy()
    result[at, 0] = element
    return result


def splice(
    receiver: Floats, gap: tuple[int, int], donor: Floats, segment: tuple[int, int], limit: int
) -> Floats:
    """Replace what stands in a gap by a donor's segment, cut off where the limit is reached.

    The receiver is returned as it is if nothing would be left.
    """
    room = limit - len(receiver) + gap[1] - gap[0]
    piece = donor[segment[0] : segment[1]][:room]
    child = np.vstack([receiver[: gap[0]], piece, receiver[gap[1] :]])
    return child if len(child) else receiver


class Sequences:
    """Reads and writes sequences in rows of the unit cube.

    Args:
        domain: with a sequence.

    Raises:
        SpaceError: its positions differ in what they hold, or cannot be empty.
    """

    def __init__(self, domain: Domain) -> None:
        sequence = _sequence_of(domain)
        first = domain.genes[sequence.elements[0]]
        self._columns = np.array(
            [
                (element, *attributes)
                for element, attributes in zip(sequence.elements, sequence.attributes, strict=True)
            ]
        )
        self._initial: Floats = np.array(domain.to_unit(domain.initial))[self._columns]
        self._choices = len(first.choices)
        self._empty = first.choices.index(str(first.empty))
        self._initial[:, 0] = (self._empty + 0.5) / self._choices
        self.elements = (np.delete(np.arange(self._choices), self._empty) + 0.5) / self._choices
        self.limit = len(sequence.elements)

    @property
    def element_columns(self) -> set[int]:
        """The genes that hold the elements."""
        return set(self._columns[:, 0].tolist())

    @property
    def columns(self) -> set[int]:
        """The genes that spell the sequence."""
        return set(self._columns.ravel().tolist())

    @property
    def fresh(self) -> Floats:
        """The attributes of an element that was not there before: the initial ones."""
        return self._initial[0, 1:].copy()

    def read(self, row: Floats) -> Floats:
        """Return the elements of a point with their attributes, (length, 1 + n_attributes)."""
        table = row[self._columns]
        chosen = np.minimum((table[:, 0] * self._choices).astype(int), self._choices - 1)
        return np.asarray(table[chosen != self._empty])

    def write(self, row: Floats, sequence: Floats) -> None:
        """Write a sequence into a point; attributes of empty positions become initial."""
        table = self._initial.copy()
        table[: len(sequence)] = sequence
        row[self._columns] = table

    def packed(self, points: Floats) -> Floats:
        """Move all elements to the front, so that equal sequences are equal points; a copy."""
        result = points.copy()
        for row in result:
            self.write(row, self.read(row))
        return result


def _sequence_of(domain: Domain) -> HopSequence:
    """Return the sequence of a domain that has one.

    Raises:
        SpaceError: it has none, or its positions differ in what they hold or cannot be empty.
    """
    sequence = domain.sequence
    if sequence is None or not sequence.elements:
        raise SpaceError("the domain spells no sequence")
    first = domain.genes[sequence.elements[0]]
    kinds = {
        (
            domain.genes[element].choices,
            domain.genes[element].empty,
            *(_shape(domain.genes[attribute]) for attribute in attributes),
        )
        for element, attributes in zip(sequence.elements, sequence.attributes, strict=True)
    }
    if len(kinds) != 1:
        raise SpaceError(
            f"the positions of the sequence differ: '{first.name}' must have the choices, the "
            "empty one and the attributes of every other one"
        )
    if first.empty is None:
        raise SpaceError(f"gene '{first.name}' of the sequence names no empty choice")
    return sequence


def _shape(gene: Gene) -> tuple[object, ...]:
    return (gene.kind, gene.low, gene.high, gene.log, gene.choices)
