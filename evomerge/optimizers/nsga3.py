"""NSGA-III by pymoo: survival by niches along reference directions.

Source: Deb and Jain, 2014, 'An Evolutionary Many-Objective Optimization Algorithm Using
Reference-Point-Based Nondominated Sorting Approach, Part I'; constraints from Part II (Jain and
Deb, 2014). What is ours around it is what `pymoo_search` says, and:

- Directions are those of `reference_directions` for the population; where these are fewer, the
  population is larger than their number, as in the paper.
- The normalisation of the paper has no unit, but pymoo counts distances below 1e-3 as none and
  ranges below 1e-6 as empty. Costs are told to it in units of their range so far, rounded down to a
  power of two, which changes no digit.
- The tournament between two infeasible candidates draws from the algorithm's generator; pymoo's own
  takes a fresh one that nobody seeds, and a search could not be replayed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga3 import (
    NSGA3,
    HyperplaneNormalization,
    ReferenceDirectionSurvival,
)
from pymoo.operators.selection.tournament import TournamentSelection

from evomerge.optimizers.arguments import integer
from evomerge.optimizers.mixed_variation import Floats
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.pymoo_search import GenerationalSearch, UnitCube
from evomerge.optimizers.reference_directions import reference_directions
from evomerge.spaces.domain import Domain
from evomerge.types import Trial

_NO_RANGE = 1e-300  # a range whose inverse would not be finite


class Nsga3(GenerationalSearch):
    """Non-dominated sorting with reference directions, for three or more objectives.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: two or more.
        seed: source of all randomness.
        seeds: make the domain's seeds and initial point part of generation 0.
        population: candidates a generation, and survivors of each; it decides how many
            directions there are.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents. The
            paper has 30, since parents from different niches lie far apart.
        mutation_probability: of polynomial mutation, for each child; in a mutated child a gene
            changes with probability 1/n.
        mutation_eta: its distribution index; larger makes smaller steps.

    Raises:
        ConfigError: an option is out of range, or the population is smaller than the number of
            objectives.
    """

    needs = Needs(objectives="many", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        population: int = 24,
        crossover_probability: float = 1.0,
        crossover_eta: float = 30.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 20.0,
    ) -> None:
        cube = UnitCube(domain)
        integer("n_objectives", n_objectives, 2)
        population = integer("population", population, 2)
        first = cube.first_points(population, seed, seeds=seeds)
        operators = cube.operators(
            crossover_probability, crossover_eta, mutation_probability, mutation_eta
        )
        directions = reference_directions(n_objectives, population)
        survival = ReferenceDirectionSurvival(directions)
        survival.norm = _RelativeNormalization(n_objectives)
        algorithm = NSGA3(
            directions,
            pop_size=population,
            sampling=first.points,
            selection=TournamentSelection(func_comp=_feasible_or_random),
            survival=survival,
            output=None,
            seed=seed,
            **operators,
        )
        super().__init__("nsga3", cube, n_objectives, first, algorithm)

    def _learn(self, trials: Sequence[Trial]) -> None:
        # pymoo silences all warnings of the process when it solves for the hyperplane.
        with warnings.catch_warnings():
            super()._learn(trials)


class _RelativeNormalization(HyperplaneNormalization):  # type: ignore[misc]  # pymoo has no types
    """pymoo's normalisation with its fixed thresholds in units of the range of each objective."""

    ideal_point: Floats
    worst_point: Floats
    nadir_point: Floats | None
    extreme_points: Floats | None

    def update(self, F: Floats, nds: npt.NDArray[np.intp] | None = None) -> None:
        """Learn costs (n_points, n_objectives), of which `nds` are not dominated."""
        low = np.minimum(self.ideal_point, F.min(axis=0))
        span = np.maximum(self.worst_point, F.max(axis=0)) - low
        unit = np.exp2(np.floor(np.log2(np.where(span > _NO_RANGE, span, 1.0))))
        self._scale(1 / unit)
        super().update(F / unit, nds)
        self._scale(unit)

    def _scale(self, factor: Floats) -> None:
        self.ideal_point = self.ideal_point * factor
        self.worst_point = self.worst_point * factor
        if self.extreme_points is not None:
            self.extreme_points = self.extreme_points * factor
        if self.nadir_point is not None:
            self.nadir_point = self.nadir_point * factor


def _feasible_or_random(
    pop: Any, P: npt.NDArray[np.intp], *, random_state: np.random.Generator, **_: Any
) -> npt.NDArray[np.intp]:
    """Choose the feasible one of each pair P, (n_pairs, 2), and one at random among equals."""
    chosen = [
        a
        if pop[a].CV[0] < pop[b].CV[0]
        else b
        if pop[b].CV[0] < pop[a].CV[0]
        else random_state.choice([a, b])
        for a, b in P
    ]
    return np.array(chosen, dtype=np.intp)[:, None]
