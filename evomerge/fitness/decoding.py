"""Decoding: transformers' result with one plain loop instead of its generation machinery.

For the small models of a search the machinery around each step costs more than the step. The loop
keeps what matters: KV cache, left padding with true positions, rows that end leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from evomerge.errors import FitnessError
from evomerge.fitness.batches import accepts, cache_keyword, check_length, left_pad, length_batches
from evomerge.fitness.drafts import Drafts, decode_drafted

Choose: TypeAlias = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
"""Picks the next token of each row: logits (n_rows, n_tokens), which prompt each row continues, and
how many tokens it has been given already; returns (n_rows,) int64."""


def most_likely(logits: torch.Tensor, numbers: Sequence[int], step: int) -> torch.Tensor:  # noqa: ARG001
    """Pick the token of the highest logit: greedy decoding."""
    return logits.argmax(-1)


def decode(
    module: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    eos: frozenset[int],
    device: torch.device,
    stops: Callable[[list[int]], bool] | None = None,
    choose: Choose = most_likely,
    shrink: bool = True,
    drafts: Drafts | None = None,
) -> list[list[int]]:
    """Continue each prompt token by token until it ends.

    Args:
        module: a causal language model of transformers, in eval mode.
        prompts: token ids, each with at least one.
        max_new_tokens: at most this many tokens are added.
        batch_size: rows decoded together.
        eos: tokens that end a row; they are not returned.
        device: where the module lives.
        stops: told a row's new tokens after each, says whether the row ends there.
        choose: picks each next token.
        shrink: let rows that ended leave the batch. The others' logits may then differ in their
            last bits from those of the whole batch, which in 16 bits can decide a tie.
        drafts: earlier answers, to be checked at once; for greedy decoding. New ones are added.

    Returns:
        The new tokens of each prompt, in the order of the prompts.

    Raises:
        DataError: a prompt does not fit the model's positions.
        FitnessError: the model keeps no KV cache; for drafts also one that tokens cannot be taken
            back from, or it takes no positions.
        ValueError: there are drafts for answers that are not greedy.
    """
    if drafts is not None and choose is not most_likely:
        raise ValueError("drafts are for greedy decoding")
    lengths = [len(prompt) for prompt in prompts]
    if lengths:
        check_length(module, max(lengths) + max_new_tokens, "the longest prompt with its answer")
    results: dict[int, list[int]] = {}
    with torch.inference_mode():
        for batch in length_batches(lengths, batch_size):
            rows = [prompts[number] for number in batch]
            if drafts is not None:
                new = decode_drafted(
                    module,
                    rows,
                    drafts,
                    max_new_tokens=max_new_tokens,
                    eos=eos,
                    device=device,
                    stops=stops,
                    shrink=shrink,
                )
                results |= dict(zip(batch, new, strict=True))
                continue

            def choose_in_batch(
                logits: torch.Tensor, rows: Sequence[int], step: int, batch: list[int] = batch
            ) -> torch.Tensor:
                return choose(logits, [batch[row] for row in rows], step)

            new = _decode_batch(
                module, rows, max_new_tokens, eos, device, stops, choose_in_batch, shrink
            )
            results |= dict(zip(batch, new, strict=True))
    return [results[number] for number in range(len(prompts))]


def _decode_batch(
    module: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos: frozenset[int],
    device: torch.device,
    stops: Callable[[list[int]], bool] | None,
    choose: Choose,
    shrink: bool,
) -> list[list[int]]:
    ids, mask = left_pad(prompts, device)
    positions = None
    if mask is not None:
        # Padding gets position 0; real tokens count from 0 in every row.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        mask = torch.cat([mask, mask.new_ones(len(prompts), max_new_tokens)], dim=1)
    width = ids.shape[1]
    keep_last = {"logits_to_keep": 1} if accepts(module, "logits_to_keep") else {}
    has_positions = accepts(module, "position_ids")
    past = cache_keyword(module)
    results: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # rows[i]: the prompt that row i of the tensors continues
    ended: set[int] = set()
    cache = None

    for step in range(max_new_tokens):
        # Without padding the model derives mask and positions itself, and faster.
        padded = {} if mask is None else {"attention_mask": mask[:, : width + step]}
        if positions is not None and has_positions:
            padded["position_ids"] = positions
        output = module(input_ids=ids, use_cache=True, **{past: cache}, **padded, **keep_last)
        cache = getattr(output, past, None)
        # State-space models call what they keep a cache too, but take no mask with it.
        if cache is None or all(getattr(cache, "is_linear", [False])):
            raise FitnessError(
                f"{type(module).__name__} keeps no KV cache in {past}, which "
                "model.generate needs; call model.module.generate in a fitness of your own"
            )
        tokens = choose(output.logits[:, -1], rows, step)  # (n_rows,)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if row in ended:
                continue
            if token in eos:
                ended.add(row)
                continue
            results[row].append(token)
            if stops is not None and stops(results[row]):
                ended.add(row)
        if len(ended) == len(prompts):
            break
        if positions is not None:
            positions = positions[:, -1:] + 1
        # Copying the cache pays once half of the rows have nothing left to say.
        alive = [index for index, row in enumerate(rows) if row not in ended]
        if shrink and 2 * len(alive) <= len(rows) and hasattr(cache, "reorder_cache"):
            index = torch.tensor(alive, device=device)
            cache.reorder_cache(index)
            tokens = tokens[index]
            mask = None if mask is None else mask[index]
            positions = None if positions is None else positions[index]
            rows = [rows[position] for position in alive]
        ids = tokens[:, None]
    return results
