"""Choices after one context, the context computed once.

A question of four choices is four rows of nearly the same tokens. Here the context goes through the
model once, and its keys and values serve all of its continuations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch

from evomerge.errors import FitnessError
from evomerge.fitness.batches import accepts, cache_keyword, left_pad

Choices: TypeAlias = tuple[Sequence[int], Sequence[Sequence[int]]]
"""A context's tokens, and those of its continuations; neither is ever empty."""


def context_batches(sizes: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield numbers of contexts in batches of at most so many continuations, or of one context."""
    batch: list[int] = []
    rows = 0
    for number, size in enumerate(sizes):
        if batch and rows + size > batch_size:
            yield batch
            batch, rows = [], 0
        batch.append(number)
        rows += size
    if batch:
        yield batch


def choice_log_probabilities(
    module: Any, questions: Sequence[Choices], device: torch.device
) -> list[torch.Tensor]:
    """Return the log-probabilities that score each continuation, question by question.

    Args:
        module: a causal language model of transformers, in eval mode.
        questions: contexts with their continuations, of which all but the last token are read.
        device: where the module lives.

    Returns:
        For each continuation (n_tokens, n_vocabulary), in the logits' dtype.

    Raises:
        FitnessError: the model keeps no KV cache.
    """
    contexts = [context for context, _ in questions]
    ids, mask = left_pad(contexts, device)
    mask = torch.ones_like(ids) if mask is None else mask
    past = cache_keyword(module)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    output = _call(module, ids, mask, positions, past, None)
    cache = getattr(output, past, None)
    if cache is None or not hasattr(cache, "reorder_cache"):
        raise FitnessError(
            f"{type(module).__name__} keeps no KV cache in {past}; remove share_contexts"
        )
    owner = torch.tensor(
        [row for row, (_, choices) in enumerate(questions) for _ in choices], device=device
    )
    continuations = [choice for _, choices in questions for choice in choices]
    first = output.logits[owner, -1:]  # (n_choices, 1, n_vocabulary)
    width = max(map(len, continuations)) - 1
    logits = first
    if width:
        rest = [[*choice[:-1], *([0] * (width + 1 - len(choice)))] for choice in continuations]
        cache.reorder_cache(owner)
        following = torch.arange(1, width + 1, device=device)
        seen = torch.cat([mask[owner], mask.new_ones(len(rest), width)], dim=1)
        read = positions[owner, -1:] + following
        later = _call(module, torch.tensor(rest, device=device), seen, read, past, cache).logits
        logits = torch.cat([first, later], dim=1)
    scores = logits.log_softmax(-1)
    return [scores[row, : len(choice)] for row, choice in enumerate(continuations)]


def _call(
    module: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    past: str,
    cache: Any,
) -> Any:
    placed = {"position_ids": positions} if accepts(module, "position_ids") else {}
    return module(input_ids=ids, attention_mask=mask, use_cache=True, **{past: cache}, **placed)
