"""What estimators make of few answers, where the truth is known: ranking, error, coverage.

    python experiments/evaluation_economy/irt_simulation.py             # 20 seeds, some minutes

writes the tables into the README. `irt_world.py` is the world; `irt_tables.py` the tables, and the
values to reproduce.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from irt_world import KNOWN_MERGES, N_CANDIDATES, N_DIMENSIONS, Answers, World
from numpy.typing import NDArray
from scipy.stats import spearmanr

from evomerge.estimators import (
    Estimate,
    Evidence,
    Gaussian,
    GmpIrt,
    Mean,
    MpIrt,
    PIrt,
    entropy_order,
    fit_items,
    random_order,
)
from evomerge.testing.readme import publish

SIZES = (10, 20, 50, 100)
PROBES = (5, 20, 60)
"""How many models answer every item before a self-fit, the endpoints among them."""
FIT_SIZE = 20
"""How many items candidates answer there."""

Order = tuple[str, ...]


@dataclass(frozen=True)
class Quality:
    """How good the estimates of one world's candidates are.

    Attributes:
        spearman: rank correlation with the true scores.
        error: mean absolute error.
        regret: true score of the best candidate minus that of the one estimated best.
        coverage: share of candidates whose 95 % interval holds the true score.
    """

    spearman: float
    error: float
    regret: float
    coverage: float


Cells = dict[tuple[str, int], Quality]
"""Quality by arm and number of items answered, or of probes."""


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many worlds of either kind")
    options = parser.parse_args()
    from irt_tables import report_lines  # noqa: PLC0415  # imports this module

    estimators, fits = (
        {
            off_span: [one(World(seed, off_span)) for seed in range(options.seeds)]
            for off_span in (False, True)
        }
        for one in (estimator_cells, self_fit_cells)
    )
    publish(__file__, "irt_simulation", report_lines(estimators, fits))


def estimator_cells(world: World, sizes: Sequence[int] = SIZES) -> Cells:
    """Return the quality of every estimator, with the items known but for noise."""
    ids = world.items.ids
    ends = dict(zip(("first", "second"), world.answers(world.endpoints), strict=True))
    merged = dict(zip("abc", world.answers(world.merges(KNOWN_MERGES)), strict=True))
    candidates = world.answers(world.random_merges(N_CANDIDATES))
    evidence = Evidence(ids, endpoints=ends, items=world.known_items)
    center = Gaussian(np.zeros(N_DIMENSIONS))
    estimators = {
        "mean": Mean(evidence),
        "p-IRT": PIrt(evidence, regularised=False),
        "p-IRT, MAP": PIrt(evidence, prior=center),
        "mp-IRT": MpIrt(evidence, regularised=False),
        "mp-IRT, MAP": MpIrt(evidence),
        "gmp-IRT": GmpIrt(evidence, regularised=False),
        "gmp-IRT, MAP": GmpIrt(evidence),
    }
    orders = {
        "": random_order(ids, world.seed),
        "entropy: ": entropy_order(ids, ends | merged, world.seed),
    }
    cells: Cells = {}
    for n in sizes:
        own = [random_order(ids, 1000 * world.seed + at + 1) for at in range(len(candidates))]
        cells["mean, fresh subsets", n] = quality(estimators["mean"].estimate, candidates, own, n)
        for kind, order in orders.items():
            shared = [order] * len(candidates)
            for name, estimator in estimators.items():
                cells[kind + name, n] = quality(estimator.estimate, candidates, shared, n)
    return cells


def self_fit_cells(world: World, counts: Sequence[int] = PROBES) -> Cells:
    """Return the quality of item models fitted on the answers of G probes, by G."""
    ids = world.items.ids
    ends = world.answers(world.endpoints)
    others = world.answers(world.random_merges(max(counts) - len(ends)))
    candidates = world.answers(world.random_merges(N_CANDIDATES))
    order = random_order(ids, world.seed)
    partial = {
        f"candidate-{at}": prefix(answers, order, FIT_SIZE) for at, answers in enumerate(candidates)
    }
    cells: Cells = {}
    mean = Mean(Evidence(ids)).estimate
    for count in counts:
        probes = {f"probe-{at}": answers for at, answers in enumerate((ends + others)[:count])}
        divided = entropy_order(ids, probes, world.seed)
        arms: Mapping[str, tuple[Callable[[Answers], Estimate], Order]] = {
            "mean": (mean, order),
            "self-fit, rank 1": (fitted(ids, probes, {}, 1), order),
            "self-fit, rank 2": (fitted(ids, probes, {}, 2), order),
            "rank 1, candidates' answers included": (fitted(ids, probes, partial, 1), order),
            "entropy subset of the probes: mean": (mean, divided),
            "entropy subset of the probes: self-fit, rank 1": (
                fitted(ids, probes, {}, 1),
                divided,
            ),
        }
        for name, (estimate, asked) in arms.items():
            shared = [asked] * len(candidates)
            cells[name, count] = quality(estimate, candidates, shared, FIT_SIZE)
    return cells


def fitted(
    ids: Order, probes: Mapping[str, Answers], partial: Mapping[str, Answers], rank: int
) -> Callable[[Answers], Estimate]:
    """Return MAP p-IRT on fitted items, its prior centred on the probes' mean ability."""
    fit = fit_items({**probes, **partial}, ids, rank)
    center = np.mean([fit.abilities[name] for name in probes], axis=0)
    return PIrt(Evidence(ids, items=fit.items), prior=Gaussian(center)).estimate


def quality(
    estimate: Callable[[Answers], Estimate],
    candidates: Sequence[Answers],
    orders: Sequence[Order],
    n: int,
) -> Quality:
    """Return how good the estimates are when each candidate answers the first n of its order."""
    estimates = [
        estimate(prefix(answers, order, n))
        for answers, order in zip(candidates, orders, strict=True)
    ]
    truth = np.array([np.mean(list(answers.values())) for answers in candidates])
    values = np.array([one.value for one in estimates])
    intervals = np.array([one.interval() for one in estimates])
    inside = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    best = values == values.max()
    return Quality(
        float(spearmanr(values, truth).statistic) if len(np.unique(values)) > 1 else 0.0,
        float(np.abs(values - truth).mean()),
        float(truth.max() - truth[best].mean()),  # a tie is broken by lot
        float(inside.mean()),
    )


def prefix(answers: Answers, order: Order, n: int) -> Answers:
    """Return the answers to the first n items of an order."""
    return {name: answers[name] for name in order[:n]}


def gathered(worlds: Sequence[Cells], what: str) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Return one figure of every cell over the worlds, (n_worlds,)."""
    figures = defaultdict(list)
    for cells in worlds:
        for key, cell in cells.items():
            figures[key].append(getattr(cell, what))
    return {key: np.array(values) for key, values in figures.items()}


if __name__ == "__main__":
    main()
