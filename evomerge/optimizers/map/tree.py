"""Nodes of Nested MAP: merges of merges as coefficients on the donors (arXiv 2406.07529, Sec. 4).

Task arithmetic is linear, so a merge of merges is one of the donors, by the products of the
coefficients on its paths. Nothing else is kept of a node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """A merge of some donors, in several versions.

    Attributes:
        leaves: the donors below it.
        members: coefficients on the task vectors of all donors, (n_members, n_donors), ordered
            from good at the first side's tasks to good at the second's.
        costs: of the members, (n_members, n_objectives).
        measured: whether these are results; otherwise they are a guess, by which nodes are paired.
    """

    leaves: tuple[int, ...]
    members: Floats
    costs: Floats
    measured: bool = True

    def at(self, position: Floats) -> Floats:
        """Return coefficients on the path through the members, (n_points, n_donors).

        Args:
            position: 0 is the first member, 1 the last, (n_points,).
        """
        last = len(self.members) - 1
        place = position * last
        before = np.clip(place.astype(np.intp), 0, max(last - 1, 0))
        share = (place - before)[:, None]
        after = np.minimum(before + 1, last)
        return np.asarray((1 - share) * self.members[before] + share * self.members[after])


@dataclass(frozen=True)
class Merging:
    """Two nodes on their way to become one, and what was evaluated of it.

    The variables of a point are the scales of the two sides and, with `by_position`, the position
    in each side that has several versions; otherwise these stay in the middle.

    Attributes:
        sides: the two nodes.
        by_position: whether the versions of a side are varied.
        variables: (n_points, n_variables), each in [0, 1].
        costs: of the points, (n_points, n_objectives).
    """

    sides: tuple[Node, Node]
    by_position: bool
    variables: Floats = field(default_factory=lambda: np.empty((0, 0)))
    costs: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def varied(self) -> tuple[bool, bool]:
        """Whether the position in each side is a variable."""
        first, second = (self.by_position and len(side.members) > 1 for side in self.sides)
        return first, second

    @property
    def n_variables(self) -> int:
        """Two scales and up to two positions."""
        return 2 + sum(self.varied)

    def coefficients(self, variables: Floats) -> Floats:
        """Return coefficients on the donors, (n_points, n_donors)."""
        total: Floats | float = 0.0
        column = 2
        for scale, (side, varied) in enumerate(zip(self.sides, self.varied, strict=True)):
            position = variables[:, column] if varied else np.full(len(variables), 0.5)
            column += varied
            total = total + variables[:, scale : scale + 1] * side.at(position)
        return np.asarray(total)

    def alone(self) -> tuple[Floats, Floats]:
        """Return what is known of the sides by themselves: their variables and their costs."""
        rows, costs = [], []
        for number, (side, varied) in enumerate(zip(self.sides, self.varied, strict=True)):
            if not side.measured:
                continue
            last = len(side.members) - 1
            for member, cost in enumerate(side.costs):
                if not varied and 2 * member != last:
                    continue  # only the middle of the path can be reached
                row = [float(number == 0), float(number == 1)]
                for other, free in enumerate(self.varied):
                    if free:
                        row.append(member / last if other == number else 0.5)
                rows.append(row)
                costs.append(cost)
        n_objectives = self.sides[0].costs.shape[1]
        return (
            np.array(rows, dtype=np.float64).reshape(-1, self.n_variables),
            np.array(costs, dtype=np.float64).reshape(-1, n_objectives),
        )

    def with_points(self, variables: Floats, costs: Floats) -> Merging:
        """Add evaluated points."""
        old = self.variables.reshape(-1, self.n_variables), self.costs.reshape(-1, costs.shape[1])
        return Merging(
            self.sides,
            self.by_position,
            np.vstack([old[0], variables]),
            np.vstack([old[1], costs]),
        )
