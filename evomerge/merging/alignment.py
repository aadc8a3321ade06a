"""Embedding rows of models with different vocabularies, brought to one vocabulary.

Each input's rows are permuted to the target vocabulary. A token an input lacks gets, for that
input: the row of the only input that has it; else the base's row if the base has it; else the
mean over the inputs that have it; else zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.recipe.layout import part_of


@dataclass(frozen=True, slots=True)
class Alignment:
    """A target vocabulary and where each model has its tokens.

    Attributes:
        rows: size of the target vocabulary.
        positions: by model key, int64 of shape (rows,): the model's row of each target token,
            -1 where it has none.
    """

    rows: int
    positions: Mapping[str, Tensor]


def has_vocabulary_axis(name: str) -> bool:
    """Tell whether the first axis of a tensor outside the layers counts tokens."""
    if part_of(name) == "head":
        return True
    return name.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight"))


def align(tensors: Sequence[Tensor], positions: Sequence[Tensor], base: int | None) -> list[Tensor]:
    """Permute the rows of every input to the target vocabulary and fill in what it lacks.

    Args:
        tensors: one per input, tokens along the first axis, alike in the other axes.
        positions: one per input, see `Alignment`.
        base: position of the base among the inputs.

    Returns:
        One tensor per input, of shape (rows, ...), in the promoted dtype of the inputs.
    """
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    device = tensors[0].device
    places = torch.stack([place.to(device) for place in positions])
    present = places >= 0
    rows = [
        tensor.to(dtype)[place.clamp(min=0)] for tensor, place in zip(tensors, places, strict=True)
    ]
    width = [1] * (tensors[0].ndim - 1)
    held = [p.view(-1, *width) for p in present]
    count = present.sum(dim=0).clamp(min=1).view(-1, *width)
    total = torch.zeros_like(rows[0])
    for row, mask in zip(rows, held, strict=True):
        total += row * mask
    default = total / count
    if base is not None:
        default = torch.where(held[base], rows[base], default)
    return [torch.where(mask, row, default) for row, mask in zip(rows, held, strict=True)]
