"""Anchors: the items that best stand for all others, and how much each stands for.

As in tinyBenchmarks (Maia Polo et al., 2024, arXiv 2402.14992) items are clustered by k-means in
the space of their parameters [a ; b]; the item nearest to a centre is the anchor, and its weight is
what the items of its cluster count together. Two differences: no item is an anchor twice, and where
there are fewer kinds of item than anchors wanted, the heaviest clusters get several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.estimators.evidence import Benchmark
from evomerge.estimators.item_model import ItemParameters
from evomerge.estimators.orders import random_order

_MOST_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class Subset:
    """Items to ask, and what each stands for.

    Attributes:
        ids: sorted.
        weights: by item id, their sum is 1; what `weights` of an estimator takes.
    """

    ids: tuple[str, ...]
    weights: Mapping[str, float]


def cluster_anchors(
    items: ItemParameters, n: int, seed: int, subtasks: Mapping[str, str] | None = None
) -> Subset:
    """Choose anchors among items.

    Args:
        items: every item of the benchmark.
        n: how many anchors.
        seed: of the clustering's start.
        subtasks: subtask of each item, where each subtask counts the same.

    Raises:
        UserError: `n` is not between 1 and the number of items, or an item has no subtask.
    """
    from scipy.cluster.vq import kmeans2, vq  # noqa: PLC0415  # heavy

    if not 1 <= n <= len(items.ids):
        raise UserError(f"{n} anchors cannot be chosen among {len(items.ids)} items")
    benchmark = Benchmark(items.ids, subtasks)
    points = items.select(benchmark.ids).embeddings
    n_clusters = min(n, len(np.unique(points, axis=0)))
    rng = np.random.default_rng(seed)
    centers, cluster = kmeans2(points, n_clusters, iter=1, minit="++", rng=rng)
    for _ in range(_MOST_ROUNDS):  # Lloyd's rounds, weighted as kmeans2 cannot
        centers = _centers(points, cluster, benchmark.weights, centers)
        before, (cluster, distance) = cluster, vq(points, centers)
        if (before == cluster).all():
            break
    mass = np.bincount(cluster, benchmark.weights, minlength=n_clusters).astype(np.float64)
    sizes = np.bincount(cluster, minlength=n_clusters)
    weights: dict[str, float] = {}
    for number, count in enumerate(_allotted(mass, sizes, n)):
        members = np.flatnonzero(cluster == number)
        chosen = members[np.argsort(distance[members], kind="stable")[:count]]
        weights |= {benchmark.ids[at]: float(mass[number] / count) for at in chosen}
    ids = tuple(sorted(weights))
    return Subset(ids, {name: weights[name] for name in ids})


def cluster_order(items: ItemParameters, sizes: Sequence[int], seed: int) -> tuple[str, ...]:
    """Order items so that the first so many stand for all, for each of several sizes.

    The first `sizes[0]` are the anchors of as many clusters, the heaviest first. To reach the next
    size come those anchors of as many clusters as it has items which are not there yet. All others
    follow in random order.

    Args:
        items: every item of the benchmark.
        sizes: increasing, at least 1.
        seed: of clusterings and random order.

    Raises:
        UserError: a size is not between 1 and the number of items.
    """
    chosen: list[str] = []
    for size in sizes:
        weights = cluster_anchors(items, size, seed).weights
        heaviest = sorted(weights, key=lambda name: (-weights[name], name))
        new = [name for name in heaviest if name not in set(chosen)]
        chosen += new[: size - len(chosen)]
    rest = set(items.ids) - set(chosen)
    return (*chosen, *(random_order(sorted(rest), seed) if rest else ()))


def _centers(
    points: NDArray[np.float64],
    cluster: NDArray[np.intp],
    weights: NDArray[np.float64],
    before: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the weighted mean of each cluster, or where it was if it has lost its points."""
    mass = np.bincount(cluster, weights, minlength=len(before))
    sums = np.zeros_like(before)
    np.add.at(sums, cluster, points * weights[:, None])
    kept = mass > 0
    return np.where(kept[:, None], sums / np.where(kept, mass, 1.0)[:, None], before)


def _allotted(mass: NDArray[np.float64], sizes: NDArray[np.intp], n: int) -> list[int]:
    """Return how many anchors each cluster gets: one, and more where an anchor carries most."""
    counts = np.minimum(sizes, 1)
    while counts.sum() < n:
        open_ = counts < sizes
        carried = np.where(open_, mass / np.maximum(counts, 1), -1.0)
        counts[int(np.argmax(carried))] += 1
    return [int(count) for count in counts]
