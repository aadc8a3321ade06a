"""COMO-CatCMA with margin: a front of CatCMA distributions, by `cmaes.COMOCatCMAwM`.

Sources: Hamano et al., 2025, arXiv 2504.07884; Touré et al., 2019, 'Uncrowded Hypervolume
Improvement: COMO-CMA-ES and the Sofomore Framework'. Each kernel is a `cat_cma_kernel` and answers
for one point of the front: its candidates rank by what they add to the volume that the incumbents
of the others dominate. What is ours around it:

- Kernels start at the completed known points, those that none of them dominates first, and then at
  points drawn from where a search starts, not uniformly.
- A failure costs a hundredth of the range more than the worst completed cost so far, in both
  objectives: behind every completed candidate, and too little to move the reference point by more.
- A generation in which no two completed candidates differ is told with equal costs, which moves no
  kernel. Before the first completed trial nothing is told: candidates are drawn again.
- A kernel is told places instead of improvements; ties are broken as in `margin_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from cmaes import COMOCatCMAwM

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import choice, flag, integer, number
from evomerge.optimizers.cat_cma_kernel import CatCmaKernel, MixedVectors
from evomerge.optimizers.costs import bounded, ranks
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.margin_search import SMALLEST_POPULATION, library_seed
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial

FAILURE = 0.01
"""How far behind the worst completed cost a failure lies, as a share of the range of costs."""


class ComoCatCma(Generational):
    """Several CatCMA distributions that share a front of two objectives.

    A generation is the candidates of one kernel and the incumbents that the front needs.

    Args:
        domain: what to vary; genes of every kind, at most 1000 continuous and integer ones.
        n_objectives: 2.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first.
        start: 'best' starts kernels at the best of those, 'initial' one at the initial point; the
            others start at drawn points.
        kernels: how many points of the front are searched for.
        sigma0: first standard deviation of genes without a spread, as a share of each gene's range.
        population: candidates of a kernel's generation; 4 + floor(3 ln n) by default.

    Raises:
        ConfigError: an option is out of range, or there are not two objectives.
        SpaceError: no gene varies, or more continuous and integer ones than a covariance holds.
    """

    needs = Needs(objectives="two", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        start: Literal["best", "initial"] = "best",
        kernels: int = 10,
        sigma0: float = 1 / 12,
        population: int | None = None,
    ) -> None:
        if n_objectives != 2:
            raise ConfigError(
                [f"optimizer: como_cat_cma takes 2 objectives, got {n_objectives}; use nsga2"]
            )
        self._domain = domain
        self._vectors = MixedVectors("como_cat_cma", domain)
        self._seed = library_seed(seed)
        self._n_kernels = integer("kernels", kernels, 2)
        self._sigma0 = number("sigma0", sigma0, above=0, at_most=1)
        if population is not None:
            population = integer("population", population, SMALLEST_POPULATION)
        self._population = population
        self._start_at_best = choice("start", start, ("best", "initial")) == "best"
        self._starts = np.random.default_rng([seed, 0])
        super().__init__(n_objectives)
        self._number = 0
        self._kernels: tuple[_RankingKernel, ...] = ()
        self._como: Any = None
        self._samples: list[Any] = []
        self._range: tuple[tuple[float, ...], ...] = ()  # best and worst cost of each objective
        known = known_points(domain) if flag("seeds", seeds) else ()
        if known:
            self._generation = Generation(known)
        else:
            self._begin(())

    @property
    def kernels(self) -> tuple[CatCmaKernel, ...]:
        """The distributions; none before the known points are told."""
        return self._kernels

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._note_range(trials)
        if not self._kernels:
            self._begin(trials)
        else:
            self._learn(trials)

    def _begin(self, known: Sequence[Trial]) -> None:
        points = (_best_first(known) if self._start_at_best else []) or [self._domain.initial]
        points = points[: self._n_kernels]
        while len(points) < self._n_kernels:
            points.append(self._domain.draw(self._starts))
        self._kernels = tuple(
            _RankingKernel(self._vectors, point, self._sigma0, self._population, seed=0)
            for point in points
        )
        self._como = COMOCatCMAwM(**self._vectors.spaces(), kernels=self._kernels, seed=self._seed)
        self._draw(list(self._como.ask_iter()))

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Tell the library, which moves the kernel at hand and goes on to the next."""
        if not self._range:
            self._draw([self._again(sample) for sample in self._samples])
            return
        self._como.tell(list(zip(self._samples, self._costs(trials), strict=True)))
        if all(kernel.converged() for kernel in self._kernels):
            self._stopped = "como_cat_cma: all kernels have converged"
        else:
            self._draw(list(self._como.ask_iter()))

    def _again(self, sample: Any) -> Any:
        """Draw a kernel's candidate again; an incumbent remains what it is."""
        if sample._kernel_id is None:
            return sample
        drawn = self._kernels[sample._kernel_id].ask()
        return COMOCatCMAwM.Solution(
            x=drawn.x, z=drawn.z, c=drawn.c, _v_raw=drawn._v_raw, _kernel_id=sample._kernel_id
        )

    def _draw(self, samples: list[Any]) -> None:
        self._number += 1
        origin = f"como_cat_cma:gen{self._number}"
        self._samples = samples
        self._generation = Generation(
            [Proposal(self._vectors.genotype(sample), origin) for sample in samples]
        )

    def _costs(self, trials: Sequence[Trial]) -> list[tuple[float, ...]]:
        """Return the costs of a generation, with a place for failures; all equal if it is flat."""
        failed = tuple(w + FAILURE * (w - b) for b, w in zip(*self._range, strict=True))
        found = [_bounded(trial) for trial in trials]
        of_kernel = {
            costs
            for costs, sample in zip(found, self._samples, strict=True)
            if costs is not None and sample._kernel_id is not None
        }
        flat = next(iter(of_kernel), failed) if len(of_kernel) < 2 else None
        return [
            flat if flat is not None and sample._kernel_id is not None else costs or failed
            for costs, sample in zip(found, self._samples, strict=True)
        ]

    def _note_range(self, trials: Sequence[Trial]) -> None:
        seen = [*self._range, *(costs for costs in map(_bounded, trials) if costs is not None)]
        if seen:
            columns = list(zip(*seen, strict=True))
            self._range = (tuple(map(min, columns)), tuple(map(max, columns)))


class _RankingKernel(CatCmaKernel):
    """A kernel that the library tells improvements and that learns from their order."""

    def tell(self, solutions: Sequence[tuple[Any, float]]) -> None:
        """Move by a whole generation; equal improvements move nothing, nor does a converged one."""
        domain, vectors = self._vectors.domain, self._vectors
        used = [domain.n_used(vectors.genotype(solution)) for solution, _ in solutions]
        places = ranks([cost for _, cost in solutions], used)
        if places is not None and not self.converged():
            ranked = zip(solutions, places, strict=True)
            super().tell([(solution, place) for (solution, _), place in ranked])


def _bounded(trial: Trial) -> tuple[float, ...] | None:
    return None if trial.costs is None else tuple(bounded(cost) for cost in trial.costs)


def _best_first(trials: Sequence[Trial]) -> list[Genotype]:
    """List the completed genotypes by how many others dominate them; equals as they stand."""
    completed = [trial for trial in trials if trial.costs is not None]

    def dominated_by(trial: Trial) -> int:
        mine = trial.costs or ()
        return sum(
            other.costs != trial.costs
            and all(a <= b for a, b in zip(other.costs or (), mine, strict=True))
            for other in completed
        )

    return [trial.genotype for trial in sorted(completed, key=dominated_by)]
