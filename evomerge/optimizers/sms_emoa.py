"""SMS-EMOA by pymoo: the candidate that adds least to the hypervolume is dropped.

Source: Beume, Naujoks and Emmerich, 2007, 'SMS-EMOA: Multiobjective Selection Based on Dominated
Hypervolume'. As in the paper one child at a time is bred and selected; with several workers a child
is bred from the population of that moment, and selected when it is told. What is ours around pymoo
is what `pymoo_search` says, and:

- pymoo's hypervolume is that of costs normalised by the range of the population, up to a reference
  point 11 ranges from the ideal, so that units do not matter and the ends of a front stay.
- A failed candidate is infeasible, and any completed one drives it out. pymoo takes the range over
  all of the population: there a failed candidate stands where some completed one stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination

from evomerge.optimizers.arguments import integer
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.pymoo_search import SteadySearch, UnitCube, completed
from evomerge.spaces.domain import Domain


class SmsEmoa(SteadySearch):
    """Selection by hypervolume, steady-state; never waits.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: two or more; time grows steeply from five on.
        seed: source of all randomness.
        seeds: propose the domain's seeds and initial point first.
        population: survivors of each selection.
        n_offsprings: children bred from one population, and told before the next selection; with
            as many as the population it is a generational algorithm, which still never waits.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents.
        mutation_probability: of polynomial mutation, for each child; in a mutated child a gene
            changes with probability 1/n.
        mutation_eta: its distribution index; larger makes smaller steps.

    Raises:
        ConfigError: an option is out of range.
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
        n_offsprings: int = 1,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 20.0,
    ) -> None:
        cube = UnitCube(domain)
        integer("n_objectives", n_objectives, 2)
        population = integer("population", population, 2)
        self._n_offsprings = integer("n_offsprings", n_offsprings, 1)
        first = cube.first_points(population, seed, seeds=seeds)
        operators = cube.operators(
            crossover_probability, crossover_eta, mutation_probability, mutation_eta
        )
        super().__init__("sms_emoa", cube, n_objectives, first, seed)
        self._algorithm = SMSEMOA(
            pop_size=population,
            sampling=first.points,
            n_offsprings=self._n_offsprings,
            eliminate_duplicates=self._unseen,
            output=None,
            seed=seed,
            **operators,
        )
        problem = cube.problem(n_objectives, constrained=True)
        self._algorithm.setup(problem, termination=NoTermination())
        self._algorithm.ask()  # opens the algorithm; it would sample the points that are ours
        self._children: deque[Individual] = deque()  # bred, not proposed yet
        self._finished: list[Individual] = []  # told, not selected yet

    def _begin(self, told: Sequence[Individual]) -> None:
        self._algorithm.tell(infills=Population.create(*told))

    def _breed(self) -> Individual | None:
        if not self._children:
            children = self._algorithm.ask()
            if children is None:
                self._algorithm.termination.force_termination = False  # a drawn point may help
                return None
            self._children.extend(children)
        return self._children.popleft()

    def _learn(self, individual: Individual) -> None:
        self._finished.append(individual)
        if len(self._finished) == self._n_offsprings:
            _place_failed([*self._algorithm.pop, *self._finished])
            self._algorithm.tell(infills=Population.create(*self._finished))
            self._finished = []


def _place_failed(individuals: Sequence[Individual]) -> None:
    """Give failed candidates the costs of a completed one, which keep to the range."""
    costs = next((one.F for one in individuals if completed(one)), None)
    for one in individuals:
        if costs is not None and not completed(one):
            one.F = costs.copy()
