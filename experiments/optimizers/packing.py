"""From evaluations to a shipped problem: kernels, reference front, facts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from fitting import Fitted, fit, left_out, r_squared
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions
from studies import ITEMS

from evomerge.optimizers.nsga2 import Nsga2
from evomerge.pareto import REFERENCE, Anchors, anchored_hypervolume, non_dominated, thin
from evomerge.spaces.domain import Domain, Seed
from evomerge.testing.problems.storage import MergeData
from evomerge.testing.problems.surrogate import Surrogate
from evomerge.types import Completed, Genotype, Objective, Trial

Floats: TypeAlias = NDArray[np.float64]
Row: TypeAlias = Mapping[str, Any]

GRID = {2: 201, 3: 51}
"""Points a side of the dense grid, by the number of genes."""
SHOWN = 1000
"""Points of a reference front that are shipped, at most; its volume is that of all of them."""
FINE = 0.1 / ITEMS
"""Accuracies that differ by less are not told apart by a long run: a tenth of an item."""
WORKS = 0.25
"""Mean accuracy from which on a merge counts as one that works."""


def points_and_scores(
    rows: Sequence[Row], tasks: Sequence[str], domain: Domain
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return unit coordinates in single precision, (n, n_genes), and (n_tasks, n, 2 n_items)."""
    points = np.array([domain.to_unit(row["genotype"]) for row in rows], dtype=np.float32)
    scores = [
        [np.frombuffer(bytes.fromhex(row["scores"][task]), np.uint8) for row in rows]
        for task in tasks
    ]
    return points.astype(np.float64), np.unpackbits(np.array(scores), axis=2).astype(np.bool_)


def categorical_of(domain: Domain) -> NDArray[np.bool_]:
    """Say which coordinates are unordered."""
    return np.array([gene.kind == "categorical" for gene in domain.genes])


def fit_all(points: Floats, scores: NDArray[np.bool_], domain: Domain) -> list[Fitted]:
    """Fit the kernel of each task."""
    categorical = categorical_of(domain)
    return [fit(points, categorical, split_means(task)) for task in scores]


def split_means(scores: NDArray[np.bool_]) -> Floats:
    """Return a task's accuracies on search and hold-out items, (n_points, 2)."""
    return np.asarray(scores.reshape(len(scores), 2, ITEMS).mean(axis=2))


def surrogate_of(
    points: Floats, scores: NDArray[np.bool_], domain: Domain, kernels: Sequence[Fitted]
) -> Surrogate:
    """Build the surrogate that problems will use."""
    return Surrogate(
        points,
        scores,
        categorical_of(domain),
        np.array([kernel.rates for kernel in kernels]),
        np.array([kernel.noise for kernel in kernels]),
    )


def packed(
    domain: Domain,
    tasks: Sequence[str],
    rows: Sequence[Row],
    known: Mapping[str, Mapping[str, float]],
    generations: int,
) -> tuple[MergeData, Floats, Floats]:
    """Fit a problem and find its front.

    Args:
        domain: of the space.
        tasks: the objectives.
        rows: the evaluations.
        known: accuracies on the search items of 'base' and of each donor.
        generations: of the long run, where there are too many genes for a grid.

    Returns:
        What the file holds, and the rates and noise of its kernels.
    """
    points, scores = points_and_scores(rows, tasks, domain)
    kernels = fit_all(points, scores, domain)
    surrogate = surrogate_of(points, scores, domain, kernels)
    donors = {name: row for name, row in known.items() if name != "base"}
    anchors = Anchors.of([Objective(task) for task in tasks], known["base"], list(donors.values()))
    side = GRID.get(len(domain))
    if side and not categorical_of(domain).any():
        front, costs = front_of(dense_grid(len(domain), side), surrogate)
        found_by, runs = f"grid of {side} points a side", [1.0]
    else:
        found = [long_run(domain, surrogate, generations, seed) for seed in (0, 1)]
        front, costs = front_of(np.vstack(found), surrogate)
        each = [volume(costs_of(one, surrogate), anchors) for one in found]
        found_by, runs = "long run", [one / volume(costs, anchors) for one in each]
    shown = kept(costs, anchors)
    facts = {
        "evaluations": len(rows),
        "tasks": judged(points, scores, domain, kernels, tasks),
        "front": {
            "found_by": found_by,
            "runs": runs,
            "points": len(front),
            "volume_kept": volume(costs[shown], anchors),
            "volume_measured": volume(-scores[:, :, :ITEMS].mean(axis=2).T, anchors),
        },
    }
    data = MergeData(
        domain=domain,
        tasks=tuple(tasks),
        base=known["base"],
        donors=donors,
        surrogate=surrogate,
        front=front[shown],
        front_costs=costs[shown],
        front_volume=volume(costs, anchors),
        facts=facts,
    )
    rates = np.array([kernel.rates for kernel in kernels])
    return data, rates, np.array([kernel.noise for kernel in kernels])


