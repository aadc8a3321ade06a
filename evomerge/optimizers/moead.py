"""MOEA/D on pymoo's parts: one single-objective problem for each reference direction.

Source: Zhang and Li, 2007, 'MOEA/D: A Multiobjective Evolutionary Algorithm Based on
Decomposition'. The subproblems take turns in random order. A child of parents from the
neighbourhood of its subproblem replaces every neighbour that it beats there. One evaluation after
the other this is pymoo's `MOEAD`; with several workers a child is bred from the population of that
moment, and replaces others when it is told. pymoo's `ParallelMOEAD` is not used: it breeds a whole
generation at a time, and hands a child of one subproblem to the neighbourhood of another one
(`Crossover.do` returns all first children before all second ones, and it takes them in pairs).

What differs from pymoo's `MOEAD` besides what `pymoo_search` says:

- Costs are normalised as in the paper: 0 at the ideal, the best cost seen of each objective, and 1
  at the largest cost in the population. pymoo subtracts the ideal only, so that the objective with
  the largest unit would rule.
- MOEA/D knows no constraints. A failed candidate replaces nobody, and every completed one replaces
  it in every subproblem: it counts as infinitely far from the ideal.
- Each subproblem starts with a candidate of its own, such that the sum of the scalarised costs is
  least; the paper assigns them at random, which would waste what is known of donors.
- No genotype is proposed twice; where the neighbourhood consists of copies, others are mated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pymoo.algorithms.moo.moead import NeighborhoodSelection
from pymoo.core.individual import Individual
from pymoo.core.mating import Mating
from pymoo.core.population import Population
from pymoo.decomposition.pbi import PBI
from pymoo.decomposition.tchebicheff import Tchebicheff
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from evomerge.optimizers.arguments import choice, flag, integer, number
from evomerge.optimizers.exhaustion import TRIES
from evomerge.optimizers.mixed_variation import Floats
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.pymoo_search import SteadySearch, UnitCube, completed
from evomerge.optimizers.reference_directions import reference_directions
from evomerge.spaces.domain import Domain

NEIGHBOURS = 0.2
"""Share of the population in a neighbourhood: 20 of 100 in the paper."""

FEWEST_NEIGHBOURS = 4
"""The smallest neighbourhood by default; two parents come from it."""

PENALTY = 5.0
"""Weight of the distance from the direction in the penalty boundary intersection."""

_NO_RANGE = 1e-200  # by which costs cannot be divided and stay finite
_FARTHEST = 1e100  # its square is finite


class Moead(SteadySearch):
    """Decomposition into subproblems that help one another, steady-state; never waits.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: two or more.
        seed: source of all randomness.
        seeds: propose the domain's seeds and initial point first.
        population: how many subproblems at most; those of `reference_directions`.
        neighbours: subproblems that mate with one another and share children; a fifth of the
            population by default, at least four.
        decomposition: how a direction combines the normalised costs: 'tchebycheff', max w_k z_k,
            or 'pbi', the distance along the direction plus 5 times the distance from it. 'auto'
            takes Tchebycheff for two objectives and PBI, whose points lie more evenly, for more.
        normalize: divide costs by their range; without it they must have like units.
        neighbour_mating: probability that parents come from the neighbourhood instead of the whole
            population.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents.
        mutation_probability: of polynomial mutation, for each child; in a mutated child a gene
            changes with probability 1/n.
        mutation_eta: its distribution index; larger makes smaller steps.

    Raises:
        ConfigError: an option is out of range, or the population is smaller than the number of
            objectives.
    """

    needs = Needs(objectives="many")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        population: int = 24,
        neighbours: int | None = None,
        decomposition: Literal["auto", "tchebycheff", "pbi"] = "auto",
        normalize: bool = True,
        neighbour_mating: float = 0.9,
        crossover_probability: float = 1.0,
        crossover_eta: float = 20.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 20.0,
    ) -> None:
        cube = UnitCube(domain)
        integer("n_objectives", n_objectives, 2)
        self._directions = reference_directions(n_objectives, integer("population", population, 2))
        n_directions = len(self._directions)
        if neighbours is None:
            neighbours = max(round(NEIGHBOURS * n_directions), FEWEST_NEIGHBOURS)
        neighbours = min(integer("neighbours", neighbours, 2), n_directions)
        distances = cdist(self._directions, self._directions)
        self._neighbours = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
        kind = choice("decomposition", decomposition, ("auto", "tchebycheff", "pbi"))
        if kind == "auto":
            kind = "tchebycheff" if n_objectives == 2 else "pbi"
        self._decomposition = Tchebicheff() if kind == "tchebycheff" else PBI(theta=PENALTY)
        self._normalize = flag("normalize", normalize)
        self._selection = NeighborhoodSelection(
            prob=number("neighbour_mating", neighbour_mating, 0, 1)
        )
        first = cube.first_points(n_directions, seed, seeds=seeds)
        operators = cube.operators(
            crossover_probability, crossover_eta, mutation_probability, mutation_eta
        )
        super().__init__("moead", cube, n_objectives, first, seed)
        self._mating = Mating(None, eliminate_duplicates=self._unseen, **operators)
        self._problem = cube.problem(n_objectives, constrained=False)
        self._variation = np.random.default_rng(seed)
        self._turns: deque[int] = deque()  # subproblems that were not bred for in this round
        self._ideal = np.full(n_objectives, np.inf)
        self._population: Any = None

    def _begin(self, told: Sequence[Individual]) -> None:
        """Assign a candidate to each subproblem, and the best one where there are too few."""
        self._population = Population.create(*told)
        self._see(told)
        costs = self._scalarised(self._population, self._directions)  # (n_told, n_directions)
        finite = costs[np.isfinite(costs)]
        # What a failure costs decides nothing but who may keep the subproblems that are left over.
        worst = 1.0 + 2.0 * (finite.max() - finite.min()) + finite.max() if len(finite) else 0.0
        costs = np.where(np.isfinite(costs), costs, worst)
        owners = costs.argmin(axis=0)
        candidates, subproblems = linear_sum_assignment(costs)
        owners[subproblems] = candidates
        self._population = self._population[owners]

    def _breed(self) -> Individual | None:
        """Mate for the subproblem whose turn it is."""
        if not self._turns:
            self._turns.extend(self._variation.permutation(len(self._population)).tolist())
        turn = self._turns.popleft()
        for _ in range(TRIES):
            parents = self._selection.do(
                self._problem,
                self._population,
                1,
                2,
                neighbors=[self._neighbours[turn]],
                random_state=self._variation,
            )
            child = self._mating.do(
                self._problem,
                self._population,
                1,
                parents=parents,
                n_max_iterations=1,
                random_state=self._variation,
            )
            if len(child):
                child[0].set("subproblem", turn)
                return child[0]
        return None

    def _learn(self, individual: Individual) -> None:
        """Let a candidate replace the neighbours that it beats."""
        turn = individual.get("subproblem")
        if not completed(individual):
            return
        self._see([individual])
        everybody = np.arange(len(self._population))
        gain = self._gain(individual, everybody)
        if turn is None:  # a first point told late: the subproblem that it improves most is its own
            turn = int(gain.argmax())
        around = self._neighbours[turn]
        self._population[around[gain[around] > 0]] = individual

    def _see(self, individuals: Sequence[Individual]) -> None:
        """Move the ideal."""
        for one in individuals:
            if completed(one):
                self._ideal = np.minimum(self._ideal, one.F)

    def _gain(self, individual: Individual, subproblems: Any) -> Floats:
        """Return by how much a candidate beats the owners of subproblems, (n_subproblems,)."""
        directions = self._directions[subproblems]
        owners = self._scalarised(self._population[subproblems], directions, paired=True)
        challenger = self._scalarised(Population.create(individual), directions)[0]
        return np.asarray(owners - challenger)

    def _scalarised(self, candidates: Any, directions: Floats, *, paired: bool = False) -> Floats:
        """Return what candidates cost along directions; failed ones cost infinity.

        Args:
            candidates: a population of n_candidates.
            directions: (n_directions, n_objectives).
            paired: the i-th candidate along the i-th direction only.

        Returns:
            (n_candidates, n_directions), or (n_candidates,) if paired.
        """
        alive = np.array([completed(one) for one in candidates])
        ideal = np.where(np.isfinite(self._ideal), self._ideal, 0.0)
        costs = np.where(alive[:, None], candidates.get("F"), ideal)
        normalized = np.minimum((costs - ideal) / self._unit(ideal), _FARTHEST)
        result = self._decomposition.do(
            normalized,
            directions,
            _type="one_to_one" if paired else "many_to_many",
        )
        result = np.array(result)
        result[~alive] = np.inf
        return result

    def _unit(self, ideal: Floats) -> Floats:
        """Return the distance from the ideal to the largest costs in the population, or ones."""
        costs = [one.F for one in self._population if completed(one)]
        if not self._normalize or not costs:
            return np.ones_like(ideal)
        span = np.max(costs, axis=0) - ideal
        return np.where(span > _NO_RANGE, span, 1.0)
