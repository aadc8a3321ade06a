"""Search problems with known answers, over a domain instead of over models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.types import Completed, Failed, FailureKind, Genotype, Trial

LOW, HIGH = -1.0, 2.0
"""Bounds of continuous genes here; not the unit interval, so that a mix-up shows."""

N_ITEMS = 8
"""Per-example scores that each objective of a completed trial carries."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A domain and the minimised costs of each of its points.

    Attributes:
        name: for test reports.
        domain: what is varied.
        n_objectives: length of what `costs` returns.
        costs: a pure function.
    """

    name: str
    domain: Domain
    n_objectives: int
    costs: Callable[[Genotype], tuple[float, ...]]

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype; per-example scores are in [0, 1], larger is better."""
        costs = self.costs(genotype)
        unit = self.domain.to_unit(genotype)
        examples = {
            f"cost{k}": {
                f"item{i}": math.exp(-((unit[(i + k) % len(unit)] - i / (N_ITEMS - 1)) ** 2))
                for i in range(N_ITEMS)
            }
            for k in range(self.n_objectives)
        }
        metrics = {f"cost{k}": cost for k, cost in enumerate(costs)}
        return Trial(number, genotype, Completed(metrics, examples), costs)

    def failed(self, number: int, genotype: Genotype, kind: FailureKind = "error") -> Trial:
        """Fail a genotype."""
        return Trial(number, genotype, Failed(kind, "failed on purpose"), None)


def continuous_domain(n_genes: int) -> Domain:
    """Return genes in [LOW, HIGH] with the initial point in the middle and two seeds."""
    genes = tuple(Gene(f"x{i}", low=LOW, high=HIGH, initial=0.5) for i in range(n_genes))
    corner = tuple(LOW if i % 2 else HIGH for i in range(n_genes))
    return Domain(genes, (Seed("corner", corner), Seed("ones", (1.0,) * n_genes)))


def mixed_domain() -> Domain:
    """Return one gene of each kind: continuous, logarithmic, integer, two and four choices."""
    genes = (
        Gene("weight", low=LOW, high=HIGH, initial=0.5),
        Gene("rate", low=1e-4, high=1.0, initial=1e-2, log=True),
        Gene("depth", "integer", low=-2, high=7, initial=3),
        Gene("switch", "categorical", initial="off", choices=("off", "on")),
        Gene("method", "categorical", initial="c", choices=("a", "b", "c", "d")),
    )
    return Domain(genes, (Seed("base", (0.0, 1e-3, 0, "off", "a")),))


def integer_domain(low: int, high: int, n_genes: int = 1) -> Domain:
    """Return integer genes that start at their low end."""
    return Domain(
        tuple(Gene(f"k{i}", "integer", low=low, high=high, initial=low) for i in range(n_genes))
    )


def sphere(domain: Domain, n_objectives: int = 1) -> Problem:
    """Squared distances on the unit cube to the points (0.3, ...), (0.7, ...), (0.5, ...).

    With one objective the optimum is 0 at 0.3 of each continuous gene's range; with two, the front
    is the straight line between the first two points.
    """
    targets = (0.3, 0.7, 0.5)[:n_objectives]

    def costs(genotype: Genotype) -> tuple[float, ...]:
        unit = domain.to_unit(genotype)
        return tuple(math.fsum((u - target) ** 2 for u in unit) for target in targets)

    return Problem(f"sphere{len(domain)}x{n_objectives}", domain, n_objectives, costs)


def ellipsoid(n_genes: int) -> Problem:
    """Separable ellipsoid with condition number 10^6 and its optimum 0 at 0.3 of each range."""
    domain = continuous_domain(n_genes)

    def costs(genotype: Genotype) -> tuple[float, ...]:
        unit = domain.to_unit(genotype)
        scale = max(n_genes - 1, 1)
        return (math.fsum(10 ** (6 * i / scale) * (u - 0.3) ** 2 for i, u in enumerate(unit)),)

    return Problem(f"ellipsoid{n_genes}", domain, 1, costs)


ZDT1_REFERENCE = (1.1, 1.1)
ZDT1_HYPERVOLUME = 0.1 + 2 / 3 + 0.11
"""Volume between the front f2 = 1 - sqrt(f1), 0 <= f1 <= 1, and `ZDT1_REFERENCE`:
the integral of 0.1 + sqrt(f1) over [0, 1], and 0.1 x 1.1 beyond."""


def zdt1(n_genes: int) -> Problem:
    """ZDT1 (Zitzler, Deb and Thiele, 2000) on the unit cube: f2 = g (1 - sqrt(f1 / g))."""
    genes = tuple(Gene(f"x{i}", initial=0.5) for i in range(n_genes))
    domain = Domain(genes, (Seed("middle", (0.25,) * n_genes),))

    def costs(genotype: Genotype) -> tuple[float, ...]:
        first, *rest = (float(value) for value in genotype)
        g = 1 + 9 * math.fsum(rest) / max(len(rest), 1)
        return (first, g * (1 - math.sqrt(first / g)))

    return Problem(f"zdt1-{n_genes}", domain, 2, costs)


def constant(domain: Domain, n_objectives: int = 1) -> Problem:
    """Every point costs the same: nothing can be learnt."""
    return Problem("constant", domain, n_objectives, lambda _: (1.0,) * n_objectives)
