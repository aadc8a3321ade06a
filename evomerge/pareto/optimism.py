"""The winner's curse: how far the best of several noisy scores exceeds what it would score again.

Whoever is picked by a score is picked for its luck too. Here the pick is repeated: items are
resampled, the model with the best mean on the drawn items is picked, and its score on them is
compared with its score on the items that were not drawn (out of bag), where nothing was picked.

Let s² be the variance of a score over sets of n items, v that of the models' true scores, and c_k
the expected largest of k standard normals. The best of k models has an expected luck of
c_k s² / √(v + s²), while the mean out-of-bag gap of the picks is 2 c_k s² / √(v + 2 s²), since what
was drawn more often is missing from the other side. So the gap is divided by √2: that is the luck
exactly where all models are equally good, and up to √2 times the luck where they differ by much
more than their noise and it is small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 2_000_000  # numbers held at once: 16 MB


def optimism_of_best(groups: Sequence[ArrayLike], seed: int, n_resamples: int = 1000) -> float:
    """Estimate by how much the best of several scores exceeds its model's true score.

    A model's score is the mean over the groups (the items of one objective each) of its mean over
    the group's items.

    Args:
        groups: larger is better, the same models in each, (n_models, n_items of the group).
        seed: of the resampling.
        n_resamples: how often items are drawn.

    Returns:
        The luck in the scores' unit; 0 or more.

    Raises:
        ValueError: no group or model, a group of fewer than two items, shapes that differ in
            models, or a score that is not finite.
    """
    matrices = [np.asarray(group, dtype=np.float64) for group in groups]
    shapes = [matrix.shape for matrix in matrices]
    if not shapes or any(len(shape) != 2 or shape[1] < 2 or not shape[0] for shape in shapes):
        raise ValueError(f"groups must have shape (n_models, n_items of 2 or more), got {shapes}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"groups must hold the same models, got {shapes}")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise ValueError("scores must be finite")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(size for shape in shapes for size in shape))
    total = 0.0
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        inside, outside = np.zeros((2, shapes[0][0], size))
        for matrix in matrices:
            drawn, missed = _draws(matrix.shape[1], size, rng)
            inside += matrix @ drawn.T / len(matrices)
            outside += matrix @ missed.T / len(matrices)
        gaps = inside - outside
        total += float(gaps[np.argmax(inside, axis=0), np.arange(size)].sum())
    return max(0.0, total / n_resamples / math.sqrt(2))


def _draws(
    n_items: int, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights of items in resamples and out of them, each (size, n_items), rows sum 1.

    The rare resample that holds every item is one with its last item drawn as its first instead.
    """
    drawn = rng.integers(n_items, size=(size, n_items))
    drawn += np.arange(size)[:, None] * n_items
    counts = np.bincount(drawn.ravel(), minlength=size * n_items).reshape(size, n_items)
    full = counts.all(axis=1)
    counts[full, -1], counts[full, 0] = 0, 2
    missed = counts == 0
    return counts / n_items, missed / missed.sum(axis=1, keepdims=True)
