"""CatCMA with margin on a domain: what `cat_cma` runs once and `como_cat_cma` several times.

Continuous genes are variables of the unit interval, integer genes are equidistant points of it,
categorical genes have a probability per choice; genes with a single value stay out. What is ours
around `cmaes.CatCMAwM` (Hamano et al., 2025, arXiv 2504.07884):

- It changes the arrays it is given, and starts singular where the mean lies on a bound: it gets
  copies and its own standard deviations.
- A probability of 0 at the start would divide by zero: the library's margin, which it otherwise
  applies after the first generation, is applied before it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cmaes import CatCMAwM

from evomerge.optimizers.margin_search import check_covariance, free_genes, n_values
from evomerge.optimizers.starting import probabilities, unit_spread
from evomerge.spaces.domain import Domain
from evomerge.types import GeneValue, Genotype

Floats = npt.NDArray[np.float64]


class MixedVectors:
    """Translates between genotypes and the three vectors of the library.

    Args:
        name: of the optimizer, for messages.
        domain: genes of every kind.

    Raises:
        SpaceError: no gene varies, or more continuous and integer ones than a covariance holds.
    """

    def __init__(self, name: str, domain: Domain) -> None:
        self.domain = domain
        self._free = free_genes(name, domain)
        self.continuous = self._of_kind("continuous")
        self.integer = self._of_kind("integer")
        self.categorical = self._of_kind("categorical")
        self._steps = [int(n_values(domain.genes[i]) or 0) - 1 for i in self.integer]
        check_covariance(name, len(self.continuous) + len(self.integer))

    def __len__(self) -> int:
        return len(self._free)

    def spaces(self) -> dict[str, Any]:
        """Return `x_space`, `z_space` and `c_space`, leaving out those without genes."""
        found = {
            "x_space": [[0.0, 1.0] for _ in self.continuous],
            "z_space": [[k / steps for k in range(steps + 1)] for steps in self._steps],
            "c_space": [len(self.domain.genes[i].choices) for i in self.categorical],
        }
        return {name: space for name, space in found.items() if space}

    def mean(self, point: Genotype) -> Floats:
        """Return a point as a mean, (n_continuous + n_integer,)."""
        genes = self.domain.genes
        means = [genes[i].to_unit(point[i]) for i in self.continuous]
        for i, steps in zip(self.integer, self._steps, strict=True):
            means.append((float(point[i]) - genes[i].low) / steps)
        return np.array(means)

    def deviations(self, share: float) -> Floats:
        """Return `Gene.spread`, or this share of the range, (n_continuous + n_integer,)."""
        genes = self.domain.genes
        spreads = [unit_spread(genes[i]) for i in (*self.continuous, *self.integer)]
        return np.array([share if spread is None else spread for spread in spreads])

    def probabilities(self, point: Genotype) -> Floats:
        """Return where choices start, padded with zeros, (n_categorical, largest n_choices)."""
        genes = [self.domain.genes[i] for i in self.categorical]
        table = np.zeros((len(genes), max(len(gene.choices) for gene in genes)))
        n_discrete = len(self.integer) + len(self.categorical)
        for row, (index, gene) in enumerate(zip(self.categorical, genes, strict=True)):
            n_choices = len(gene.choices)
            margin = (1 - 0.73 ** (1 / n_discrete)) / (n_choices - 1)
            shares = np.maximum(probabilities(gene, point[index]), margin)
            surplus = shares.sum() - 1
            if surplus > 0:
                shares -= surplus * (shares - margin) / (shares.sum() - margin * n_choices)
            table[row, :n_choices] = shares / shares.sum()
        return table

    def genotype(self, solution: Any) -> Genotype:
        """Read a sample of the library as a canonical genotype."""
        genes = self.domain.genes
        values: list[GeneValue] = [gene.from_unit(0.5) for gene in genes]
        for k, i in enumerate(self.continuous):
            values[i] = genes[i].from_unit(float(solution.x[k]))
        for k, (i, steps) in enumerate(zip(self.integer, self._steps, strict=True)):
            values[i] = int(genes[i].low) + round(float(solution.z[k]) * steps)
        for k, i in enumerate(self.categorical):
            values[i] = genes[i].choices[int(np.argmax(solution.c[k]))]
        return self.domain.canonical(tuple(values))

    def _of_kind(self, kind: str) -> tuple[int, ...]:
        return tuple(i for i in self._free if self.domain.genes[i].kind == kind)


class CatCmaKernel(CatCMAwM):  # type: ignore[misc]  # cmaes is not checked
    """A distribution over a domain's genotypes.

    Args:
        vectors: the domain.
        point: where it starts.
        share: first standard deviation where a gene has no spread, as a share of its range.
        population: candidates a generation; 4 + floor(3 ln n) by default.
        seed: 32 bits.
    """

    def __init__(
        self,
        vectors: MixedVectors,
        point: Genotype,
        share: float,
        population: int | None,
        seed: int,
    ) -> None:
        self._vectors = vectors
        arguments: dict[str, Any] = vectors.spaces()
        if vectors.continuous or vectors.integer:
            arguments["mean"] = vectors.mean(point)
            arguments["cov"] = np.diag(vectors.deviations(share) ** 2)
        if vectors.categorical:
            arguments["cat_param"] = vectors.probabilities(point)
        super().__init__(population_size=population, seed=seed, **arguments)

    @property
    def mean(self) -> tuple[float, ...]:
        """Centre of continuous, then integer genes on the unit interval; may lie outside."""
        return tuple(self._mean.tolist()) if self._use_gaussian else ()

    @property
    def standard_deviations(self) -> tuple[float, ...]:
        """Width of continuous, then integer genes, as shares of their ranges."""
        if not self._use_gaussian:
            return ()
        return tuple((self._sigma * self._A * np.sqrt(np.diag(self._C))).tolist())

    @property
    def probabilities(self) -> tuple[tuple[float, ...], ...]:
        """Probability of each choice of each categorical gene that has more than one."""
        if not self._use_categorical:
            return ()
        return tuple(
            tuple(row[:n].tolist()) for row, n in zip(self._q, self._K.tolist(), strict=True)
        )

    def sample(self) -> tuple[Any, Genotype]:
        """Draw a candidate: as the library learns from it, and as a genotype."""
        solution = self.ask()
        return solution, self._vectors.genotype(solution)

    def learn(self, samples: Sequence[tuple[Any, float]]) -> None:
        """Move by a whole generation of samples and their places."""
        self.tell(list(samples))

    def converged(self) -> bool:
        """Say whether the normal part leaves no room for another step; choices never do."""
        return bool(self._use_gaussian and self.should_stop())
