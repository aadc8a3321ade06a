"""What algorithms of pymoo share: genes as points of the unit cube, first points, ask and tell.

- The first points are the domain's seeds and initial point, filled up with uniform points or, where
  genes have weights, spreads or conditions, with points drawn by those.
- Integer and categorical genes snap to the middle of their bins and genes without effect to their
  initial value, so that pymoo's duplicate elimination sees genotypes; `mixed_variation` mates them,
  and `sequence_variation` where genes spell a sequence.
- All randomness comes from pymoo's own generator; termination is left to the study.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from evomerge.optimizers.arguments import checked_domain, flag, integer, number
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.exhaustion import drawn_anew, exhausted
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.mixed_variation import Floats, Snap, crossover, mutation, snapped
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Proposal
from evomerge.optimizers.sequence_variation import SequenceCrossover, SequenceMutation
from evomerge.optimizers.sequences import Sequences
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial


@dataclass(frozen=True, slots=True)
class FirstPoints:
    """Where a search starts.

    Attributes:
        points: canonical, (n_points, n_genes); those that are known come first.
        exact: what to propose for points that are known, by their bytes: the way over the unit
            cube rounds.
    """

    points: Floats
    exact: Mapping[bytes, Proposal]


class UnitCube:
    """A domain as pymoo varies it: points of the unit cube, equal ones for equal genotypes.

    Args:
        domain: with genes of every kind.

    Raises:
        SpaceError: the domain leaves nothing to vary.
    """

    def __init__(self, domain: Domain) -> None:
        self.domain = checked_domain(domain)
        self._shaped = is_shaped(domain)
        self._initial = np.array(domain.to_unit(domain.initial))
        self._sequences = Sequences(domain) if domain.sequence else None

    def canonical(self, points: Floats) -> Floats:
        """Make equal genotypes equal points, (n_points, n_genes); a copy."""
        packed = points if self._sequences is None else self._sequences.packed(points)
        return snapped(packed, self.domain)

    def genotype(self, point: Floats) -> Genotype:
        """Read a point; a scale that was never varied must be the initial one to the last bit."""
        genotype = self.domain.from_unit(point.tolist())
        if not self._shaped:
            return genotype
        return tuple(
            float(gene.initial) if gene.kind == "continuous" and same else value
            for gene, value, same in zip(
                self.domain.genes, genotype, point == self._initial, strict=True
            )
        )

    def drawn(self, count: int, random: np.random.Generator) -> Floats:
        """Draw points from where a search starts, (count, n_genes)."""
        if not self._shaped:
            return random.random((count, len(self.domain)))
        drawn = [self.domain.to_unit(self.domain.draw(random)) for _ in range(count)]
        return np.array(drawn).reshape(count, len(self.domain))

    def first_points(self, population: int, seed: int, *, seeds: bool) -> FirstPoints:
        """Return the known points, filled up to a population; more if there are more of them.

        Raises:
            ConfigError: the seed is not an integer >= 0, or `seeds` is no truth value.
            SpaceError: a known point lies outside the domain.
        """
        known = known_points(self.domain) if flag("seeds", seeds) else ()
        fill = np.random.default_rng([integer("seed", seed, 0), 0])
        random_points = self.drawn(max(population - len(known), 0), fill)
        rows = [self.domain.to_unit(point.genotype) for point in known]
        known_rows = np.array(rows).reshape(-1, len(self.domain))
        points = self.canonical(np.vstack([known_rows, random_points]))
        return FirstPoints(
            points, {row.tobytes(): point for row, point in zip(points, known, strict=False)}
        )

    def operators(
        self,
        crossover_probability: float,
        crossover_eta: float,
        mutation_probability: float,
        mutation_eta: float,
    ) -> dict[str, Any]:
        """Return the crossover, mutation and repair of this domain, as pymoo's keywords.

        Raises:
            ConfigError: a probability is not in (0, 1], or a distribution index not above 0.
        """
        domain = self.domain
        return {
            "crossover": (SequenceCrossover if domain.sequence else crossover)(
                domain,
                number("crossover_probability", crossover_probability, 0, 1),
                number("crossover_eta", crossover_eta, 0),
            ),
            "mutation": (SequenceMutation if domain.sequence else mutation)(
                domain,
                number("mutation_probability", mutation_probability, 0, 1),
                number("mutation_eta", mutation_eta, 0),
            ),
            "repair": Snap(self.canonical),
        }

    def problem(self, n_objectives: int, *, constrained: bool) -> Problem:
        """Return the problem that pymoo is told of.

        Args:
            n_objectives: how many costs there are.
            constrained: with one inequality constraint: a trial is feasible if it completed.
        """
        return Problem(
            n_var=len(self.domain),
            n_obj=n_objectives,
            n_ieq_constr=int(constrained),
            xl=0.0,
            xu=1.0,
        )


class GenerationalSearch(Generational):
    """Lets an algorithm of pymoo propose whole generations.

    A failed trial is infeasible: by Deb's constrained domination every completed candidate beats
    it and failures tie among themselves, in all later generations too. It needs no made-up cost.

    Args:
        name: of the optimizer, for origins.
        cube: the domain.
        n_objectives: how many costs a completed trial carries.
        first: generation 0, which the algorithm samples.
        algorithm: of pymoo, not set up yet.
    """

    def __init__(
        self, name: str, cube: UnitCube, n_objectives: int, first: FirstPoints, algorithm: Any
    ) -> None:
        super().__init__(n_objectives)
        self._name = name
        self._cube = cube
        self._n_objectives = n_objectives
        self._exact = first.exact
        self._number = 0
        self._algorithm = algorithm
        problem = cube.problem(n_objectives, constrained=True)
        self._algorithm.setup(problem, termination=NoTermination())
        self._draw()

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._learn(trials)
        self._draw()

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Select the survivors of population and offspring."""
        for individual, trial in zip(self._offspring, trials, strict=True):
            evaluate(individual, trial, self._n_objectives)
        self._algorithm.tell(infills=self._offspring)

    def _draw(self) -> None:
        """Mate the next generation, or stop when a finite domain has no new genotype."""
        self._offspring: Any = self._algorithm.ask()
        if self._offspring is None:
            self._stopped = f"{self._name}: mating finds no genotype outside the population"
            return
        origin = f"{self._name}:gen{self._number}"
        self._number += 1
        proposals = []
        for x in self._offspring.get("X"):
            exact = self._exact.get(x.tobytes()) if self._number == 1 else None
            proposals.append(exact or Proposal(self._cube.genotype(x), origin))
        self._generation = Generation(proposals)


