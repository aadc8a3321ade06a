"""Weighted sums over segments of a tensor, in the work dtype, element by element.

Every element goes through the same operations of torch, which treat it alike wherever it stands: a
result depends neither on how the work is cut into pieces nor on the number of threads. They are
those of mergekit's linear for whole weights, and of its task_arithmetic for task vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.merging.lineages.unit_views import axis_view
from evomerge.recipe.order import Member, Positions

_CHUNK = 1 << 20  # elements whose intermediate results stay in a processor's cache
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """The segments that a member of the flat order is cut into.

    Attributes:
        member: which.
        units: of its block.
        bounds: one past the last of the member's elements in each segment, counted unit by unit;
            shape (n_segments,).
        rows: weights of the inputs in each segment, float64, shape (n_segments, n_inputs).
    """

    member: Member
    units: int
    bounds: Positions
    rows: Floats


def add_weighted(
    out: Tensor, term: Tensor, origin: Tensor | None, pieces: Sequence[Piece], columns: list[Floats]
) -> None:
    """Add weight * (term - origin) to `out`, with another weight in each segment.

    Args:
        out: contiguous; written to.
        term: of the same shape and dtype, contiguous.
        origin: likewise; None counts as zero.
        pieces: together they hold every element of the tensor once.
        columns: for each piece the weight in each of its segments, shape (n_segments,).
    """
    first = columns[0][0]
    if all((column == first).all() for column in columns):
        _add_evenly(out, term, origin, float(first))
        return
    for piece, column in zip(pieces, columns, strict=True):
        _add_piece(out, term, origin, piece, column)


def _add_evenly(out: Tensor, term: Tensor, origin: Tensor | None, weight: float) -> None:
    if weight == 0:
        return
    flat_out, flat_term = out.view(-1), term.view(-1)
    flat_origin = None if origin is None else origin.view(-1)
    factor = torch.tensor([weight], dtype=out.dtype, device=out.device)
    for start in range(0, flat_out.numel(), _CHUNK):
        part = slice(start, start + _CHUNK)
        views = [flat_out[part], flat_term[part]]
        _add(views if flat_origin is None else [*views, flat_origin[part]], factor)


def _add_piece(
    out: Tensor, term: Tensor, origin: Tensor | None, piece: Piece, column: Floats
) -> None:
    by_index, cut = spread(piece, column)
    views = [axis_view(one, piece.member) for one in (out, term)]
    views += [] if origin is None else [axis_view(origin, piece.member)]
    used = np.flatnonzero(by_index)
    if len(used):
        first, end = int(used[0]), int(used[-1]) + 1
        weights = torch.tensor(by_index[first:end], dtype=out.dtype, device=out.device)
        _add_runs([view[:, first:end] for view in views], weights)
    per_unit = (piece.member.end - piece.member.first) // piece.units
    for unit, values in cut:
        parts = [view[:, unit * per_unit : (unit + 1) * per_unit] for view in views]
        weights = torch.tensor(values, dtype=out.dtype, device=out.device)
        _add(parts, weights.view(parts[0].shape))


def _add_runs(views: list[Tensor], weights: Tensor) -> None:
    """Add with one weight for each index of the middle dimension, piece by piece."""
    before, n, after = views[0].shape
    rows = max(1, _CHUNK // (n * after))
    indices = min(n, max(1, _CHUNK // after))
    for row in range(0, before, rows):
        for index in range(0, n, indices):
            part = (slice(row, row + rows), slice(index, index + indices))
            _add([view[part] for view in views], weights[part[1]].view(1, -1, 1))


def _add(parts: list[Tensor], weights: Tensor) -> None:
    out, term, *origin = parts
    if origin:
        out.add_((term - origin[0]).mul_(weights))
    else:
        out.addcmul_(term, weights)


def spread(piece: Piece, column: Floats) -> tuple[Floats, list[tuple[int, Floats]]]:
    """Return the weight of every index along the axis, and what a boundary cuts in two.

    Returns:
        Shape (n_indices,), zero in units that a boundary cuts; and of each of those the number
        and a weight for each element.
    """
    member, units = piece.member, piece.units
    width, per_unit = member.size // units, (member.end - member.first) // units
    edges = np.arange(units, dtype=np.int64) * width
    segment = np.searchsorted(piece.bounds, edges, "right")
    whole = piece.bounds[segment] >= edges + width
    by_unit = np.where(whole, column[segment], 0.0)
    cut = []
    for unit in np.flatnonzero(~whole):
        elements = np.arange(edges[unit], edges[unit] + width)
        cut.append((int(unit), column[np.searchsorted(piece.bounds, elements, "right")]))
    return np.repeat(by_unit, per_unit), cut
