"""Problems in closed form: known optima and fronts, over every kind of domain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from evomerge.spaces.domain import Condition, Domain, Gene, GeneKind, HopSequence, Seed
from evomerge.types import Completed, Failed, FailureKind, GeneValue, Genotype, Trial

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


def conditional_domain(switches: GeneKind = "categorical", n_switches: int = 4) -> Domain:
    """Return switches that each decide whether a scale has an effect, and a condition on those.

    Args:
        switches: 'categorical' ('off' or 'on', by weights) or 'integer' (0 or 1).
        n_switches: how many; the first half starts on.
    """
    on: GeneValue = "on" if switches == "categorical" else 1
    off: GeneValue = "off" if switches == "categorical" else 0
    genes: list[Gene] = []
    for i in range(n_switches):
        starts_on = 2 * i < n_switches
        switch = Gene(f"switch{i}", switches, high=1, initial=on if starts_on else off)
        if switches == "categorical":
            weights = (0.1, 0.9) if starts_on else (0.9, 0.1)
            switch = replace(switch, choices=("off", "on"), weights=weights)
        condition = Condition(2 * i, (on,))
        scale = Gene(f"scale{i}", low=0.4, high=1.6, initial=1.0, spread=0.1, condition=condition)
        genes += [switch, scale]
    repeats = Gene("repeats", "integer", low=1, high=3, initial=1, condition=Condition(0, (on,)))
    last = Gene("last", low=LOW, high=HIGH, initial=0.5, condition=Condition(len(genes), (2, 3)))
    domain = Domain((*genes, repeats, last))
    every = tuple(value for _ in range(n_switches) for value in (on, 1.25))
    none = tuple(value for _ in range(n_switches) for value in (off, 1.0))
    return replace(domain, seeds=(Seed("all", (*every, 2, 1.0)), Seed("none", (*none, 1, 0.5))))


def sequence_domain(n_positions: int = 6) -> Domain:
    """Return a sequence of 'a', 'b' and 'c' with a scale each, and a gene beside it."""
    genes: list[Gene] = []
    for i in range(n_positions):
        start = "abc"[i] if i < 3 else "-"
        weights = tuple(0.7 if choice == start else 0.1 for choice in "-abc")
        element = Gene(f"hop{i}", "categorical", initial=start, choices=tuple("-abc"))
        element = replace(element, weights=weights, empty="-")
        condition = Condition(2 * i, ("a", "b", "c"))
        scale = Gene(f"scale{i}", low=0.5, high=1.5, initial=1.0, spread=0.1, condition=condition)
        genes += [element, scale]
    genes.append(Gene("weight", low=LOW, high=HIGH, initial=0.5))
    elements = tuple(range(0, 2 * n_positions, 2))
    attributes = tuple((i + 1,) for i in elements)
    twice = tuple(value for i in range(n_positions) for value in ("a" if i < 2 else "-", 1.0))
    return Domain(tuple(genes), (Seed("twice", (*twice, 1.0)),), HopSequence(elements, attributes))


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


def switches(n_switches: int) -> Problem:
    """Count switches that differ from off, on, on, off, on, on, ... and add 10 (scale - 1.2)^2.

    Over the scales of switches that are on, so the optimum is 0 and unique.
    """
    genes: list[Gene] = []
    for i in range(n_switches):
        switch = Gene(f"switch{i}", "categorical", initial="off", choices=("off", "on"))
        condition = Condition(2 * i, ("on",))
        scale = Gene(f"scale{i}", low=0.4, high=1.6, initial=1.0, condition=condition)
        genes += [switch, scale]

    def costs(genotype: Genotype) -> tuple[float, ...]:
        total = 0.0
        for i in range(n_switches):
            switch, scale = genotype[2 * i : 2 * i + 2]
            total += switch != ("on" if i % 3 else "off")
            total += 10 * (float(scale) - 1.2) ** 2 if switch == "on" else 0.0
        return (total,)

    return Problem(f"switches{n_switches}", Domain(tuple(genes)), 1, costs)


def constant(domain: Domain, n_objectives: int = 1) -> Problem:
    """Every point costs the same: nothing can be learnt."""
    return Problem("constant", domain, n_objectives, lambda _: (1.0,) * n_objectives)
