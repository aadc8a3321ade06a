"""Where a search starts: how likely a choice is and how far a number varies, gene by gene.

Genes may say so by `weights` and `spread`. Around another point than the domain's initial one, a
weighted gene exchanges two weights, so that the choice of that point becomes the most likely one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from evomerge.spaces.domain import Domain, Gene
from evomerge.types import GeneValue, Genotype, Trial

_RAREST = 1e-12  # keeps quantiles finite


def is_shaped(domain: Domain) -> bool:
    """Say whether the domain tells where a search starts, beyond its initial point."""
    return any(
        gene.weights or gene.spread is not None or gene.condition is not None
        for gene in domain.genes
    )


def start_point(domain: Domain, known: Sequence[Trial], *, best: bool) -> Genotype:
    """Choose where to start: the best known point, the earliest of equals, or the initial one."""
    completed = [trial for trial in known if trial.costs is not None]
    if not completed or not best:
        return domain.initial
    return min(completed, key=lambda trial: trial.costs or ()).genotype


MEAN_WEIGHT = 1.4
"""What the weights of donors sum to, on average, in a start box of a linear space."""


def start_box(domain: Domain) -> tuple[list[float], list[float]]:
    """Return the corners of the part of the unit cube where merges are likely to work.

    It is the box that the known points span, from the base to the donors. Many donors at once
    interfere: where weights are added up, the box is drawn in towards the base until its middle is
    a sum of weights of 1.4 (found on the merge problems of `evomerge.testing.problems`, see
    `experiments/optimizers`). A gene in which all known points agree has its whole range.
    """
    known = [domain.to_unit(seed.genotype) for seed in domain.seeds]
    if not known:
        return [0.0] * len(domain), [1.0] * len(domain)
    low = [min(column) for column in zip(*known, strict=True)]
    high = [max(column) for column in zip(*known, strict=True)]
    base = {seed.name: point for seed, point in zip(domain.seeds, known, strict=True)}.get("base")
    if domain.linear and base is not None:
        n_donors = sum(seed.name not in ("base", "uniform") for seed in domain.seeds)
        share = min(1.0, 2 * MEAN_WEIGHT / max(n_donors, 1))
        low = [origin + share * (value - origin) for origin, value in zip(base, low, strict=True)]
        high = [origin + share * (value - origin) for origin, value in zip(base, high, strict=True)]
    alike = [a == b for a, b in zip(low, high, strict=True)]
    return (
        [0.0 if same else value for value, same in zip(low, alike, strict=True)],
        [1.0 if same else value for value, same in zip(high, alike, strict=True)],
    )


def probabilities(gene: Gene, value: GeneValue) -> tuple[float, ...]:
    """Return how likely each choice is where a search starts at `value`; they sum to 1.

    A gene without weights starts with equal ones at its initial choice; at another choice, half of
    the probability goes to that one.
    """
    chosen, initial = gene.choices.index(str(value)), gene.choices.index(str(gene.initial))
    if gene.weights:
        weights = (gene if chosen == initial else gene.starting_at(value)).weights
        return tuple(weight / math.fsum(weights) for weight in weights)
    equal = 1 / len(gene.choices)
    if chosen == initial:
        return (equal,) * len(gene.choices)
    return tuple(0.5 * equal + 0.5 * (index == chosen) for index in range(len(gene.choices)))


def threshold_mean(gene: Gene, value: GeneValue, deviation: float) -> float:
    """Return the mean of a normal variable that is above 1/2 as often as the second choice occurs.

    Clipped to [0, 1]; 1/2 + deviation * quantile(P), the start of arXiv 2403.13187 with P = 0.977.
    """
    share = min(max(probabilities(gene, value)[1], _RAREST), 1 - _RAREST)
    quantile = NormalDist().inv_cdf(share)
    return min(max(0.5 + deviation * quantile, 0.0), 1.0)


def unit_spread(gene: Gene) -> float | None:
    """Return `spread` as a share of the gene's range; of its logarithm's at the initial value."""
    if gene.spread is None:
        return None
    if gene.log:
        return gene.spread / (float(gene.initial) * math.log(gene.high / gene.low))
    return gene.spread / (gene.high - gene.low)
