"""Decomposition by random preferences: each child is bred for one Dirichlet-drawn weighting.

An almost free baseline for fronts, put together from

- HM3 (arXiv 2409.18893): preferences lambda ~ Dirichlet(1, ..., 1), uniform on the simplex, serve
  both as weights of a Tchebycheff function of the objectives and as merge weights of the donors.
  Its layer paths and its reinforcement learning are not here, and its merge weights were never
  searched: here they are the initial design.
- MOGLS (Jaszkiewicz, 2002, 'Genetic local search for multi-objective combinatorial optimization'):
  a search that draws such a weighting for every step, takes the best few of all that is known for
  this weighting, and mates two of them at random. Its local search would take many merges a step;
  mutation stands in its place.
- Steuer and Choo (1983): the augmented weighted Tchebycheff function
  max_k lambda_k z_k + rho sum_k lambda_k z_k, whose minima reach concave parts of a front, which
  those of a weighted sum do not, and are never only weakly efficient; rho = 0.05 as in ParEGO
  (Knowles, 2006).

Ours: z_k is 0 at the ideal of what was evaluated and 1 at its nadir, the worst costs on the front;
half of the initial design fills the domain, since seeds span no more than the weights of donors;
weights of donors sum to a number between 1 and 2, since the best sum is often above 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.mating import Mating
from pymoo.core.population import Population
from scipy.stats import qmc

from evomerge.optimizers.arguments import integer
from evomerge.optimizers.exhaustion import TRIES
from evomerge.optimizers.mixed_variation import Floats
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.pymoo_search import FirstPoints, SteadySearch, UnitCube, completed
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain

RHO = 0.05
"""Weight of the sum in the augmented Tchebycheff function."""

LARGEST_SUM = 2.0
"""Of the merge weights in the initial design; the smallest is 1."""

_NO_RANGE = 1e-200  # by which costs cannot be divided and stay finite
_FARTHEST = 1e100  # its products stay finite
_ORIGIN, _MEAN = "base", "uniform"  # names of the seeds that are no donors


class Dirichlet(SteadySearch):
    """Random preferences, a Tchebycheff function and a genetic step; never waits.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: two or more.
        seed: source of all randomness.
        seeds: propose the domain's seeds and initial point first.
        design: points after those, before children are bred.
        elite: how many of the best candidates for a preference are its parents; two are mated.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents. Here
            it is smaller than in the genetic algorithms: parents that are best for one preference
            lie close together, and tens of evaluations leave no time for small steps.
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
        design: int = 20,
        elite: int = 5,
        crossover_probability: float = 0.9,
        crossover_eta: float = 3.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 5.0,
    ) -> None:
        cube = UnitCube(domain)
        integer("n_objectives", n_objectives, 2)
        self._elite = integer("elite", elite, 2)
        operators = cube.operators(
            crossover_probability, crossover_eta, mutation_probability, mutation_eta
        )
        known = cube.first_points(0, seed, seeds=seeds)
        random = np.random.default_rng([seed, 2])
        designed = _design(cube, integer("design", design, 2), random, by_seeds=seeds)
        first = FirstPoints(np.vstack([known.points, designed]), known.exact)
        super().__init__("dirichlet", cube, n_objectives, first, seed)
        self._mating = Mating(None, eliminate_duplicates=self._unseen, **operators)
        self._problem = cube.problem(n_objectives, constrained=False)
        self._variation = np.random.default_rng([seed, 3])
        self._completed: list[Individual] = []
        self._costs = np.empty((0, n_objectives))
        self._front = np.empty((0, n_objectives))

    def _begin(self, told: Sequence[Individual]) -> None:
        for individual in told:
            self._learn(individual)

    def _learn(self, individual: Individual) -> None:
        if completed(individual):
            self._completed.append(individual)
            costs = individual.F
            self._costs = np.vstack([self._costs, costs])
            if not (self._front <= costs).all(axis=1).any():
                beaten = (costs <= self._front).all(axis=1)
                self._front = np.vstack([self._front[~beaten], costs])

    def _breed(self) -> Individual | None:
        """Mate two of the best for a new preference."""
        if len(self._completed) < 2:
            return None
        weights = preference(self._costs.shape[1], self._variation)
        order = np.argsort(scalarised(self._costs, weights, self._front), kind="stable")
        elite = Population.create(*(self._completed[index] for index in order[: self._elite]))
        for _ in range(TRIES):
            pair = self._variation.choice(len(elite), 2, replace=False)
            child = self._mating.do(
                self._problem,
                elite,
                1,
                parents=elite[pair[None]],
                n_max_iterations=1,
                random_state=self._variation,
            )
            if len(child):
                return child[0]
        return None


