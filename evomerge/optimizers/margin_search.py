"""The loop around the distributions of the `cmaes` package: known points, generations, failures.

A generation is drawn at once and learnt at once, whatever the order of its tells.

- Failures rank below the worst completed candidate. A generation in which no two completed costs
  differ carries no ranking: the distribution stays as it was and is drawn from again.
- Ties go to the candidate that uses fewer genes (`Domain.n_used`): on a layer path the one that
  spells fewer layers before repair, a band counting once. What still ties keeps the order of
  drawing, which is random.
- The library is told places (0, 1, 2, ...) instead of costs. It uses their order only, but for a
  penalty on samples beyond the bounds, by the interquartile range of costs; the median of the
  ranges seen so far is NaN after a first generation full of ties.

Restarts are left to `cma_es`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers.arguments import checked_domain, choice, flag, integer
from evomerge.optimizers.costs import ranked_costs, ranks
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.protocol import Proposal
from evomerge.optimizers.starting import start_point
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import Genotype, Trial

SMALLEST_POPULATION = 4
"""Below it the learning rates of CMA-ES divide by zero."""

LARGEST_COVARIANCE = 1000
"""Variables of a full covariance matrix: its update holds one matrix per candidate in memory, 1 GB
for 128 candidates, and takes cubic time."""


class Distribution(Protocol):
    """What a search samples from and moves."""

    @property
    def population_size(self) -> int:
        """Candidates a generation."""
        ...

    def sample(self) -> tuple[Any, Genotype]:
        """Draw a candidate: as the distribution learns from it, and as it is proposed."""
        ...

    def learn(self, samples: Sequence[tuple[Any, float]]) -> None:
        """Move by a whole generation of samples and their places, 0.0 for the best."""
        ...

    def converged(self) -> bool:
        """Say whether its numbers leave no room for another step."""
        ...


class MarginSearch(Generational):
    """One-objective search with a distribution that starts at a known point.

    Args:
        name: of the optimizer, for origins and messages.
        domain: what to vary.
        n_objectives: 1.
        seeds: evaluate the domain's seeds and initial point first.
        start: 'best' starts at the best of those, 'initial' at the initial point.
    """

    def __init__(
        self, name: str, domain: Domain, n_objectives: int, seeds: bool, start: str
    ) -> None:
        if n_objectives != 1:
            raise ConfigError([f"optimizer: {name} takes 1 objective, got {n_objectives}"])
        self._name = name
        self._domain = domain
        super().__init__(n_objectives)
        self._start_at_best = choice("start", start, ("best", "initial")) == "best"
        self._number = 0
        self._samples: list[Any] = []
        self._distribution: Distribution | None = None
        known = known_points(domain) if flag("seeds", seeds) else ()
        if known:
            self._generation = Generation(known)
        else:
            self._begin(())

    @property
    def distribution(self) -> Distribution | None:
        """What candidates are drawn from; None before the known points are told."""
        return self._distribution

    @abstractmethod
    def _distribution_at(self, point: Genotype) -> Distribution:
        """Return the distribution that a search starts with at a point."""

    def _advance(self, trials: Sequence[Trial]) -> None:
        if self._distribution is None:
            self._begin(trials)
        else:
            self._learn(self._distribution, trials)

    def _begin(self, known: Sequence[Trial]) -> None:
        point = start_point(self._domain, known, best=self._start_at_best)
        self._distribution = self._distribution_at(point)
        self._draw(self._distribution)

    def _learn(self, distribution: Distribution, trials: Sequence[Trial]) -> None:
        costs = ranked_costs([None if t.costs is None else t.costs[0] for t in trials])
        places = costs and ranks(costs, [self._domain.n_used(t.genotype) for t in trials])
        if places is not None:
            distribution.learn(list(zip(self._samples, places, strict=True)))
            if distribution.converged():
                self._stopped = f"{self._name}: the distribution has converged"
                return
        self._draw(distribution)

    def _draw(self, distribution: Distribution) -> None:
        self._number += 1
        drawn = [distribution.sample() for _ in range(distribution.population_size)]
        self._samples = [sample for sample, _ in drawn]
        origin = f"{self._name}:gen{self._number}"
        self._generation = Generation([Proposal(genotype, origin) for _, genotype in drawn])


def free_genes(name: str, domain: Domain) -> tuple[int, ...]:
    """List the genes with more than one value; the library accepts no others.

    Raises:
        SpaceError: there are none, or the domain is faulty.
    """
    free = tuple(
        index for index, gene in enumerate(checked_domain(domain).genes) if n_values(gene) != 1
    )
    if not free:
        raise SpaceError(f"{name}: every gene of the space has a single value; widen one")
    return free


def n_values(gene: Gene) -> int | None:
    """Count the values of a gene; None for a continuous one."""
    if gene.kind == "continuous":
        return None
    return len(gene.choices) if gene.kind == "categorical" else int(gene.high - gene.low) + 1


def check_covariance(name: str, n_variables: int) -> None:
    """Refuse more variables than a full covariance matrix can hold.

    Raises:
        SpaceError: naming what learns variances only.
    """
    if n_variables > LARGEST_COVARIANCE:
        raise SpaceError(
            f"{name} learns a full covariance of at most {LARGEST_COVARIANCE} variables and the "
            f"space has {n_variables}; use cma_es, which learns variances only above 100 genes"
        )


def library_seed(seed: int) -> int:
    """Turn any seed into the 32 bits that the library's private generators take.

    Raises:
        ConfigError: the seed is not an integer >= 0.
    """
    return int(np.random.SeedSequence(integer("seed", seed, 0)).generate_state(1)[0])
