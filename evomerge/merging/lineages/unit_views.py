"""Tensors seen as the flat order sees them: unit by unit along an axis, see `recipe.order`.

Inside a unit elements stand row by row: those of a unit of columns go down the rows, and a row
holds the unit's columns.
"""

from __future__ import annotations

import math

from torch import Tensor

from evomerge.recipe.order import Member


def axis_view(tensor: Tensor, member: Member) -> Tensor:
    """Return a member's part of a contiguous tensor, shape (before, indices, after).

    The middle dimension is that of the units; the others are the dimensions before and after it.
    """
    shape = member.shape or (1,)
    before, after = math.prod(shape[: member.axis]), math.prod(shape[member.axis + 1 :])
    view = tensor.view(before, shape[member.axis], after)
    return view[:, member.first : member.end]


def in_order(tensor: Tensor, member: Member, units: int, first: int, end: int) -> Tensor:
    """Return elements [first, end) of a member, unit by unit, shape (end - first,).

    Args:
        tensor: the whole tensor, contiguous.
        member: the part of it.
        units: of its block.
        first: of the elements.
        end: one past the last element.
    """
    width = member.size // units
    per_unit = (member.end - member.first) // units
    start, stop = first // width, -(-end // width)
    run = axis_view(tensor, member)[:, start * per_unit : stop * per_unit]
    before, _, after = run.shape
    by_unit = run.reshape(before, stop - start, per_unit, after).transpose(0, 1)
    return by_unit.reshape(-1)[first - start * width : end - start * width]
