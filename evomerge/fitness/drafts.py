"""Drafts: what earlier candidates answered, checked at once instead of written token by token.

Candidates of a search are merges of the same models, and most answers begin as those of some
candidate before. Where a prompt was answered earlier, that answer is the draft: one forward pass
over it tells which tokens the present model would have chosen as well, and what follows the last
of them. This is the greedy form of speculative decoding (Leviathan et al., 2023, arXiv 2211.17192)
with memory in the place of a smaller model: in exact arithmetic answers are the same whatever the
drafts.

A pass over many tokens adds numbers in another order than one over a single token. Logits can
differ in their last bits, so that a near tie may be decided the other way. Which drafts there are
depends on what a worker scored before, and so do, in such ties, the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from evomerge.errors import FitnessError
from evomerge.fitness.batches import accepts, cache_keyword, left_pad

Row: TypeAlias = tuple[int, ...]

LONGEST = 32
"""Tokens of a draft that are checked at once; those after a wrong one are computed in vain."""

KEPT = 8
"""Answers remembered for a prompt, the latest."""


class Drafts:
    """The answers that prompts had so far, as tokens."""

    def __init__(self) -> None:
        self._answers: dict[Row, dict[Row, None]] = {}

    def keep(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Remember an answer as the latest of a prompt."""
        known = self._answers.setdefault(tuple(prompt), {})
        known.pop(tuple(answer), None)
        known[tuple(answer)] = None
        if len(known) > KEPT:
            del known[next(iter(known))]

    def of(self, prompt: Sequence[int]) -> list[Row]:
        """Return the answers to a prompt, the latest first."""
        return list(reversed(self._answers.get(tuple(prompt), {})))


def following(answers: Sequence[Row], written: Sequence[int], most: int) -> Row:
    """Return how the first of some answers that begins with what is written goes on.

    Args:
        answers: to the same prompt.
        written: the answer so far.
        most: tokens, at most.
    """
    n = len(written)
    begun = tuple(written)
    for answer in answers:
        if len(answer) > n and answer[:n] == begun:
            return answer[n : n + min(most, LONGEST)]
    return ()


def decode_drafted(
    module: Any,
    prompts: Sequence[Sequence[int]],
    drafts: Drafts,
    *,
    max_new_tokens: int,
    eos: frozenset[int],
    device: torch.device,
    stops: Callable[[list[int]], bool] | None,
    shrink: bool,
) -> list[list[int]]:
    """Continue prompts greedily, all in one batch; see `decoding.decode` for the arguments.

    The KV cache holds a column for every token that was read by some row; where it was padding or
    a wrong draft for another, the mask hides it from that one.

    Raises:
        FitnessError: the model keeps no KV cache that tokens can be taken back from, or takes no
            positions.
    """
    ids, mask = left_pad(prompts, device)
    mask = torch.ones_like(ids) if mask is None else mask
    past = cache_keyword(module)
    if not accepts(module, "position_ids"):
        raise FitnessError(f"{type(module).__name__} takes no position_ids; remove drafts")
    keeps_last = accepts(module, "logits_to_keep")
    known = [drafts.of(prompt) for prompt in prompts]
    results: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # rows[i]: the prompt that row i of the tensors continues
    ended: set[int] = set()
    cache: Any = None

    while max_new_tokens:
        tried = [
            following(known[row], results[row], max_new_tokens - len(results[row]) - 1)
            if row not in ended
            else ()
            for row in rows
        ]
        width = max(map(len, tried))
        if width:
            padded = [[*draft, *([0] * (width - len(draft)))] for draft in tried]
            is_draft = [[1] * len(draft) + [0] * (width - len(draft)) for draft in tried]
            ids = torch.cat([ids, torch.tensor(padded, device=device)], dim=1)
            mask = torch.cat([mask, torch.tensor(is_draft, device=device)], dim=1)
        # Padding, and drafts that were wrong, are hidden; the rest counts on without a gap.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = module(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{past: cache},
            **({"logits_to_keep": width + 1} if keeps_last else {}),
        )
        if cache is None:
            cache = getattr(output, past, None)
            _require_croppable(module, cache, past)
        chosen = output.logits[:, -(width + 1) :].argmax(-1).tolist()
        right = []
        for row, tokens, draft in zip(rows, chosen, tried, strict=True):
            right.append(
                0
                if row in ended
                else _accept(results[row], tokens, draft, max_new_tokens, eos, stops)
            )
            if right[-1] < 0:
                ended.add(row)
        if len(ended) == len(prompts):
            break
        kept = max(right)
        columns = mask.shape[1] - width
        if width > kept:
            cache.crop(kept - width)  # below zero: how many to take back
        mask = mask[:, : columns + kept]
        if kept:
            accepted = torch.tensor(right, device=device)[:, None]
            mask[:, columns:] = torch.arange(kept, device=device) < accepted
        alive = [index for index, row in enumerate(rows) if row not in ended]
        if shrink and 2 * len(alive) <= len(rows):
            index = torch.tensor(alive, device=device)
            cache.reorder_cache(index)
            mask = mask[index]
            rows = [rows[position] for position in alive]
        ids = torch.tensor(
            [[0 if row in ended else results[row][-1]] for row in rows], device=device
        )
        # A row that ended counts no further: there may be no positions left.
        going_on = torch.tensor([[int(row not in ended)] for row in rows], device=device)
        mask = torch.cat([mask, going_on], dim=1)
    for prompt, answer in zip(prompts, results, strict=True):
        drafts.keep(prompt, answer)
    return results


def _accept(
    written: list[int],
    tokens: Sequence[int],
    draft: Row,
    max_new_tokens: int,
    eos: frozenset[int],
    stops: Callable[[list[int]], bool] | None,
) -> int:
    """Add the tokens that the model chose, as far as they follow from what it read.

    Returns:
        How many tokens of the draft were right; -1 where the answer is complete.
    """
    right = 0
    while True:
        token = tokens[right]
        if token in eos:
            return -1
        written.append(token)
        if len(written) == max_new_tokens or (stops is not None and stops(written)):
            return -1
        if right == len(draft) or draft[right] != token:
            return right
        right += 1


def _require_croppable(module: Any, cache: Any, past: str) -> None:
    from transformers.cache_utils import DynamicLayer  # noqa: PLC0415  # seconds to import

    # Sliding windows forget by position, linear attention folds all tokens into one state.
    layers = getattr(cache, "layers", None)
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        raise FitnessError(
            f"{type(module).__name__} keeps no KV cache in {past} that tokens can be taken back "
            "from; remove drafts"
        )
