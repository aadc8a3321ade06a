"""Accuracies between evaluated merges: Gaussian-process regression with one kernel for each task.

Of points x with 0/1 scores Y of a task's items, (n_points, n_items), the score of every item at a
new point is predicted by the same weights (Rasmussen and Williams, 2006, eq. 2.25; prior mean 0):

    g(x) = k(x)' (K + noise I)^-1 Y

The mean over items of g is therefore the regression of the accuracy itself. Far from everything
that was evaluated it is 0: the surrogate knows of no skill that no merge has shown.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Kept: TypeAlias = Literal["search", "holdout"]
"""Which items: those that a search sees, or those that its result is reported on."""

_ROOT5 = 5.0**0.5


class Surrogate:
    """Predicts accuracies and the probability that an item is answered, for each task.

    The kernel of a task is a Matérn 5/2 of the continuous coordinates, times exp(-sum of rates)
    over the categorical ones that differ; its variance is 1.

    Args:
        points: coordinates in [0, 1], (n_points, n_genes); equal choices have equal coordinates.
        scores: whether an item was answered, (n_tasks, n_points, 2 n_items); search items first.
        categorical: which coordinates are unordered, (n_genes,).
        rates: squared inverse length scales, and rates of the categorical ones,
            (n_tasks, n_genes).
        noise: variance of what no smooth function of the point explains, as a multiple of the
            kernel's, (n_tasks,).
    """

    def __init__(
        self,
        points: Floats,
        scores: NDArray[np.bool_],
        categorical: NDArray[np.bool_],
        rates: Floats,
        noise: Floats,
    ) -> None:
        self.points = points
        self.scores = scores
        self.n_items = scores.shape[2] // 2
        self._categorical = categorical
        self._smooth_rates = np.where(categorical, 0.0, rates).T.copy()
        self._choice_rates = np.where(categorical, rates, 0.0).T.copy()
        self._noise = noise

    def correlations(self, point: Floats) -> Floats:
        """Return the kernels between a point (n_genes,) and all evaluated, (n_points, n_tasks)."""
        difference = self.points - point
        distance = _ROOT5 * np.sqrt((difference * difference) @ self._smooth_rates)
        kernel = (1.0 + distance * (1.0 + distance / 3.0)) * np.exp(-distance)
        if self._categorical.any():
            kernel *= np.exp(-((difference != 0) @ self._choice_rates))
        return np.asarray(kernel)

    def accuracies(self, point: Floats, kept: Kept = "search") -> Floats:
        """Return the expected accuracy of each task at a point (n_genes,), (n_tasks,)."""
        raw = np.einsum("nt,nt->t", self.correlations(point), self._mean_weights[kept])
        return np.asarray(np.clip(raw, 0.0, 1.0))

    def probabilities(self, point: Floats, kept: Kept = "search") -> Floats:
        """Return how likely each item is answered, (n_tasks, n_items).

        These are g(x), moved by a constant for each task and clipped into [0, 1], such that their
        mean is the accuracy of `accuracies`.
        """
        kernel = self.correlations(point)
        accuracies = np.clip(np.einsum("nt,nt->t", kernel, self._mean_weights[kept]), 0.0, 1.0)
        raw = np.matmul(kernel.T[:, None, :], self._item_weights[kept])[:, 0, :]
        return moved_to_mean(raw, accuracies)

    @cached_property
    def _weights(self) -> Floats:
        """(K + noise I)^-1 Y, (n_tasks, n_points, 2 n_items)."""
        from scipy.linalg import cho_factor, cho_solve  # noqa: PLC0415  # heavy

        kernels = np.stack([self.correlations(point) for point in self.points])
        weights = np.empty(self.scores.shape)
        for task, noise in enumerate(self._noise):
            matrix = kernels[:, :, task] + noise * np.eye(len(self.points))
            weights[task] = cho_solve(
                cho_factor(matrix, lower=True), self.scores[task].astype(float)
            )
        return weights

    @cached_property
    def _item_weights(self) -> dict[Kept, Floats]:
        search, holdout = np.split(self._weights, 2, axis=2)
        return {"search": search.copy(), "holdout": holdout.copy()}

    @cached_property
    def _mean_weights(self) -> dict[Kept, Floats]:
        return {kept: w.mean(axis=2).T.copy() for kept, w in self._item_weights.items()}


def moved_to_mean(values: Floats, means: Floats) -> Floats:
    """Move each row by a constant and clip it into [0, 1], such that it has the wanted mean.

    Args:
        values: (n_rows, n_columns).
        means: in [0, 1], (n_rows,).
    """
    n_columns = values.shape[1]
    # The mean of the clipped row is piecewise linear in the shift: a value starts to rise where the
    # shift is minus the value, and is at 1 where it is one more.
    shifts = np.concatenate([-values, 1.0 - values], axis=1)
    order = np.argsort(shifts, axis=1)
    shifts = np.take_along_axis(shifts, order, axis=1)
    slopes = np.cumsum(np.where(order < n_columns, 1.0, -1.0), axis=1) / n_columns
    reached = np.zeros_like(shifts)
    np.cumsum(slopes[:, :-1] * np.diff(shifts, axis=1), axis=1, out=reached[:, 1:])
    shift = [np.interp(m, r, s) for m, r, s in zip(means, reached, shifts, strict=True)]
    return np.asarray(np.clip(values + np.array(shift)[:, None], 0.0, 1.0))
