"""Competition for examples: the archive of M2N2 (Abrantes et al. 2025, arXiv 2508.16204).

    z_j = sum_i s_ij                                      how much of example j is taken
    f_i = sum_j c_j s_ij / (z_j^alpha + eps)              shared fitness, equations 3 and 5
    g_B = sum_j c_j max(s_Bj - s_Aj, 0) / (z_j + eps)     attraction of A to B, equation 4

The released code has no eps (a z of 0 counts as 1), z_j^alpha in both, and binary capacities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.archives.watch import Niche, NicheMap
from evomerge.optimizers.populations.examples import ExampleScores
from evomerge.types import Completed, Objective, Trial

Formula: TypeAlias = Literal["paper", "released"]
Capacity: TypeAlias = Literal["binary", "max", "range"]
"""What there is of an example: 'binary' 1; 'max' the best score of the population; 'range' the
distance from its worst to its best score, scores being counted from the worst."""
Vector: TypeAlias = NDArray[np.float64]

_EPS = 1e-12
_TINY = float(np.finfo(np.float64).tiny)


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
        capacity: see `Capacity`; None decides by the scores, for each group of examples: 'binary'
            while all are 0 or 1, 'max' while none is negative, else 'range'.
        balanced: what there is of all examples of a group sums to 1, so that no objective weighs
            more for its unit or for the number of its examples.

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
        balanced: bool = False,
    ) -> None:
        self.numbers: list[int] = []
        self.champion: Champion | None = None
        self._size = size
        self._alpha = alpha
        self._formula: Formula = formula
        self._capacity = capacity
        self._balanced = balanced
        self._starts: NDArray[np.int64] = np.zeros(1, dtype=np.int64)  # where groups begin
        self._lengths: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._found: list[Capacity] = ["binary"]  # of each group
        self._scores: Vector = np.empty((0, 0))
        self._room: Vector = np.empty((0, 0))  # results in between, to allocate nothing
        self._known: dict[object, Vector] = {}  # what was computed for the members of today

    @property
    def capacities(self) -> tuple[Capacity, ...]:
        """The capacity in force in each group of examples."""
        return tuple(self._capacity or found for found in self._found)

    @property
    def only_positive(self) -> bool:
        """Whether the capacity asked for has no meaning for negative scores."""
        return self._capacity in ("binary", "max")

    @property
    def scores(self) -> Vector:
        """Scores of the members, shape (n_members, n_examples)."""
        return self._scores[: len(self.numbers)]

    def offer(self, number: int, scores: Vector, groups: Sequence[int] = ()) -> int | None:
        """Let an individual compete for a place.

        Args:
            number: its trial number.
            scores: of every example, larger being better, finite.
            groups: how many examples each objective has, in order; one group without.

        Returns:
            Who has no place any more: a member, the individual itself, or None.

        Raises:
            ValueError: a score is negative, which the capacity asked for has no meaning for.
        """
        if not len(self._scores):
            self._lengths = np.array(groups or [len(scores)], dtype=np.int64)
            self._starts = np.cumsum(self._lengths) - self._lengths
            self._found = ["binary"] * len(self._lengths)
        self._notice(scores)
        if not len(self._scores):
            self._scores = np.empty((self._size + 1, len(scores)))
            self._room = np.empty_like(self._scores)
        total = self._total(scores)
        if self.champion is None or total > self.champion.score:
            self.champion = Champion(number, total)
        self._scores[len(self.numbers)] = scores
        self.numbers.append(number)
        self._known.clear()
        if len(self.numbers) <= self._size:
            return None
        worst = int(np.argmin(self.fitness()))  # the first of equals: a newcomer wins a tie
        evicted = self.numbers[worst]
        last = self.numbers.pop()
        self._known.clear()
        if worst < len(self.numbers):
            self.numbers[worst] = last
            self._scores[worst] = scores
        return evicted

    def fitness(self) -> Vector:
        """Return the shared fitness of the members, shape (n_members,); not to be written to."""
        return self._once("fitness", self._fitness)

    def attraction(self, member: int) -> Vector:
        """Return how much each member adds to one of them, shape (n_members,); read only too."""
        return self._once(member, lambda: self._attraction(member))

    def _fitness(self) -> Vector:
        return self._totals(self._shares(), self._worth(self._alpha))

    def _attraction(self, member: int) -> Vector:
        shares = self._shares()
        worth = self._worth(self._alpha if self._formula == "released" else 1.0)
        if set(self._found) == {"binary"}:  # max(s_Bj - s_Aj, 0) is s_Bj where A has not solved j
            return self._totals(shares, worth * (1.0 - shares[member]))
        gains = np.subtract(shares, shares[member], out=self._room[: len(shares)])
        return self._totals(np.maximum(gains, 0.0, out=gains), worth)

    def _once(self, name: object, compute: Callable[[], Vector]) -> Vector:
        """Compute something once for the members of today."""
        if name not in self._known:
            self._known[name] = compute()
            self._known[name].flags.writeable = False
        return self._known[name]

    def _worth(self, exponent: float) -> Vector:
        """Return what a point of each example is worth, shape (n_examples,)."""
        return self._once(("worth", exponent), lambda: self._worth_now(exponent))

    def _worth_now(self, exponent: float) -> Vector:
        shares = self._shares()
        taken = shares.sum(axis=0)
        capacity = self._capacity_of(shares)
        if self._weighs_groups:
            capacity = capacity / self._each(self._lengths)
        if self._formula == "released":
            divisor = np.where(taken > 0, taken, 1.0) ** exponent
            divisor = np.maximum(divisor, _TINY)  # a power of next to nothing may be 0
        else:
            divisor = taken**exponent + _EPS
        worth: Vector = capacity / divisor
        return worth

    def _capacity_of(self, shares: Vector) -> Vector:
        """Return how much there is of each example, shape (n_examples,)."""
        kinds = self.capacities
        if set(kinds) == {"binary"}:
            return np.ones(shares.shape[1])
        capacity: Vector = shares.max(axis=0)
        capacity[self._each([kind == "binary" for kind in kinds])] = 1.0
        return capacity

    @property
    def _weighs_groups(self) -> bool:
        return self._balanced and len(self._lengths) > 1

    @staticmethod
    def _totals(points: Vector, worth: Vector) -> Vector:
        """Return the worth of each row's points.

        Every row is summed in the same order, so that members of equal scores are equal to the
        last bit, which a matrix product does not promise.
        """
        total: Vector = np.einsum("ij,j->i", points, worth)
        return total

    def owners(self) -> NDArray[np.int64]:
        """Return for each example the place of the member that holds most of it, -1 if nobody.

        That is the member of the highest score; of equals the one of the highest shared fitness. An
        example on which scores are counted from the worst is always held by somebody.
        """
        scores = self.scores
        rank = np.argsort(-self.fitness(), kind="stable")
        best = rank[np.argmax(scores[rank], axis=0)]
        ranged = self._each([kind == "range" for kind in self.capacities])
        return np.where(ranged | (scores > 0).any(axis=0), best, -1)

    def _total(self, scores: Vector) -> float:
        """Return what a champion is chosen by: the sum, or of balanced groups the sum of means."""
        if not self._weighs_groups:
            return float(scores.sum())
        return float((np.add.reduceat(scores, self._starts) / self._lengths).sum())

    def _each(self, of_groups: Any) -> Any:
        """Give every example what its group has."""
        return np.repeat(np.asarray(of_groups), self._lengths)

    def _notice(self, scores: Vector) -> None:
        """Widen the capacity that the scores seen so far call for."""
        for group, (start, length) in enumerate(zip(self._starts, self._lengths, strict=True)):
            own = scores[start : start + length]
            lowest = float(own.min())
            if self.only_positive and lowest < 0:
                raise ValueError(
                    f"capacity: '{self._capacity}' is for scores of at least 0, got {lowest:g}; "
                    "use range or auto"
                )
            if self._found[group] == "binary" and not ((own == 0.0) | (own == 1.0)).all():
                self._found[group] = "max"
            if lowest < 0:
                self._found[group] = "range"

    def _shares(self) -> Vector:
        """Return what competes: scores of at least 0, of balanced groups without a unit."""
        shares, kinds = self.scores, self.capacities
        if "range" in kinds:
            ranged = self._each([kind == "range" for kind in kinds])
            shares = shares - shares.min(axis=0) * ranged
        if not self._weighs_groups or set(kinds) == {"binary"}:
            return shares
        # in units of what there is of an example of the objective, on average
        means = np.add.reduceat(self._capacity_of(shares), self._starts) / self._lengths
        scaled: Vector = shares / self._each(np.where(means > 0, means, 1.0))
        return scaled


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
        scores = self._examples.vector(trial.outcome)
        return self.archive.offer(trial.number, scores, self._examples.counts)

    def holdings(self) -> dict[int, dict[str, int]]:
        """Return how many examples of each objective each member holds, by trial number."""
        if self.archive.champion is None:
            return {}
        names = dict.fromkeys(objective for objective, _ in self._examples.ids)
        found = {number: dict.fromkeys(names, 0) for number in self.archive.numbers}
        for (objective, _), place in zip(
            self._examples.ids, self.archive.owners().tolist(), strict=True
        ):
            if place >= 0:
                found[self.archive.numbers[place]][objective] += 1
        return found

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
