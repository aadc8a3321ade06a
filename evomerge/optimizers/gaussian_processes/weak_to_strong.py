"""Weak-to-strong variation: candidates take genes from mutants of the best evaluated points.

A step of differential evolution (rand/1/bin) in MM-MO's released code (arXiv 2407.00487): for
distinct elites a, b, c the mutant is clip(a + F (b - c), 0, 1), and each gene of a candidate is
replaced by the mutant's with probability 0.5, at least one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evomerge.optimizers.gaussian_processes.encoding import Encoding
from evomerge.pareto import contributions, non_dominated, ranks, thin

Floats = NDArray[np.float64]

FEWEST = 3
"""Elites that a mutant is made of."""

_MOST_SWEPT = 3  # objectives with exact contributions at little cost


def weak_to_strong(
    candidates: Floats,
    elites: Floats,
    encoding: Encoding,
    random: np.random.Generator,
    *,
    factor: tuple[float, float] = (0.5, 0.5),
    rate: float = 0.5,
) -> Floats:
    """Return the candidates after crossover with mutants, canonical, (n_candidates, n_genes).

    A mutant's categorical genes are those of its first elite. With fewer than three elites some are
    taken twice; without any the candidates stay as they are.

    Args:
        candidates: canonical points, (n_candidates, n_genes).
        elites: canonical points, (n_elites, n_genes).
        encoding: of the domain.
        random: of everything drawn.
        factor: least and greatest F, drawn for each candidate.
        rate: how likely a gene is replaced.
    """
    if not len(elites) or not len(candidates):
        return candidates.copy()
    n, n_genes = candidates.shape
    trios = np.array(
        [random.choice(len(elites), FEWEST, replace=len(elites) < FEWEST) for _ in range(n)]
    )
    a, b, c = (elites[trios[:, place]] for place in range(FEWEST))
    factors = random.uniform(*factor, size=(n, 1))
    mutants = encoding.choices_of(np.clip(a + factors * (b - c), 0.0, 1.0), a)
    taken = random.random((n, n_genes)) < rate
    taken[np.arange(n), random.integers(n_genes, size=n)] = True
    return encoding.crossed(candidates, mutants, taken)


def elites_by_sum(values: Floats, count: int) -> NDArray[np.intp]:
    """Return the rows with the largest sums, best first; of equals the earlier.

    Args:
        values: maximised, (n_points, n_objectives).
        count: how many, if there are as many.
    """
    return np.argsort(-values.sum(axis=1), kind="stable")[:count]


def elites_by_contribution(values: Floats, reference: Floats, count: int) -> NDArray[np.intp]:
    """Return the rows of the front that add most to its hypervolume, best first.

    With more than three objectives: front rows that stand for all of it, since contributions get
    expensive. Rows of the ranks behind the front follow if it has fewer than three.

    Args:
        values: maximised, (n_points, n_objectives).
        reference: of the hypervolume, (n_objectives,).
        count: how many rows of the front, if there are as many.
    """
    costs = -values
    front = non_dominated(costs, dedupe=True)
    if values.shape[1] <= _MOST_SWEPT:
        worth = contributions(costs[front], -reference)
        chosen = front[np.argsort(-worth, kind="stable")][:count]
    else:
        chosen = front[thin(costs[front], count)]
    if len(chosen) < FEWEST:
        behind = np.argsort(ranks(costs), kind="stable")
        others = behind[~np.isin(behind, chosen)]
        chosen = np.concatenate([chosen, others[: FEWEST - len(chosen)]])
    return chosen
