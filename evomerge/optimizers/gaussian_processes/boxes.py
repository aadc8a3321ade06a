"""The part of objective space that a front leaves undominated, cut into disjoint boxes.

Coordinates are maximised; a region begins at the reference point and has no upper end. The gain of
a point y is the sum over boxes of prod_k min(max(y_k - lower_k, 0), upper_k - lower_k).

Two objectives give a strip for each step of the staircase. With three, the third is swept downwards
and a box is closed whenever a new point changes a strip of the staircase below it, at most 2n + 1
boxes for n points (the count of Yang et al., 2019, 'Efficient computation of expected hypervolume
improvement using box decomposition algorithms'). With more, one point after another is cut out of
the boxes, of all fronts at once. One front a posterior sample is needed: BoTorch's partitioning has
as many boxes for three objectives, and three quarters as many for four, but takes some hundred
times as long.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Corners: TypeAlias = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of many fronts.

    Attributes:
        front: whose each is, (n_boxes,).
        lower: corners, (n_boxes, n_objectives).
        upper: corners, (n_boxes, n_objectives).
    """

    front: NDArray[np.intp]
    lower: Floats
    upper: Floats

    def only(self, which: NDArray[np.bool_]) -> Boxes:
        """Return the boxes of a mask."""
        return Boxes(self.front[which], self.lower[which], self.upper[which])

    def and_others(self, others: Boxes) -> Boxes:
        """Return these boxes and others after them."""
        return Boxes(
            np.concatenate([self.front, others.front]),
            np.concatenate([self.lower, others.lower]),
            np.concatenate([self.upper, others.upper]),
        )

    def reached(self, points: Floats) -> NDArray[np.bool_]:
        """Say of which boxes a point dominates a part, (n_boxes,).

        Args:
            points: one for each front, (n_fronts, n_objectives).
        """
        reached: NDArray[np.bool_] = np.all(points[self.front] > self.lower, axis=1)
        return reached

    def beyond(self, points: Floats) -> Boxes:
        """Return what points leave undominated of boxes that they reach: a piece a coordinate.

        Args:
            points: one for each front, (n_fronts, n_objectives).
        """
        corner = np.minimum(points[self.front], self.upper)
        dimension = corner.shape[1]
        lower = np.repeat(self.lower[None], dimension, axis=0)
        upper = np.repeat(self.upper[None], dimension, axis=0)
        for k in range(dimension):
            # beyond the corner in this coordinate, and up to it in those before
            lower[k, :, k] = corner[:, k]
            upper[k, :, :k] = corner[:, :k]
        solid = (upper > lower).all(axis=2)
        return Boxes(np.broadcast_to(self.front, solid.shape)[solid], lower[solid], upper[solid])

    def padded(self, n_fronts: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return as many boxes for every front.

        Returns:
            Lower and upper corners, (n_fronts, most, n_objectives), and which boxes are none,
            (n_fronts, most); those lie between 0 and 1.
        """
        counts = np.bincount(self.front, minlength=n_fronts)
        order = np.argsort(self.front, kind="stable")
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        where = (self.front[order], place)
        lower = np.zeros((n_fronts, int(counts.max()), self.lower.shape[1]))
        upper = np.ones_like(lower)
        padding = np.ones(lower.shape[:2], dtype=bool)
        lower[where], upper[where], padding[where] = self.lower[order], self.upper[order], False
        return lower, upper, padding


def undominated(fronts: Floats, reference: Floats) -> Boxes:
    """Return the boxes of many fronts.

    Args:
        fronts: maximised, (n_fronts, n_points, n_objectives) with two objectives or more; points
            that are dominated, repeat or do not exceed the reference change nothing.
        reference: (n_objectives,).
    """
    if len(reference) > 3:
        return _cut(fronts, reference)
    of_one = _strips if len(reference) == 2 else _swept
    found = [of_one(one[(one > reference).all(axis=1)], reference) for one in fronts]
    front = np.repeat(np.arange(len(found)), [len(boxes) for boxes in found])
    corners = np.array([corner for boxes in found for corner in boxes])
    return Boxes(front, corners[:, 0], corners[:, 1])


def _cut(fronts: Floats, reference: Floats) -> Boxes:
    """Cut one point of each front after another out of everything beyond the reference.

    Points that dominate most come first, which leaves fewer boxes, often about half as many.
    """
    n_fronts, n_points, dimension = fronts.shape
    volumes = np.maximum(fronts - reference, 0.0).prod(axis=2)
    order = np.argsort(-volumes, axis=1, kind="stable")
    corners = np.tile(reference, (n_fronts, 1))
    boxes = Boxes(np.arange(n_fronts), corners, np.full((n_fronts, dimension), np.inf))
    for place in range(n_points):
        points = fronts[np.arange(n_fronts), order[:, place]]
        reached = boxes.reached(points)
        boxes = boxes.only(~reached).and_others(boxes.only(reached).beyond(points))
    return boxes


def _strips(values: Floats, reference: Floats) -> list[Corners]:
    """Cut the plane into a strip for each step: [x_(i-1), x_i] above the height there."""
    left, floor = float(reference[0]), float(reference[1])
    order = np.lexsort((values[:, 1], values[:, 0]))
    xs, heights = values[order, 0], np.maximum.accumulate(values[order, 1][::-1])[::-1]
    following = np.append(heights, floor)[1:]
    boxes = []
    for x, height, after in zip(xs.tolist(), heights.tolist(), following.tolist(), strict=True):
        if height > after:
            boxes.append(([left, height], [x, np.inf]))
            left = x
    boxes.append(([left, floor], [np.inf, np.inf]))
    return boxes


def _swept(values: Floats, reference: Floats) -> list[Corners]:
    """Sweep the third coordinate from above, keeping the strips over the staircase of the others.

    Strip i is [starts[i], starts[i + 1]] x [heights[i], inf], and has been so down from tops[i].
    """
    starts = [float(reference[0])]
    heights = [float(reference[1])]
    tops = [np.inf]
    boxes = []

    def close(first: int, last: int, bottom: float) -> None:
        for i in range(first, last):
            if tops[i] > bottom:
                right = starts[i + 1] if i + 1 < len(starts) else np.inf
                boxes.append(([starts[i], heights[i], bottom], [right, np.inf, tops[i]]))

    for x, y, z in values[np.argsort(-values[:, 2], kind="stable")].tolist():
        last = bisect_left(starts, x) - 1  # the strip that x lies in, or ends with
        if heights[last] >= y:
            continue
        # heights fall from left to right; the first that is lower than y
        first = bisect_right(heights, -y, hi=last + 1, key=lambda height: -height)
        close(first, last + 1, z)
        raised_start = starts[first]
        rest_height = heights[last]
        has_rest = last + 1 == len(starts) or starts[last + 1] > x
        starts[first : last + 1] = [raised_start, x] if has_rest else [raised_start]
        heights[first : last + 1] = [y, rest_height] if has_rest else [y]
        tops[first : last + 1] = [z, z] if has_rest else [z]
    close(0, len(starts), float(reference[2]))
    return boxes