class SteadySearch(ABC):
    """Ask and tell of an algorithm that learns trial by trial and never waits.

    Mating begins when as many trials are told as there are first points. Until then a worker that
    finds none left gets another point drawn like them; what is told late joins the population like
    a child. No genotype is proposed twice: a merge gives the same costs again. A finite domain ends
    the search when neither matings nor draws find a new one.

    Args:
        name: of the optimizer, for origins.
        cube: the domain.
        n_objectives: how many costs a completed trial carries.
        first: where the search starts.
        seed: source of what is drawn before the matings.
    """

    def __init__(
        self, name: str, cube: UnitCube, n_objectives: int, first: FirstPoints, seed: int
    ) -> None:
        self._name = name
        self._cube = cube
        self._n_objectives = n_objectives
        self._pending = PendingTrials(n_objectives)
        self._stopped: str | None = None
        self._seen: set[Genotype] = set()
        self._unseen = Unseen(cube, self._seen)
        self._random = np.random.default_rng([seed, 1])
        self._first = deque(self._unseen.do(Population.new(X=first.points)))
        self._exact = first.exact
        self._start_size = len(self._first)
        self._told: list[Individual] = []  # before the matings begin
        self._begun = False
        self._in_flight: dict[int, Individual] = {}
        self._prepared: tuple[Individual, str] | None = None

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose a first point, a point drawn like them or a child; None when the search is over.

        Raises:
            ValueError: the trial number was handed out before.
        """
        self._pending.check_new(trial_number)
        self._prepare()
        if self._prepared is None:
            return None
        (individual, origin), self._prepared = self._prepared, None
        exact = self._exact.get(individual.X.tobytes()) if origin == "start" else None
        genotype = self._cube.genotype(individual.X)
        proposal = exact or Proposal(genotype, f"{self._name}:{origin}")
        self._seen |= {genotype, proposal.genotype}
        self._pending.open(trial_number, proposal.genotype)
        self._in_flight[trial_number] = individual
        return proposal

    def tell(self, trial: Trial) -> None:
        """Learn one outcome.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        individual = self._in_flight.pop(trial.number)
        evaluate(individual, trial, self._n_objectives)
        if self._begun:
            self._learn(individual)
        else:
            self._told.append(individual)
        if len(self._told) == self._start_size:
            self._begin(self._told)
            self._begun, self._told = True, []
        if not self._in_flight:
            self._prepare()  # nothing else can be learnt before the next ask

    def stop_reason(self) -> str | None:
        """Say why the algorithm has ended, or None."""
        return self._stopped

    def _prepare(self) -> None:
        """Have the next candidate ready, or end the search where there is none."""
        if self._prepared is None and self._stopped is None:
            self._prepared = self._next()
            if self._prepared is None:
                self._stopped = exhausted(self._name)

    def _next(self) -> tuple[Individual, str] | None:
        if self._first:
            return self._first.popleft(), "start"
        child = self._breed() if self._begun else None
        if child is not None:
            return child, "child"
        point = drawn_anew(
            lambda: self._cube.canonical(self._cube.drawn(1, self._random))[0],
            lambda point: self._cube.genotype(point) not in self._seen,
        )
        return None if point is None else (Individual(X=point), "drawn")

    @abstractmethod
    def _begin(self, told: Sequence[Individual]) -> None:
        """Make a population of the first evaluated candidates."""

    @abstractmethod
    def _breed(self) -> Individual | None:
        """Mate a child that was not proposed before, or return None if none is found."""

    @abstractmethod
    def _learn(self, individual: Individual) -> None:
        """Select between the population and an evaluated candidate."""


