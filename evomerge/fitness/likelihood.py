"""Log-likelihood of given tokens, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from evomerge.fitness.batches import accepts, check_length, left_pad, length_batches

_LOGITS = 2**27  # most logits held at once: half a gigabyte in fp32


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is: the sum of its tokens' log-probabilities, and their number."""

    total: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token, in nats; there must be one."""
        return self.total / self.tokens


def log_likelihoods(
    module: Any,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_size: int,
    device: torch.device,
) -> list[Likelihood]:
    """Score continuations given their contexts, teacher-forced.

    Args:
        module: a causal language model of transformers, in eval mode.
        pairs: context tokens (at least one) and continuation tokens (none score 0).
        batch_size: distinct rows scored together, fewer where their logits would not fit.
        device: where the module lives.

    Returns:
        One likelihood per pair, in order; log-softmax in fp32 or the logits' own dtype if wider.

    Raises:
        DataError: a pair does not fit the model's positions.
    """
    results = [Likelihood(0.0, 0) for _ in pairs]
    scored = [number for number, (_, continuation) in enumerate(pairs) if continuation]
    if not scored:
        return results
    # The last token is predicted and never read, so that choices of one token after the same
    # prompt are one row: `owners` maps a row to the pairs it answers.
    owners: dict[tuple[int, ...], list[int]] = {}
    for number in scored:
        row = (*pairs[number][0], *pairs[number][1])[:-1]
        owners.setdefault(row, []).append(number)
    rows = list(owners)
    lengths = [len(row) for row in rows]
    check_length(module, max(lengths), "the longest text")
    longest = max(len(pairs[number][1]) for number in scored)
    vocabulary = module.config.get_text_config().vocab_size
    batch_size = max(1, min(batch_size, _LOGITS // (longest * vocabulary)))
    with torch.inference_mode():
        for batch in length_batches(lengths, batch_size):
            inputs = [rows[index] for index in batch]
            numbers = [owners[row] for row in inputs]
            targets = [[pairs[number][1] for number in answered] for answered in numbers]
            totals = _score_batch(module, inputs, targets, device)
            for number, total in zip(chain.from_iterable(numbers), totals, strict=True):
                results[number] = Likelihood(total, len(pairs[number][1]))
    return results


def _score_batch(
    module: Any,
    inputs: Sequence[Sequence[int]],
    targets: Sequence[Sequence[Sequence[int]]],
    device: torch.device,
) -> list[float]:
    """Score the targets of each row, which end where the row's next token would be."""
    ids, mask = left_pad(inputs, device)
    wanted, scored = left_pad(list(chain.from_iterable(targets)), device)  # (n_pairs, n_targets)
    n_targets = wanted.shape[1]
    options: dict[str, Any] = {}
    if mask is not None:
        options["attention_mask"] = mask
        if accepts(module, "position_ids"):
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    if accepts(module, "logits_to_keep"):
        options["logits_to_keep"] = n_targets
    logits = module(input_ids=ids, use_cache=False, **options).logits[:, -n_targets:]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # log softmax at the target: z_y − log Σ exp z
    counts = torch.tensor([len(of_row) for of_row in targets], device=device)
    row = torch.arange(len(inputs), device=device).repeat_interleave(counts)[:, None]
    column = torch.arange(n_targets, device=device)
    chosen = logits[row, column, wanted] - logits.logsumexp(-1)[row, column]
    if scored is not None:
        chosen = torch.where(scored.bool(), chosen, chosen.new_zeros(()))
    return [float(total) for total in chosen.double().sum(-1).tolist()]
