"""How two elites become a child: a mixing ratio, then a mutation.

    tau     = (w1 tau_1 + w2 tau_2) / (w1 + w2)                       w ~ N(mix_mean, mix_std^2)
    tau_l  <- tau_l + U_q,l diag(rate * u * sigma_q,l) V_q,l^T        svd_seed
           or U_l diag(w * sigma_l) V_l^T of the child's own tau_l    svd_child

q is the expert of the task whose turn it is.

Source: Kuroki et al. 2025, "Agent Skill Acquisition for Large Language Models via CycleQD",
arXiv 2410.14735; 'svd_seed' and 'gauss' are those of its released code.
"""

from __future__ import annotations

import numpy as np

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import choice, flag, not_negative, number
from evomerge.spaces.populations import (
    Breeding,
    ChildSvdMutation,
    GaussianMutation,
    Mutation,
    SeedSvdMutation,
)
from evomerge.spaces.populations.protocol import Family
from evomerge.types import Genotype

_LEAST_SUM = 0.1  # of w1 + w2, of mix_mean: below it the quotients say nothing


class Variation:
    """Crossover and mutation of CycleQD; the options are those of `CycleQd`.

    Raises:
        ConfigError: an option is out of range, or singular values are to be mutated where there
            are none.
    """

    def __init__(
        self,
        domain: Breeding,
        *,
        crossover: str,
        mix_mean: float,
        mix_std: float,
        mutation: str,
        svd_rate: float,
        svd_symmetric: bool,
        svd_scale: float,
        gauss_std: float,
    ) -> None:
        self._domain = domain
        self._linear = choice("crossover", crossover, ("linear", "space")) == "linear"
        self._mean = number("mix_mean", mix_mean, 0)
        self._std = not_negative("mix_std", mix_std)
        known = ("svd_seed", "svd_child", "gauss", "none")
        self._mutation = choice("mutation", mutation, known)
        if self._mutation.startswith("svd") and not domain.task_vectors:
            raise ConfigError(
                [
                    f"mutation: {self._mutation} changes singular values of task vectors, which "
                    "this population has not; use population: task_vectors, or mutation: gauss "
                    "or none"
                ]
            )
        self._rate = number("svd_rate", svd_rate, 0)
        self._symmetric = flag("svd_symmetric", svd_symmetric)
        self._scale = number("svd_scale", svd_scale, 0)
        self._gauss_std = number("gauss_std", gauss_std, 0)

    def ratio(self, random: np.random.Generator) -> float:
        """Draw w2 / (w1 + w2)."""
        while True:
            w1, w2 = random.normal(self._mean, self._std, 2).tolist()
            if abs(w1 + w2) >= _LEAST_SUM * self._mean:
                return float(w2 / (w1 + w2))

    def cross(
        self, family: Family, parents: tuple[int, int], ratio: float, mutation: Mutation | None
    ) -> Genotype:
        """Return the child of two individuals, `ratio` towards the second."""
        if self._linear:
            return family.blend(parents, [1 - ratio, ratio], mutation)
        ratios = [ratio] * self._domain.n_chromosomes
        return family.cross(parents, ratios, None, mutation)

    def mutation(
        self, number: int, expert: int | None, random: np.random.Generator
    ) -> Mutation | None:
        """Return the mutation of a child, which is named by its trial number.

        Args:
            number: the child's.
            expert: place among the donors; None where all of them failed, and one is drawn.
            random: source of the draw.
        """
        if self._mutation == "svd_seed":
            drawn = int(random.integers(len(self._domain.donors)))
            donor = drawn if expert is None else expert
            return SeedSvdMutation(number, donor, self._rate, -1 if self._symmetric else 0)
        if self._mutation == "svd_child":
            return ChildSvdMutation(number, self._scale)
        return GaussianMutation(number, self._gauss_std) if self._mutation == "gauss" else None