def judged(
    points: Floats,
    scores: NDArray[np.bool_],
    domain: Domain,
    kernels: Sequence[Fitted],
    tasks: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Compare each task's search accuracy with what ten-fold left-out points predict.

    'works' restricts to the points whose measured accuracies have a mean of at least `WORKS`;
    'drawn' is the standard deviation that item by item draws have there, to compare with the
    root mean squared error.
    """
    works = scores[:, :, :ITEMS].mean(axis=(0, 2)) >= WORKS
    result = {}
    for task, own, kernel in zip(tasks, scores, kernels, strict=True):
        real = split_means(own)[:, 0]
        raw = left_out(points, categorical_of(domain), kernel, own[:, :ITEMS].astype(float))
        predicted = np.clip(raw.mean(axis=1), 0, 1)
        chances = np.clip(raw, 0, 1)
        drawn = (chances * (1 - chances)).sum(axis=1) / ITEMS**2
        result[task] = {
            "r2": r_squared(real, predicted),
            "r2_works": r_squared(real[works], predicted[works]),
            "rmse_works": float(np.sqrt(((real - predicted)[works] ** 2).mean())),
            "drawn_works": float(np.sqrt(drawn[works].mean())),
            "works": int(works.sum()),
        }
    return result


def dense_grid(n_genes: int, side: int) -> Floats:
    """Return the points of a full grid over the unit cube."""
    return np.array(list(itertools.product(np.linspace(0, 1, side), repeat=n_genes)))


def long_run(domain: Domain, surrogate: Surrogate, generations: int, seed: int = 0) -> Floats:
    """Return all non-dominated points that long searches of the surrogate meet.

    NSGA-II on the genes as they are, started from the front of the evaluated points; and where
    all genes are continuous also NSGA-III.
    """
    start, _ = front_of(surrogate.points, surrogate)
    archive = _Archive(surrogate)
    archive.add(start)
    known = tuple(Seed(f"{i}", domain.from_unit(point)) for i, point in enumerate(start))
    optimizer = Nsga2(replace(domain, seeds=known[:150]), archive.n_tasks, seed, population=200)
    for number in range(200 * generations):
        proposal = optimizer.ask(number)
        if proposal is None:
            break
        point = np.array(domain.to_unit(proposal.genotype))
        costs = tuple(archive.add(point[None])[0].tolist())
        optimizer.tell(Trial(number, proposal.genotype, Completed({}), costs))
    if not categorical_of(domain).any():
        directions = get_reference_directions("energy", archive.n_tasks, 200, seed=1)
        minimize(
            _Searched(len(domain), archive),
            NSGA3(directions, pop_size=200, sampling=_start(start, len(domain), seed)),
            ("n_gen", generations),
            seed=seed,
        )
    return archive.points


def _start(start: Floats, n_genes: int, seed: int) -> Floats:
    more = np.random.default_rng(seed).random((max(200 - len(start), 0), n_genes))
    return np.vstack([start, more])[:200]


class _Archive:
    """What stands for all points whose costs were asked for.

    Each of them is dominated by a kept point, or would be if its costs were larger by `FINE`
    (Laumanns et al., 2002, additive epsilon-dominance).
    """

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self.n_tasks = len(surrogate.scores)
        self.points = np.empty((0, surrogate.points.shape[1]))
        self._costs = np.empty((0, self.n_tasks))

    def add(self, points: Floats) -> Floats:
        """Return the costs of points."""
        costs = costs_of(points, self._surrogate)
        for point, cost in zip(points, costs, strict=True):
            if (self._costs <= cost + FINE).all(axis=1).any():
                continue
            stays = ~(cost <= self._costs).all(axis=1)
            self.points = np.vstack([self.points[stays], point])
            self._costs = np.vstack([self._costs[stays], cost])
        return costs


class _Searched(Problem):
    """The surrogate as pymoo sees it."""

    def __init__(self, n_genes: int, archive: _Archive) -> None:
        super().__init__(n_var=n_genes, n_obj=archive.n_tasks, xl=0.0, xu=1.0)
        self._archive = archive

    def _evaluate(self, x: Floats, out: dict[str, Any], *_: Any, **__: Any) -> None:
        out["F"] = self._archive.add(x)


def costs_of(points: Floats, surrogate: Surrogate) -> Floats:
    """Return the expected costs of points on the search items, (n_points, n_tasks)."""
    return -np.array([surrogate.accuracies(point) for point in points])


def front_of(points: Floats, surrogate: Surrogate) -> tuple[Floats, Floats]:
    """Return the non-dominated of some points, and their costs."""
    costs = costs_of(points, surrogate)
    front = non_dominated(costs, dedupe=True)
    return points[front], costs[front]


def volume(costs: Floats, anchors: Anchors) -> float:
    """Return the anchored hypervolume of costs."""
    zero, one = np.array(anchors.zero), np.array(anchors.one)
    return anchored_hypervolume((-costs - zero) / (one - zero))


def kept(costs: Floats, anchors: Anchors) -> NDArray[np.intp]:
    """Return which points of a front are shipped: `SHOWN` at most, far apart.

    Three of four are above the reference point of the hypervolume: with many objectives most of a
    front is not.
    """
    zero, one = np.array(anchors.zero), np.array(anchors.one)
    above = np.flatnonzero(((-costs - zero) / (one - zero) > REFERENCE).all(axis=1))
    most = 3 * SHOWN // 4
    return np.union1d(above[thin(costs[above], most)], thin(costs, SHOWN - most))


def spread_front(
    domain: Domain, surrogate: Surrogate, count: int, evaluated: set[Genotype], generations: int
) -> Iterator[Genotype]:
    """Yield up to `count` points of the surrogate's front that were not evaluated, far apart."""
    found = dense_grid(len(domain), 41) if len(domain) <= 3 else None
    points = long_run(domain, surrogate, generations) if found is None else found
    front, costs = front_of(points, surrogate)
    for index in thin(costs, count):
        genotype = domain.from_unit(front[index])
        if genotype not in evaluated:
            yield genotype
