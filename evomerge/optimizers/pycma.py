"""CMA-ES as pycma comes: in the genes' own units, without bounds, one run from the initial point.

What a script gets that hands pycma a start, a step and a budget, candidate for candidate: numbers
take no way through the unit cube, whose rounding would in time turn the axes of a search another
way. `cma_es` is the better algorithm wherever old runs need not be met again. Around pycma:

- Candidates outside a gene's range are evaluated at its bound and learnt from where they were.
- Failures rank below the worst completed candidate of their generation.
- A generation in which no two costs differ is drawn again, where pycma would end the run. This
  cannot be done to samples that pycma injects, from 300 genes on (two-point step-size adaptation)
  or below 6 candidates (mirrored samples): there it is learnt from like any other.
- All randomness comes from a private generator, and no clock is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cma
import numpy as np

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers.arguments import checked_domain, flag, integer, number
from evomerge.optimizers.cma_es import FLAT_GENERATIONS
from evomerge.optimizers.costs import ranked_costs
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial


class Pycma(Generational):
    """Covariance matrix adaptation by pycma's own defaults, for one objective.

    Args:
        domain: what to vary; two continuous genes or more, on linear scales.
        n_objectives: 1.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first; the search does not learn
            from them.
        sigma0: first standard deviation of every gene, in its own units.
        population: candidates a generation; 4 + floor(3 ln n) by default.

    Raises:
        ConfigError: an option is out of range, or there are several objectives.
        SpaceError: the genes are of another kind.
    """

    needs = Needs(objectives="one", compares="generation", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        sigma0: float = 1 / 6,
        population: int | None = None,
    ) -> None:
        self._domain = checked_domain(domain)
        for gene in domain.genes:
            if gene.kind != "continuous" or gene.log:
                raise SpaceError(
                    f"gene '{gene.name}' is not continuous on a linear scale, and pycma varies "
                    "nothing else; use cma_es"
                )
        if len(domain) < 2:
            raise SpaceError("pycma needs two genes or more; use cma_es")
        if n_objectives != 1:
            raise ConfigError([f"optimizer: pycma takes 1 objective, got {n_objectives}"])
        options: dict[str, Any] = {
            "tolflatfitness": FLAT_GENERATIONS,
            "randn": self._standard_normal,
            "seed": math.nan,  # leaves numpy's global generator alone
            "timeout": math.inf,
            "verbose": -9,
            "verb_log": 0,
            "verb_disp": 0,
            "signals_filename": "",  # None would mean the default file
        }
        if population is not None:
            options["popsize"] = integer("population", population, 3)
        self._random = np.random.default_rng(integer("seed", seed, 0))
        step = number("sigma0", sigma0, above=0)
        super().__init__(n_objectives)
        self._strategy = cma.CMAEvolutionStrategy(np.array(domain.initial), step, options)
        self._points: list[Any] = []
        self._number = 0
        self._flat = 0
        if flag("seeds", seeds):
            self._generation = Generation(known_points(domain))
        else:
            self._draw()

    @property
    def population(self) -> int:
        """Candidates a generation."""
        return int(self._strategy.popsize)

    def _standard_normal(self, *shape: int) -> Any:
        return self._random.standard_normal(shape)

    def _draw(self) -> None:
        """Sample the next generation."""
        self._number += 1
        self._points = self._strategy.ask()
        origin = f"pycma:gen{self._number}"
        self._generation = Generation([Proposal(self._within(x), origin) for x in self._points])

    def _within(self, point: Sequence[float]) -> Genotype:
        return tuple(
            min(max(float(value), gene.low), gene.high)
            for gene, value in zip(self._domain.genes, point, strict=True)
        )

    def _advance(self, trials: Sequence[Trial]) -> None:
        if self._number:
            self._learn(trials)
        if self._stopped is None:
            self._draw()

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Update the distribution, and say when the search is over."""
        costs = ranked_costs([None if t.costs is None else t.costs[0] for t in trials])
        if costs is not None:
            self._flat = 0
            self._strategy.tell(self._points, costs)
            criteria = self._strategy.stop()
            self._stopped = f"pycma: {', '.join(criteria)}" if criteria else None
        else:
            self._flat += 1
            if self._strategy.mean_shift_samples or self._strategy.sp.lam_mirr:
                self._strategy.tell(self._points, [0.0] * len(trials))
            if self._flat >= FLAT_GENERATIONS:
                self._stopped = (
                    f"pycma: {FLAT_GENERATIONS} generations in a row without two different costs"
                )
