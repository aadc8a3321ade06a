"""NSGA-II by pymoo (Deb et al., 2002, 'A fast and elitist multiobjective genetic algorithm').

What is ours around it is what `pymoo_search` says. With more known points than the population,
generation 0 is larger, and survival brings it down.
"""

from __future__ import annotations

from pymoo.algorithms.moo.nsga2 import NSGA2

from evomerge.optimizers.arguments import integer
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.pymoo_search import GenerationalSearch, UnitCube
from evomerge.spaces.domain import Domain


class Nsga2(GenerationalSearch):
    """Non-dominated sorting genetic algorithm for one or, better, several objectives.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: any number.
        seed: source of all randomness.
        seeds: make the domain's seeds and initial point part of generation 0.
        population: candidates a generation, and survivors of each.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents.
        mutation_probability: of polynomial mutation, for each child; in a mutated child a gene
            changes with probability 1/n.
        mutation_eta: its distribution index; larger makes smaller steps.

    Raises:
        ConfigError: an option is out of range.
    """

    needs = Needs(objectives="any", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        population: int = 24,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 20.0,
    ) -> None:
        cube = UnitCube(domain)
        integer("n_objectives", n_objectives, 1)
        population = integer("population", population, 2)
        first = cube.first_points(population, seed, seeds=seeds)
        operators = cube.operators(
            crossover_probability, crossover_eta, mutation_probability, mutation_eta
        )
        algorithm = NSGA2(
            pop_size=population, sampling=first.points, output=None, seed=seed, **operators
        )
        super().__init__("nsga2", cube, n_objectives, first, algorithm)
