"""Directions on the unit simplex that spread a population over a front of any number of objectives.

- Up to three objectives: Das and Dennis (1998), 'Normal-Boundary Intersection', the points whose
  coordinates are multiples of 1/p, for the largest p that does not need more than are wanted: all
  of them for two objectives, 21 of 24 for three.
- From four objectives on the sizes of that lattice lie far apart: with five objectives it has 15
  points, which all lie on edges, or 35. There the Riesz s-energy of exactly as many points as are
  wanted is minimised (Blank et al., 2021, 'Generating Well-Spaced Points on a Unit Simplex for
  Evolutionary Many-Objective Optimization'). They take a few seconds, once in a process, and depend
  on nothing but the two numbers.

Both are pymoo's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pymoo.util.ref_dirs import get_reference_directions
from pymoo.util.reference_direction import get_partition_closest_to_points

from evomerge.errors import ConfigError
from evomerge.optimizers.mixed_variation import Floats

LATTICE_OBJECTIVES = 3
"""The most objectives for which Das and Dennis' lattice is used."""

_ENERGY_SEED = 1  # of the points that the minimisation of the energy starts from


def reference_directions(n_objectives: int, population: int) -> Floats:
    """Return at most `population` directions, (n_directions, n_objectives); rows sum to 1.

    Raises:
        ConfigError: there are fewer candidates than objectives, so that not even each objective
            alone gets a direction.
    """
    if population < n_objectives:
        raise ConfigError(
            [
                f"population: expected at least one candidate for each of the {n_objectives} "
                f"objectives, got {population}"
            ]
        )
    return _directions(n_objectives, population).copy()


@lru_cache(maxsize=8)
def _directions(n_objectives: int, population: int) -> Floats:
    if n_objectives <= LATTICE_OBJECTIVES:
        partitions = get_partition_closest_to_points(population, n_objectives)
        directions = get_reference_directions("das-dennis", n_objectives, n_partitions=partitions)
    else:
        directions = get_reference_directions("energy", n_objectives, population, seed=_ENERGY_SEED)
    return np.asarray(directions, dtype=np.float64)
