"""The part of objective space that a front leaves undominated, cut into disjoint boxes.

Coordinates are maximised; a region begins at the reference point and has no upper end. The gain of
a point y is the sum over boxes of prod_k min(max(y_k - lower_k, 0), upper_k - lower_k).

Two objectives give a strip for each step of the staircase. With three, the third is swept downwards
and a box is closed whenever a new point changes a strip of the staircase below it, at most 2n + 1
boxes for n points (the count of Yang et al., 2019, 'Efficient computation of expected hypervolume
improvement using box decomposition algorithms'). BoTorch's partitioning has as many, but takes tens
of milliseconds a front, and one front a posterior sample is needed. Four objectives and more are
left to it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
import torch
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bounds = tuple[Floats, Floats]


def undominated_boxes(values: Floats, reference: Floats) -> Bounds:
    """Return lower and upper corners of the boxes, each (n_boxes, n_objectives).

    Args:
        values: maximised, (n_points, n_objectives) with two objectives or more; points that are
            dominated, repeat or do not exceed the reference change nothing.
        reference: (n_objectives,).
    """
    inside = values[(values > reference).all(axis=1)]
    match len(reference):
        case 2:
            boxes = _strips(inside, reference)
        case 3:
            boxes = _swept(inside, reference)
        case _:
            return _partitioned(inside, reference)
    corners = np.array(boxes).reshape(-1, 2, len(reference))
    return corners[:, 0], corners[:, 1]


def stacked(fronts: Floats, reference: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the boxes of many fronts, padded to one number.

    Args:
        fronts: (n_fronts, n_points, n_objectives).
        reference: (n_objectives,).

    Returns:
        Lower and upper corners, (n_fronts, n_boxes, n_objectives), and which boxes are none,
        (n_fronts, n_boxes); those lie between 0 and 1.
    """
    found = [undominated_boxes(front, reference) for front in fronts]
    most = max(len(lower) for lower, _ in found)
    lower = np.zeros((len(found), most, len(reference)))
    upper = np.ones_like(lower)
    padding = np.ones((len(found), most), dtype=bool)
    for row, (low, high) in enumerate(found):
        lower[row, : len(low)] = low
        upper[row, : len(low)] = high
        padding[row, : len(low)] = False
    return lower, upper, padding


def _strips(values: Floats, reference: Floats) -> list[tuple[list[float], list[float]]]:
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


def _swept(values: Floats, reference: Floats) -> list[tuple[list[float], list[float]]]:
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


def _partitioned(values: Floats, reference: Floats) -> Bounds:
    partitioning = FastNondominatedPartitioning(
        ref_point=torch.as_tensor(reference), Y=torch.as_tensor(values)
    )
    lower, upper = partitioning.get_hypercell_bounds().numpy()
    solid = (upper > lower).all(axis=1)
    return lower[solid], upper[solid]
