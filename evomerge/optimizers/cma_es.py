"""CMA-ES with restarts on the unit cube, by pycma.

Sources: Hansen, 2016, 'The CMA Evolution Strategy: A Tutorial', arXiv 1604.00772; Auger and Hansen,
2005, for IPOP; Hansen, 2009, for BIPOP. What is ours around it:

- Known points. The domain's seeds and initial point are evaluated first; with `start: best` the
  mean of the first run is the best of them. The others are not injected: they are worse than the
  mean by construction and many standard deviations away, where Hansen (2011, 'Injecting external
  solutions into CMA-ES') would shorten them to a mere direction.
- Failures rank below the worst completed candidate of their generation, by its range of costs. A
  generation in which no two completed costs differ carries no ranking: it is drawn again and the
  distribution stays as it was.
- Integer and two-way categorical genes are searched as bins of the unit interval. Their standard
  deviation is kept large enough that a bin's neighbour is still drawn about once a generation (the
  margin of Hamano et al., 2022, arXiv 2205.13482). More than two unordered choices are refused.
- Genes may say where a search starts: a two-way gene with weights has its mean where its second
  choice is as likely as they say, and a gene with a spread its own first standard deviation.
- pycma does not support one variable: a single gene is joined by a second one without effect.
- All randomness comes from a private generator, and no clock is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from scipy.special import ndtri

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers.arguments import checked_domain, choice, flag, integer, number
from evomerge.optimizers.costs import ranked_costs
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.starting import is_shaped, start_point, threshold_mean, unit_spread
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial

FLAT_GENERATIONS = 10
"""Generations without a ranking before a run ends; pycma's default of 1 would end a run on the
ties that an accuracy over a few items produces."""


@dataclass(slots=True)
class _Run:
    """One run between restarts.

    Attributes:
        strategy: pycma's state.
        index: 0 for the first run.
        small: a BIPOP run with a small population.
        evaluations: told so far, failures included.
        limit: evaluations after which the run ends.
        generation: number of the generation that is out, from 1.
        flat: generations in a row that carried no ranking.
    """

    strategy: Any
    index: int
    small: bool
    limit: float
    evaluations: int = 0
    generation: int = 0
    flat: int = 0


class CmaEs(Generational):
    """Covariance matrix adaptation for one objective.

    Args:
        domain: what to vary; genes are continuous, integer or two-way categorical.
        n_objectives: 1.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first.
        start: 'best' starts at the best of those, 'initial' at the initial point.
        sigma0: first standard deviation, as a share of each gene's range, where a gene has no
            spread of its own.
        population: candidates a generation; 4 + floor(3 ln n) by default.
        restarts: when a run has converged or stalled, 'ipop' starts another from a random point
            with twice the population; 'bipop' also spends as much on runs with small ones; 'none'
            stops.
        max_restarts: how many runs may follow the first.
        separable: learn variances only, in linear time; 'auto' does so above 100 genes.

    Raises:
        ConfigError: an option is out of range, or there are several objectives.
        SpaceError: a categorical gene has more than two choices.
    """

    needs = Needs(objectives="one", compares="generation", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        start: Literal["best", "initial"] = "best",
        sigma0: float = 1 / 6,
        population: int | None = None,
        restarts: Literal["ipop", "bipop", "none"] = "ipop",
        max_restarts: int = 9,
        separable: bool | Literal["auto"] = "auto",
    ) -> None:
        self._domain = checked_domain(domain)
        for gene in domain.genes:
            if len(gene.choices) > 2:
                raise SpaceError(
                    f"gene '{gene.name}' has {len(gene.choices)} unordered choices and cma_es "
                    "handles two at most; use cat_cma, nsga2 or optuna"
                )
        if n_objectives != 1:
            raise ConfigError([f"optimizer: cma_es takes 1 objective, got {n_objectives}"])
        # pycma needs two variables: see the module's docstring.
        self._dimension = max(len(domain), 2)
        self._population = (
            4 + math.floor(3 * math.log(self._dimension))
            if population is None
            else integer("population", population, 3)
        )
        self._sigma0 = number("sigma0", sigma0, above=0, at_most=1)
        self._restarts = choice("restarts", restarts, ("ipop", "bipop", "none"))
        self._max_restarts = integer("max_restarts", max_restarts, 0)
        if separable == "auto":
            self._separable = len(domain) > 100
        else:
            self._separable = flag("separable", separable)
        self._start_at_best = choice("start", start, ("best", "initial")) == "best"
        # Two streams, so that what one draws never shifts another.
        streams = np.random.SeedSequence(integer("seed", seed, 0)).spawn(2)
        self._normals = np.random.default_rng(streams[0])
        self._restart_choices = np.random.default_rng(streams[1])
        super().__init__(n_objectives)
        self._evaluations = {False: 0, True: 0}  # by `_Run.small`
        self._n_large = 0  # restarts with a doubled population
        self._last_large = 0  # evaluations of the latest run that was not small
        self._run: _Run | None = None
        self._points: list[Any] = []
        known = known_points(domain) if flag("seeds", seeds) else ()
        if known:
            self._generation = Generation(known)
        else:
            self._begin(domain.initial)

    @property
    def population(self) -> int:
        """Candidates a generation, in the run at hand."""
        return self._population if self._run is None else int(self._run.strategy.popsize)

    @property
    def mean(self) -> tuple[float, ...]:
        """Centre of the search distribution on the unit cube, (n_genes,)."""
        if self._run is None:
            return tuple(self._unit(self._domain.initial, self._sigma0))
        strategy = self._run.strategy
        inside = strategy.boundary_handler.repair(strategy.mean.copy())
        return tuple(float(value) for value in inside[: len(self._domain)])

    @property
    def standard_deviations(self) -> tuple[float, ...]:
        """Width of the search distribution, as shares of the genes' ranges, (n_genes,)."""
        if self._run is None:
            spreads = [unit_spread(gene) for gene in self._domain.genes]
            return tuple(self._sigma0 if spread is None else spread for spread in spreads)
        return tuple(float(value) for value in self._run.strategy.stds[: len(self._domain)])

    @property
    def n_restarts(self) -> int:
        """How many runs followed the first."""
        return 0 if self._run is None else self._run.index

    @property
    def separable(self) -> bool:
        """Whether only variances are learnt."""
        return self._separable

    def _advance(self, trials: Sequence[Trial]) -> None:
        if self._run is None:
            self._begin(start_point(self._domain, trials, best=self._start_at_best))
        else:
            self._learn(self._run, trials)

    def _begin(self, point: Genotype) -> None:
        unit = self._unit(point, self._sigma0)
        self._run = _Run(
            self._strategy(unit, self._sigma0, self._population),
            index=0,
            small=False,
            limit=math.inf,
        )
        self._draw(self._run)

    def _draw(self, run: _Run) -> None:
        """Sample the next generation of a run."""
        run.generation += 1
        self._points = run.strategy.ask()
        prefix = f"cma:run{run.index + 1}:" if run.index else "cma:"
        origin = f"{prefix}gen{run.generation}"
        n_genes = len(self._domain)
        self._generation = Generation(
            [Proposal(self._domain.from_unit(x[:n_genes]), origin) for x in self._points]
        )

    def _learn(self, run: _Run, trials: Sequence[Trial]) -> None:
        """Update the distribution, then draw a generation, restart or stop."""
        run.evaluations += len(trials)
        self._evaluations[run.small] += len(trials)
        costs = ranked_costs([None if t.costs is None else t.costs[0] for t in trials])
        if costs is None:
            run.flat += 1
            ended = (
                f"{FLAT_GENERATIONS} generations in a row without two different costs"
                if run.flat >= FLAT_GENERATIONS
                else None
            )
        else:
            run.flat = 0
            run.strategy.tell(self._points, costs)
            criteria = run.strategy.stop()  # counts flat generations: once per tell
            ended = ", ".join(criteria) if criteria else None
        if ended is None and run.evaluations >= run.limit:
            ended = "its share of the evaluations is used"
        if ended is None:
            self._draw(run)
        elif self._restarts == "none":
            self._stopped = f"cma_es: {ended}"
        elif run.index >= self._max_restarts:
            self._stopped = f"cma_es: {ended}, after {run.index} restarts (max_restarts)"
        else:
            self._restart(run)

    def _restart(self, last: _Run) -> None:
        """Begin the next run at a random point, by the rules of IPOP or BIPOP."""
        if not last.small:
            self._last_large = last.evaluations
        small = (
            self._restarts == "bipop"
            and last.index > 0
            and self._evaluations[True] < self._evaluations[False]
        )
        if small:
            # Hansen (2009), section 2: lambda_s and sigma_s, and half of the last large budget.
            u, v = self._restart_choices.random(2)
            ratio = 2 ** (self._n_large - 1)  # lambda_large / lambda_default / 2
            population = math.floor(self._population * ratio ** (u**2))
            sigma, limit = self._sigma0 * 10 ** (-2 * v), self._last_large / 2
        else:
            self._n_large += 1
            population = self._population * 2**self._n_large
            sigma, limit = self._sigma0, math.inf
        if is_shaped(self._domain):  # a uniform point would be far from where a search starts
            unit = self._unit(self._domain.draw(self._restart_choices), sigma)
        else:
            unit = self._restart_choices.random(len(self._domain)).tolist()
        strategy = self._strategy(unit, sigma, population)
        self._run = _Run(strategy, index=last.index + 1, small=small, limit=limit)
        self._draw(self._run)

    def _unit(self, point: Genotype, sigma: float) -> list[float]:
        """Map a starting point to the unit cube; weighted two-way genes by their probability."""
        return [
            threshold_mean(gene, value, sigma) if len(gene.weights) == 2 else gene.to_unit(value)
            for gene, value in zip(self._domain.genes, point, strict=True)
        ]

    def _strategy(self, unit: Sequence[float], sigma: float, population: int) -> Any:
        """Set pycma up without its output, its signal file, its clock and its global generator."""
        mean = [*unit, 0.5][: self._dimension]
        options = {
            "bounds": [0, 1],  # kept by pycma's BoundTransform
            "popsize": population,
            "CMA_diagonal": self._separable,
            # TPA above 300 variables and mirrors below 6 candidates, pycma's defaults, inject
            # samples once and so cannot draw a generation again.
            "AdaptSigma": CMAAdaptSigmaCSA,
            "CMA_mirrors": 0,
            "minstd": self._margins(population),
            "tolflatfitness": FLAT_GENERATIONS,
            "randn": lambda *shape: self._normals.standard_normal(shape),
            "seed": math.nan,
            "timeout": math.inf,
            "verbose": -9,
            "verb_log": 0,
            "verb_disp": 0,
            "signals_filename": "",  # None would mean the default file
        }
        spreads = [unit_spread(gene) for gene in self._domain.genes]
        if any(spread is not None for spread in spreads):
            # pycma's factors of sigma, one a variable
            factors = [1.0 if spread is None else spread / self._sigma0 for spread in spreads]
            options["CMA_stds"] = [*factors, 1.0][: self._dimension]
        return cma.CMAEvolutionStrategy(mean, sigma, options)

    def _margins(self, population: int) -> list[float]:
        """Return the smallest standard deviations, (dimension,).

        From the middle of its bin a discrete gene leaves it with probability 1 / (n * lambda).
        """
        alpha = 1 / (self._dimension * population)
        quantile = -float(ndtri(alpha / 2))
        margins = [0.0] * self._dimension
        for index, gene in enumerate(self._domain.genes):
            levels = len(gene.choices) or gene.high - gene.low + 1
            if gene.kind != "continuous" and levels > 1:
                margins[index] = 0.5 / levels / quantile
        return margins
