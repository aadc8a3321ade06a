"""How a fitness asks for answers: one greedy one to each prompt, or several at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.fitness.model import MergedModel


@dataclass(frozen=True, slots=True)
class Asking:
    """Settings that fitnesses of generated text share.

    Attributes:
        chat: put prompts into the tokenizer's chat template.
        stop: texts that end an answer.
        batch_size: answers written together.
        samples: answers to each prompt.
        temperature: of sampling; None is greedy, with one answer.
        top_p: of sampling.
        seed: of sampling; every candidate gets the same draws.
    """

    chat: bool
    stop: tuple[str, ...]
    batch_size: int
    samples: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    seed: int = 0

    def answers(
        self, model: MergedModel, prompts: Sequence[str], max_new_tokens: int
    ) -> list[list[str]]:
        """Return the answers to each prompt.

        Raises:
            DataError, FitnessError: see `MergedModel.generate` and `MergedModel.sample`.
        """
        texts = model.chat(prompts) if self.chat else prompts
        if self.temperature is None:
            found = model.generate(
                texts,
                max_new_tokens=max_new_tokens,
                batch_size=self.batch_size,
                stop=self.stop,
                special_tokens=not self.chat,
            )
            return [[text] for text in found]
        return model.sample(
            texts,
            n=self.samples,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            max_new_tokens=max_new_tokens,
            batch_size=self.batch_size,
            stop=self.stop,
            special_tokens=not self.chat,
        )