def preference(n_objectives: int, random: np.random.Generator) -> Floats:
    """Draw weights uniformly from the simplex, (n_objectives,): Dirichlet(1, ..., 1)."""
    shares = random.standard_exponential(n_objectives)
    return np.asarray(shares / shares.sum())


def scalarised(costs: Floats, weights: Floats, front: Floats) -> Floats:
    """Return the augmented Tchebycheff function of normalised costs, (n_points,).

    Args:
        costs: minimised, (n_points, n_objectives), of everything that was evaluated.
        weights: of the objectives, (n_objectives,).
        front: the costs that no others dominate, (n_front, n_objectives).
    """
    ideal = costs.min(axis=0)
    span = front.max(axis=0) - ideal
    # One point may be the best in every objective: then the worst of all points is the scale.
    span = np.where(span > _NO_RANGE, span, costs.max(axis=0) - ideal)
    span = np.where(span > _NO_RANGE, span, 1.0)
    terms = weights * np.minimum((costs - ideal) / span, _FARTHEST)
    return np.asarray(terms.max(axis=1) + RHO * terms.sum(axis=1))


def _design(cube: UnitCube, count: int, random: np.random.Generator, *, by_seeds: bool) -> Floats:
    """Return the initial design, (count, n_genes): merges by preference and points in turn."""
    merges = _preferred_merges(cube, count // 2 if by_seeds else 0, random)
    others = _spread(cube, count - len(merges), random)
    points = np.empty((count, len(cube.domain)))
    points[0 : 2 * len(merges) : 2] = merges
    points[1 : 2 * len(merges) : 2] = others[: len(merges)]
    points[2 * len(merges) :] = others[len(merges) :]
    return cube.canonical(points)


def _spread(cube: UnitCube, count: int, random: np.random.Generator) -> Floats:
    """Return points that fill the domain: scrambled Sobol ones, or drawn where genes say how."""
    n_genes = len(cube.domain)
    if is_shaped(cube.domain) or n_genes > qmc.Sobol.MAXDIM:
        return cube.drawn(count, random)
    engine = qmc.Sobol(n_genes, scramble=True, seed=random)
    return np.array([engine.random(1)[0] for _ in range(count)]).reshape(count, n_genes)


def _preferred_merges(cube: UnitCube, count: int, random: np.random.Generator) -> Floats:
    """Return base + s sum_i lambda_i (donor_i - base) on the unit cube, (count, n_genes).

    s is uniform in [1, 2], or 1 without a base: then it is the mean of the donors by lambda. Empty
    where the domain's seeds are not of that kind: fewer than two donors, or such as differ in a
    gene that is not continuous.
    """
    domain = cube.domain
    seeds = {seed.name: np.array(domain.to_unit(seed.genotype)) for seed in domain.seeds}
    donors = np.array([row for name, row in seeds.items() if name not in (_ORIGIN, _MEAN)])
    if len(donors) < 2 or domain.sequence is not None:
        return np.empty((0, len(domain)))
    base = seeds.get(_ORIGIN, np.zeros(len(domain)))
    largest = LARGEST_SUM if _ORIGIN in seeds else 1.0
    corners = np.vstack([donors, base]) if _ORIGIN in seeds else donors
    discrete = np.array([gene.kind != "continuous" for gene in domain.genes])
    if (corners[:, discrete] != corners[0, discrete]).any():
        return np.empty((0, len(domain)))
    merges = np.empty((count, len(domain)))
    for row in merges:
        share = preference(len(donors), random) * random.uniform(1.0, largest)
        row[:] = np.clip(base + share @ (donors - base), 0.0, 1.0)
    merges[:, discrete] = corners[0, discrete]
    return merges
