"""Sampled decoding whose draws are named by what they are for, not by when they are made.

Draw number t of sample j of a prompt comes from a Philox stream (Salmon et al., 2011) keyed by the
seed, j and the prompt's tokens. So an answer depends on neither batch size nor order nor the other
prompts, and two models asked with one seed share their draws (common random numbers), which takes
noise out of their comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


class Sampler:
    """Picks tokens at random by their probability; a `Choose` of `evomerge.fitness.decoding`.

    The most likely tokens that together have a probability of at least `top_p` are drawn from
    (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751), by inverting their distribution.

    Args:
        uniforms: draws in [0, 1) for each prompt and step, (n_prompts, max_new_tokens).
        temperature: divides the logits; above 0.
        top_p: in (0, 1]; 1 draws from all tokens.
    """

    def __init__(self, uniforms: NDArray[np.float64], *, temperature: float, top_p: float) -> None:
        self._uniforms = torch.from_numpy(uniforms)
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, logits: torch.Tensor, numbers: Sequence[int], step: int) -> torch.Tensor:
        """Return a token for each row, (n_rows,)."""
        # Apple's devices have no double precision
        wide = torch.float32 if logits.device.type == "mps" else torch.float64
        chances = (logits.to(wide) / self._temperature).softmax(-1)
        if self._top_p < 1:
            chances = self._nucleus(chances)
        cumulative = chances.cumsum(-1)
        drawn = self._uniforms[list(numbers), step].to(cumulative.device, wide)[:, None]
        token = torch.searchsorted(cumulative, drawn * cumulative[:, -1:], right=True)[:, 0]
        return token.clamp(max=logits.shape[-1] - 1)

    def _nucleus(self, chances: torch.Tensor) -> torch.Tensor:
        ordered, order = chances.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < self._top_p, ordered, ordered.new_zeros(()))
        return torch.zeros_like(chances).scatter(-1, order, kept)


def uniforms(
    prompts: Sequence[Sequence[int]], samples: Sequence[int], seed: int, n_steps: int
) -> NDArray[np.float64]:
    """Return the draws of each sample, (n_prompts, n_steps).

    Args:
        prompts: token ids; equal prompts have equal draws.
        samples: which sample of its prompt each is, from 0.
        seed: any integer.
        n_steps: a longer row begins with the shorter one.
    """
    table = np.empty((len(prompts), n_steps))
    for row, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
        text = f"{seed}|{sample}|{','.join(map(str, prompt))}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
        table[row] = np.random.Generator(np.random.Philox(key=key)).random(n_steps)
    return table
