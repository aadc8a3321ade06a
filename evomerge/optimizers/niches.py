"""Competition for examples: the archive of M2N2 (Abrantes et al. 2025, arXiv 2508.16204).

    z_j = sum_i s_ij                                      how much of example j is taken
    f_i = sum_j c_j s_ij / (z_j^alpha + eps)              shared fitness, equations 3 and 5
    g_B = sum_j c_j max(s_Bj - s_Aj, 0) / (z_j + eps)     attraction of A to B, equation 4

The released code has c_j = 1, no eps (a z of 0 counts as 1), and z_j^alpha in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.examples import ExampleScores
from evomerge.optimizers.population import Niche, NicheMap
from evomerge.types import Completed, Objective, Trial

Formula: TypeAlias = Literal["paper", "released"]
Capacity: TypeAlias = Literal["binary", "max", "range"]
"""What there is of an example: 'binary' 1; 'max' the best score of the population; 'range' the
distance from its worst to its best score, scores being counted from the worst."""
Vector: TypeAlias = NDArray[np.float64]

_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class Champion:
    """The individual of the highest total score so far, in the archive or not."""

    number: int
    score: float


class NicheArchive:
    """A population of fixed size whose members share what they solve.

    Args:
        size: individuals it holds.
        alpha: strength of competition: 0 none, 1 examples are shared up to their capacity.
        formula: of the paper, or of the released code.
        capacity: see `Capacity`; None decides by the scores: 'binary' while all are 0 or 1, 'max'
            while none is negative, else 'range'.

    Attributes:
        numbers: members by trial number; a newcomer takes the place of whom it drives out.
        champion: see `Champion`; None before the first individual.
    """

    def __init__(
        self,
        size: int,
        *,
        alpha: float = 1.0,
        formula: Formula = "paper",
        capacity: Capacity | None = None,
    ) -> None:
        self.numbers: list[int] = []
        self.champion: Champion | None = None
        self._size = size
        self._alpha = alpha
        self._formula: Formula = formula
        self._capacity = capacity
        self._found: Capacity = "binary"
        self._scores: Vector = np.empty((0, 0))

    @property
    def capacity(self) -> Capacity:
        """The capacity in force."""
        return self._capacity or self._found

    @property
    def scores(self) -> Vector:
        """Scores of the members, shape (n_members, n_examples)."""
        return self._scores[: len(self.numbers)]

    def offer(self, number: int, scores: Vector) -> int | None:
        """Let an individual compete for a place.

        Args:
            number: its trial number.
            scores: of every example, larger being better, finite.

        Returns:
            Who has no place any more: a member, the individual itself, or None.
        """
        if not len(self._scores):
            self._scores = np.empty((self._size + 1, len(scores)))
        self._notice(scores)
        total = float(scores.sum())
        if self.champion is None or total > self.champion.score:
            self.champion = Champion(number, total)
        self._scores[len(self.numbers)] = scores
        self.numbers.append(number)
        if len(self.numbers) <= self._size:
            return None
        worst = int(np.argmin(self.fitness()))  # the first of equals: a newcomer wins a tie
        evicted = self.numbers[worst]
        last = self.numbers.pop()
        if worst < len(self.numbers):
            self.numbers[worst] = last
            self._scores[worst] = scores
        return evicted

    def fitness(self) -> Vector:
        """Return the shared fitness of the members, shape (n_members,)."""
        shares, taken, capacity = self._shares()
        total: Vector = shares @ (capacity / self._divisor(taken, self._alpha))
        return total

    def attraction(self, member: int) -> Vector:
        """Return how much each member adds to one of them, shape (n_members,)."""
        shares, taken, capacity = self._shares()
        exponent = self._alpha if self._formula == "released" else 1.0
        gains = np.maximum(shares - shares[member], 0.0)
        total: Vector = gains @ (capacity / self._divisor(taken, exponent))
        return total

    def owners(self) -> NDArray[np.int64]:
        """Return for each example the place of the member that holds most of it, -1 if nobody.

        Of several that hold as much it is the one of the highest shared fitness.
        """
        shares, taken, _ = self._shares()
        rank = np.argsort(-self.fitness(), kind="stable")
        best = rank[np.argmax(shares[rank], axis=0)]
        return np.where(taken > 0, best, -1)

    def _notice(self, scores: Vector) -> None:
        """Widen the capacity that the scores seen so far call for."""
        if self._found == "binary" and not np.isin(scores, (0.0, 1.0)).all():
            self._found = "max"
        if self._found == "max" and (scores < 0).any():
            self._found = "range"

    def _shares(self) -> tuple[Vector, Vector, Vector]:
        """Return the scores that compete, what is taken of each example, and its capacity."""
        scores = self.scores
        if self.capacity == "range":
            scores = scores - scores.min(axis=0)
        taken = scores.sum(axis=0)
        if self._formula == "released" or self.capacity == "binary":
            return scores, taken, np.ones(scores.shape[1])
        return scores, taken, scores.max(axis=0)

    def _divisor(self, taken: Vector, exponent: float) -> Vector:
        if self._formula == "released":
            return np.where(taken > 0, taken, 1.0) ** exponent
        return taken**exponent + _EPS


class Niches:
    """An archive that learns from outcomes: what M2N2 keeps, and what can be watched of it.

    Args:
        objectives: names and goals, in order; their examples are competed for together.
        archive: of the members.
    """

    needs_examples = True

    def __init__(self, objectives: Sequence[Objective], archive: NicheArchive) -> None:
        self.archive = archive
        self._examples = ExampleScores(objectives)

    def tell(self, trial: Trial) -> int | None:
        """Let a completed trial compete; returns who has no place (any more).

        Raises:
            ValueError: its examples are not those of the first completed trial.
        """
        if not isinstance(trial.outcome, Completed):
            return trial.number
        return self.archive.offer(trial.number, self._examples.vector(trial.outcome))

    def maps(self) -> tuple[NicheMap, ...]:
        """Return the archive as one map, its places being the examples."""
        if self.archive.champion is None:
            return (NicheMap("", (), 0, 0),)
        owners = self.archive.owners()
        fitness = self.archive.fitness()
        niches = tuple(
            Niche(number, float(fitness[place]), int((owners == place).sum()))
            for place, number in enumerate(self.archive.numbers)
        )
        held = int((owners >= 0).sum())
        return (NicheMap("", niches, len(owners), held, champion=self.archive.champion.number),)
