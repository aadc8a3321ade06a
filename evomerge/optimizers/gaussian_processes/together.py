"""Several of a pool of points, each worth most given those before it, by values drawn once.

An acquisition function says what one more point is expected to be worth; choosing several by it
takes another one for each. Where the points to choose from are given, their values can be drawn
together with those of the baseline: what each point adds to it in every sample, and what it still
adds once others have joined, is then exact, and its worth the mean over the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evomerge.optimizers.gaussian_processes.acquisition import Objective
from evomerge.optimizers.gaussian_processes.boxes import Boxes, undominated

Floats = NDArray[np.float64]

_ROUNDING = 1e-12
"""Of the largest gain: what is smaller is nothing, but the rounding of what was taken off."""


class Baseline(Protocol):
    """What is known in every sample, and what points would add to it."""

    def gains(self) -> Floats:
        """Return the mean of what each point adds alone, (n_points,)."""
        ...

    def join(self, index: int) -> None:
        """Let a point join."""
        ...


class UndominatedBoxes:
    """What the front of each sample leaves undominated; points add hypervolume.

    Args:
        known: values of the baseline, maximised, (n_samples, n_known, n_objectives).
        values: of the points, drawn with them, (n_samples, n_points, n_objectives).
        reference: what a value must exceed to count, (n_objectives,).
    """

    def __init__(self, known: Floats, values: Floats, reference: Floats) -> None:
        self._values = values
        self._boxes = undominated(known, reference)
        self._gains = self._volumes(self._boxes)
        self._least = _ROUNDING * self._gains.max()

    def gains(self) -> Floats:
        """Return the mean of the hypervolume that each point adds alone, (n_points,)."""
        return np.where(self._gains > self._least, self._gains, 0.0)

    def join(self, index: int) -> None:
        """Cut what the point dominates out of the boxes."""
        points = self._values[:, index]
        reached = self._boxes.reached(points)
        before = self._boxes.only(reached)
        after = before.beyond(points)
        self._gains = self._gains - self._volumes(before) + self._volumes(after)
        self._boxes = self._boxes.only(~reached).and_others(after)

    def _volumes(self, boxes: Boxes) -> Floats:
        """Return how much of boxes is below each point, added up, over the number of samples."""
        volumes = np.ones((len(boxes.front), self._values.shape[1]))
        sizes = boxes.upper - boxes.lower
        for k in range(sizes.shape[1]):
            side = self._values[boxes.front, :, k] - boxes.lower[:, k, None]
            volumes *= np.clip(side, 0.0, sizes[:, k, None], out=side)
        total: Floats = volumes.sum(axis=0) / len(self._values)
        return total


class Best:
    """The best of each sample by an objective; points add what they exceed it by.

    Args:
        known: values of the baseline, (n_samples, n_known, n_objectives), one point at least.
        values: of the points, drawn with them, (n_samples, n_points, n_objectives).
        objectives: what is maximised, one after another.
    """

    def __init__(self, known: Floats, values: Floats, objectives: Sequence[Objective]) -> None:
        self._known, self._values = torch.as_tensor(known), torch.as_tensor(values)
        self._objectives = iter(objectives)

    def gains(self) -> Floats:
        """Return the mean improvement by the next objective, (n_points,)."""
        objective = next(self._objectives)
        best = objective(self._known).max(dim=-1, keepdim=True).values
        gains: Floats = (objective(self._values) - best).clamp_min(0.0).mean(dim=0).numpy()
        return gains

    def join(self, index: int) -> None:
        """Let a point join."""
        self._known = torch.cat([self._known, self._values[:, index : index + 1]], dim=1)


def chosen_together(baseline: Baseline, n_points: int, count: int) -> NDArray[np.intp]:
    """Return which points are worth most, each given those before it; of equals the first.

    Args:
        baseline: what is known; the points that are chosen join it.
        n_points: to choose from.
        count: how many; all, if there are no more.
    """
    left = np.ones(n_points, dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, n_points)):
        index = int(np.argmax(np.where(left, baseline.gains(), -np.inf)))
        chosen.append(index)
        left[index] = False
        baseline.join(index)
    return np.array(chosen, dtype=np.intp)
