"""Rows of unequal length as left-padded batches."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from evomerge.errors import DataError


def length_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield row numbers in batches of similar length, the longest first.

    The longest first: a batch that does not fit in memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def left_pad(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Stack rows right-aligned.

    The padding is token 0, which every vocabulary has (a tokenizer's padding token may lie beyond
    the embedding); the mask hides it.

    Returns:
        Token ids (n_rows, n_columns) int64 and the mask (n_rows, n_columns) int64 that is 1 on
        tokens, or None where all rows are equally long and no mask is needed.
    """
    width = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    if all(len(row) == width for row in rows):
        return ids.to(device), None
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids.to(device), mask.to(device)


def accepts(module: Any, argument: str) -> bool:
    """Say whether a model's forward has a parameter of its own by that name."""
    return argument in inspect.signature(module.forward).parameters


def cache_keyword(module: Any) -> str:
    """Return what a model calls its key/value cache, among its arguments and in its output.

    It is `cache` since transformers 5.24, which warns of the name before.
    """
    return "cache" if accepts(module, "cache") else "past_key_values"


def check_length(module: Any, n_tokens: int, what: str) -> None:
    """Refuse text longer than the positions the model knows.

    Raises:
        DataError: `n_tokens` exceeds the configuration's max_position_embeddings.
    """
    limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and n_tokens > limit:
        raise DataError(
            f"{what} takes {n_tokens} tokens and the model has {limit} positions; "
            "shorten the items or lower max_new_tokens"
        )