class Unseen(DuplicateElimination):  # type: ignore[misc]  # pymoo has no types
    """Drops points whose genotypes were proposed, or occur before in the same batch.

    Args:
        cube: the domain.
        seen: genotypes that were proposed; the caller's own set, which grows.
    """

    def __init__(self, cube: UnitCube, seen: set[Genotype]) -> None:
        super().__init__()
        self._cube = cube
        self._seen = seen

    def _do(
        self, pop: Any, other: Any, is_duplicate: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Mark what to drop of `pop`, whose other part of the batch is `other`."""
        batch = {self._cube.genotype(one.X) for one in other} if other is not None else set()
        for index, one in enumerate(pop):
            genotype = self._cube.genotype(one.X)
            is_duplicate[index] = genotype in batch or (other is None and genotype in self._seen)
            if other is None:
                batch.add(genotype)
        return is_duplicate


def evaluate(individual: Individual, trial: Trial, n_objectives: int) -> None:
    """Give a candidate the costs F of its trial and the constraint G: above 0 if it failed."""
    failed = trial.costs is None
    costs = (0.0,) * n_objectives if trial.costs is None else trial.costs
    individual.F = np.array([bounded(cost) for cost in costs])
    individual.G = np.array([float(failed)])


def completed(individual: Individual) -> bool:
    """Say whether an evaluated candidate completed."""
    return bool(individual.G[0] <= 0)
