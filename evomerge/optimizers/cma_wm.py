"""CMA-ES with margin for binary, integer and continuous genes, by `cmaes.CMAwM`.

Source: Hamano et al., 2022, 'CMA-ES with Margin', arXiv 2205.13482. All genes are variables of the
unit interval: a two-way categorical gene is 0 or 1, an integer gene takes equidistant steps. The
library samples again, up to 100 times, until no continuous gene is out of bounds; with hundreds of
genes none of a hundred samples may be inside and each takes cubic time, so here it is up to ten
times, after which values are clipped. See `margin_search` for failures and ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from cmaes import CMAwM

from evomerge.errors import SpaceError
from evomerge.optimizers.arguments import integer, number
from evomerge.optimizers.margin_search import (
    SMALLEST_POPULATION,
    MarginSearch,
    check_covariance,
    free_genes,
    library_seed,
    n_values,
)
from evomerge.optimizers.protocol import Needs
from evomerge.optimizers.starting import threshold_mean, unit_spread
from evomerge.spaces.domain import Domain
from evomerge.types import GeneValue, Genotype

_RESAMPLINGS = 10

Floats = npt.NDArray[np.float64]


class CmaWm(MarginSearch):
    """Covariance matrix adaptation that keeps every step of a discrete gene within reach.

    A two-way gene starts with its mean where its second choice is as likely as `Gene.weights` say.

    Args:
        domain: what to vary; genes are continuous, integer or two-way categorical, at most 1000.
        n_objectives: 1.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first.
        start: 'best' starts at the best of those, 'initial' at the initial point.
        sigma0: first standard deviation of genes without a spread, as a share of each gene's range.
        population: candidates a generation; 4 + floor(3 ln n) by default.

    Raises:
        ConfigError: an option is out of range, or there are several objectives.
        SpaceError: a categorical gene has more than two choices, no gene varies, or there are more
            genes than a covariance holds.
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
    ) -> None:
        self._free = free_genes("cma_wm", domain)
        for gene in domain.genes:
            if len(gene.choices) > 2:
                raise SpaceError(
                    f"gene '{gene.name}' has {len(gene.choices)} unordered choices and cma_wm "
                    "handles two at most; use cat_cma, nsga2 or optuna"
                )
        check_covariance("cma_wm", len(self._free))
        self._seed = library_seed(seed)
        self._sigma0 = number("sigma0", sigma0, above=0, at_most=1)
        if population is not None:
            population = integer("population", population, SMALLEST_POPULATION)
        self._population = population
        super().__init__("cma_wm", domain, n_objectives, seeds, start)

    def _distribution_at(self, point: Genotype) -> _Distribution:
        return _Distribution(
            self._domain, self._free, point, self._sigma0, self._population, self._seed
        )


class _Distribution:
    """The library's distribution over the free genes of a domain."""

    def __init__(
        self,
        domain: Domain,
        free: Sequence[int],
        point: Genotype,
        sigma0: float,
        population: int | None,
        seed: int,
    ) -> None:
        self._domain = domain
        self._free = free
        genes = [domain.genes[i] for i in free]
        self._last = [
            0 if gene.kind == "continuous" else (n_values(gene) or 0) - 1 for gene in genes
        ]
        deviations = np.array(
            [sigma0 if spread is None else spread for spread in map(unit_spread, genes)]
        )
        self._cma = CMAwM(
            mean=np.array([self._mean_of(i, point, sigma0) for i in free]),
            sigma=1.0,
            bounds=np.tile([0.0, 1.0], (len(free), 1)),
            steps=np.array([1 / last if last else 0.0 for last in self._last]),
            n_max_resampling=_RESAMPLINGS,
            seed=seed,
            population_size=population,
            cov=np.diag(deviations**2),
        )

    @property
    def population_size(self) -> int:
        return int(self._cma.population_size)

    @property
    def mean(self) -> tuple[float, ...]:
        """Centre of the free genes on the unit interval; may lie outside."""
        return tuple(self._cma.mean.tolist())

    def sample(self) -> tuple[Any, Genotype]:
        encoded, raw = self._cma.ask()
        return raw, self._genotype(encoded)

    def learn(self, samples: Sequence[tuple[Any, float]]) -> None:
        self._cma.tell(list(samples))

    def converged(self) -> bool:
        return bool(self._cma.should_stop())

    def _mean_of(self, index: int, point: Genotype, sigma0: float) -> float:
        gene = self._domain.genes[index]
        if gene.kind == "categorical":
            return threshold_mean(gene, point[index], sigma0)
        if gene.kind == "integer":
            return (float(point[index]) - gene.low) / (gene.high - gene.low)
        return gene.to_unit(point[index])

    def _genotype(self, encoded: Floats) -> Genotype:
        values: list[GeneValue] = [gene.from_unit(0.5) for gene in self._domain.genes]
        for i, last, value in zip(self._free, self._last, encoded.tolist(), strict=True):
            gene = self._domain.genes[i]
            if gene.kind == "continuous":
                values[i] = gene.from_unit(value)
            elif gene.kind == "integer":
                values[i] = int(gene.low) + round(value * last)
            else:
                values[i] = gene.choices[round(value)]
        return self._domain.canonical(tuple(values))
