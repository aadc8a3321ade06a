"""CMA-ES for continuous, integer and categorical genes together, by `cmaes.CatCMAwM`.

Source: Hamano et al., 2025, 'CatCMA with Margin', arXiv 2504.07884. See `cat_cma_kernel` for what
stands between it and a domain, and `margin_search` for failures and ties.
"""

from __future__ import annotations

from typing import Literal

from evomerge.optimizers.arguments import integer, number
from evomerge.optimizers.cat_cma_kernel import CatCmaKernel, MixedVectors
from evomerge.optimizers.margin_search import SMALLEST_POPULATION, MarginSearch, library_seed
from evomerge.optimizers.protocol import Needs
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype


class CatCma(MarginSearch):
    """Covariance matrix adaptation with a probability for each choice, for one objective.

    A starting point becomes the mean of continuous and integer genes and, by `Gene.weights`, the
    probabilities of choices: see `evomerge.optimizers.starting`. The margin of the algorithm keeps
    every choice possible to the end.

    Args:
        domain: what to vary; genes of every kind, at most 1000 continuous and integer ones.
        n_objectives: 1.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first.
        start: 'best' starts at the best of those, 'initial' at the initial point.
        sigma0: first standard deviation of genes without a spread, as a share of each gene's
            range; the default is the library's own for a mean in the middle of the range.
        population: candidates a generation; 4 + floor(3 ln n) by default.

    Raises:
        ConfigError: an option is out of range, or there are several objectives.
        SpaceError: no gene varies, or more continuous and integer ones than a covariance holds.
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
        sigma0: float = 1 / 12,
        population: int | None = None,
    ) -> None:
        self._vectors = MixedVectors("cat_cma", domain)
        self._seed = library_seed(seed)
        self._sigma0 = number("sigma0", sigma0, above=0, at_most=1)
        if population is not None:
            population = integer("population", population, SMALLEST_POPULATION)
        self._population = population
        super().__init__("cat_cma", domain, n_objectives, seeds, start)

    def _distribution_at(self, point: Genotype) -> CatCmaKernel:
        return CatCmaKernel(self._vectors, point, self._sigma0, self._population, self._seed)
