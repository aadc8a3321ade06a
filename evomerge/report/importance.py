"""How much each gene alone tells of a score, among the trials that were made.

The trials are put into classes by the gene: its choices, or as many equally full classes of its
values as there are trials for. Scores are ranked, and with the Kruskal-Wallis statistic H of k
classes of n trials

    epsilon^2 = (H - k + 1) / (n - k)

is the share of the variance of the ranks that the classes explain, less what chance explains
(Tomczak & Tomczak 2014, "The need to report effect size estimates revisited", after Kelley 1935).
It sees a gene whose best value is in the middle, which a correlation does not; Spearman's
correlation is given for the direction. Intervals come from scores of random halves of the trials,
whose spread is that of the whole (delete-d jackknife with d = n / 2, Shao & Wu 1989).

It tells nothing of genes that matter only together, and it describes the trials: a search that
has converged no longer varies what matters most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evomerge.types import GeneValue, Genotype

LEAST_TRIALS = 30
_HALVES = 100
_CLASSES = 5
_PER_CLASS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GeneEffect:
    """What one gene tells of one score.

    Attributes:
        gene: its name.
        share: epsilon^2, at most 1; below 0 where the gene tells less than chance would.
        low: end of the interval.
        high: as `low`.
        chance: what a gene without effect exceeds in 5 of 100 cases.
        direction: Spearman's correlation with the metric; None for a gene of choices.
    """

    gene: str
    share: float
    low: float
    high: float
    chance: float
    direction: float | None


def gene_effects(
    names: Sequence[str],
    genotypes: Sequence[Genotype],
    scores: Floats,
    seed: int,
    confidence: float = 0.95,
) -> tuple[GeneEffect, ...]:
    """Return what each gene tells of a score, the most telling first.

    Args:
        names: of the genes.
        genotypes: of the trials; genes that did not vary are left out.
        scores: one a trial, shape (n_trials,).
        seed: of the random halves.
        confidence: that intervals are to cover.

    Returns:
        Nothing below 30 trials, or where all scores are equal.
    """
    n = len(genotypes)
    if n < LEAST_TRIALS or len(np.unique(scores)) < 2:
        return ()
    columns = list(zip(*genotypes, strict=True))
    classes = {
        name: found
        for name, column in zip(names, columns, strict=True)
        if len(np.unique(found := _classes(column))) > 1
    }
    random = np.random.default_rng(seed)
    halves = [random.permutation(n)[: n // 2] for _ in range(_HALVES)]
    ranks = [stats.rankdata(scores[half]) for half in halves]
    whole = stats.rankdata(scores)
    width = float(stats.norm.ppf(0.5 + confidence / 2))
    effects = []
    for name, column in zip(names, columns, strict=True):
        if name not in classes:
            continue
        found = classes[name]
        k = len(np.unique(found))
        share = _epsilon_squared(whole, found)
        drawn = [_epsilon_squared(r, found[half]) for r, half in zip(ranks, halves, strict=True)]
        spread = width * float(np.std(drawn))
        chance = (float(stats.chi2.ppf(0.95, k - 1)) - k + 1) / (n - k)
        direction = None
        if not any(isinstance(value, str) for value in column):
            direction = float(stats.spearmanr(column, scores).statistic)
        low, high = max(share - spread, -1.0), min(share + spread, 1.0)
        effects.append(GeneEffect(name, share, low, high, chance, direction))
    return tuple(sorted(effects, key=lambda one: -one.share))


def _classes(column: Sequence[GeneValue]) -> NDArray[np.int64]:
    """Put values into classes: choices and few numbers as they are, others by their rank."""
    distinct = {str(value) for value in column}
    most = max(2, min(_CLASSES, len(column) // _PER_CLASS))
    if len(distinct) <= most or any(isinstance(value, str) for value in column):
        choices: NDArray[np.int64] = np.unique([str(v) for v in column], return_inverse=True)[1]
        return choices
    ranks = stats.rankdata([float(value) for value in column], method="average")
    places: NDArray[np.int64] = np.ceil(ranks / len(column) * most).astype(np.int64)
    return places


def _epsilon_squared(ranks: Floats, classes: NDArray[np.int64]) -> float:
    """Return the share of the variance of ranks that classes explain, less that of chance."""
    _, place, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    n, k = len(ranks), len(sizes)
    variance = float(np.var(ranks))
    if k < 2 or n <= k or variance == 0:
        return 0.0
    means = np.bincount(place, ranks) / sizes
    between = float(sizes @ (means - ranks.mean()) ** 2)
    h = (n - 1) * between / (n * variance)  # with ties, as scipy.stats.kruskal corrects it
    return 0.0 if math.isnan(h) else (h - k + 1) / (n - k)
