"""A causal language model with its tokenizer, and quick ways to question it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evomerge.errors import CheckpointError, DataError, FitnessError
from evomerge.fitness.encoding import Tokens, encode, encode_pair

if TYPE_CHECKING:  # a study checks its fitnesses without loading torch
    import torch

    from evomerge.fitness.decoding import Choose
    from evomerge.fitness.likelihood import Likelihood


@dataclass(frozen=True, slots=True)
class _Limits:
    """What ends an answer, and how many are written together."""

    max_new_tokens: int
    batch_size: int
    stop: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise FitnessError(
                f"max_new_tokens and batch_size must be positive, got {self.max_new_tokens} and "
                f"{self.batch_size}"
            )
        if "" in self.stop:
            raise FitnessError("an empty stop text would end every answer; leave it out")


class LanguageModel:
    """A transformers module that can be asked for answers and likelihoods.

    What a fitness is given is one (`MergedModel`); `load` makes another of a checkpoint, such as
    a judge.

    Attributes:
        module: the transformers model, in eval mode, on `device`.
        tokenizer: its tokenizer; None for models that have none, which answer nothing here.
        device: where the module lives.
    """

    def __init__(self, module: Any, tokenizer: Any, device: torch.device | str) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.device = device

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Load a checkpoint folder (or a model of the local hub cache) for asking only.

        Code shipped with a model is never run.

        Raises:
            CheckpointError: it is missing, damaged, or no causal language model.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

        name = str(folder)
        try:
            module = AutoModelForCausalLM.from_pretrained(
                name, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"model '{name}' cannot be loaded: {(str(error).splitlines() or ['?'])[0]}"
            ) from error
        return cls(module.to(device).requires_grad_(False).eval(), tokenizer, device)

    def encode(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[Tokens]:
        """Tokenize texts; remembered, so asking again for the next candidate costs nothing.

        Args:
            texts: in order.
            special_tokens: whether the tokenizer adds its own, such as one for the beginning.
        """
        return encode(self.tokenizer, texts, special_tokens=special_tokens)

    def chat(self, prompts: Sequence[str]) -> list[str]:
        """Put each prompt as a user's message into the chat template, the assistant to answer.

        The template writes the special tokens itself: generate with `special_tokens=False`.

        Raises:
            FitnessError: the tokenizer has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise FitnessError(
                f"the tokenizer of '{self.tokenizer.name_or_path}' has no chat template; "
                "leave chat off, or take the tokenizer of a chat model"
            )
        return [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            for prompt in prompts
        ]

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 32,
        batch_size: int = 64,
        stop: Sequence[str] = (),
        special_tokens: bool = True,
    ) -> list[str]:
        """Continue each prompt greedily; the answers depend on neither order nor batch size.

        Args:
            prompts: texts.
            max_new_tokens: at most this many tokens per answer.
            batch_size: prompts answered together.
            stop: texts that end an answer, where an end-of-text token does not come first.
            special_tokens: let the tokenizer add its beginning-of-text token.

        Returns:
            The text after each prompt, without special tokens, cut before the first stop text.

        Raises:
            DataError: a prompt has no tokens or does not fit the model's positions.
        """
        limits = _Limits(max_new_tokens, batch_size, tuple(stop))
        return self._answers(self._prompts(prompts, special_tokens), limits, None)

    def sample(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        max_new_tokens: int = 32,
        batch_size: int = 64,
        stop: Sequence[str] = (),
        special_tokens: bool = True,
    ) -> list[list[str]]:
        """Continue each prompt at random, `n` times.

        An answer is a function of the model, the prompt, the seed, its number among the `n` and
        the settings: order, batch size and the other prompts make no difference, and the first
        answers of a larger `n` are those of a smaller one.

        Args:
            prompts: texts.
            n: answers to each.
            temperature: divides the logits; the lower, the more often the likely tokens.
            top_p: draw from the most likely tokens that have this probability together.
            seed: of the draws.
            max_new_tokens: at most this many tokens per answer.
            batch_size: answers written together.
            stop: texts that end an answer, as for `generate`.
            special_tokens: let the tokenizer add its beginning-of-text token.

        Returns:
            For each prompt its answers, as `generate` returns them.

        Raises:
            DataError: a prompt has no tokens or does not fit the model's positions.
            FitnessError: an option is out of range.
        """
        from evomerge.fitness.sampling import Sampler, uniforms  # noqa: PLC0415

        if n < 1:
            raise FitnessError(f"n must be positive, got {n}")
        if not 0 < temperature < float("inf"):
            raise FitnessError(
                f"temperature must be above 0, got {temperature}; generate answers greedily"
            )
        if not 0 < top_p <= 1:
            raise FitnessError(f"top_p must lie above 0 and at most at 1, got {top_p}")
        limits = _Limits(max_new_tokens, batch_size, tuple(stop))
        encoded = [own for own in self._prompts(prompts, special_tokens) for _ in range(n)]
        draws = uniforms(encoded, list(range(n)) * len(prompts), seed, max_new_tokens)
        sampler = Sampler(draws, temperature=temperature, top_p=top_p)
        texts = self._answers(encoded, limits, sampler)
        return [texts[start : start + n] for start in range(0, len(texts), n)]

    def loglikelihood_tokens(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 64
    ) -> list[Likelihood]:
        """Score each continuation given its prompt: summed log-probability and token count.

        Prompt and continuation are tokenized together, and scored from the first token that the
        prompt alone does not have; an empty continuation scores 0 over 0 tokens.

        Args:
            pairs: of a prompt and its continuation.
            batch_size: pairs scored at a time.

        Raises:
            DataError: a pair does not fit the model's positions.
            FitnessError: the batch size is not positive.
        """
        import torch  # noqa: PLC0415

        from evomerge.fitness.likelihood import log_likelihoods  # noqa: PLC0415

        if batch_size < 1:
            raise FitnessError(f"batch_size must be positive, got {batch_size}")
        self.encode([text for prompt, rest in pairs for text in (prompt, prompt + rest)])
        return log_likelihoods(
            self.module,
            [encode_pair(self.tokenizer, prompt, continuation) for prompt, continuation in pairs],
            batch_size=batch_size,
            device=torch.device(self.device),
        )

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], batch_size: int = 64) -> list[float]:
        """Return the summed log-probability, in nats, of each continuation given its prompt.

        Args:
            pairs: of a prompt and its continuation.
            batch_size: pairs scored at a time.

        Raises:
            DataError: a pair does not fit the model's positions.
        """
        scores = self.loglikelihood_tokens(pairs, batch_size=batch_size)
        return [score.total for score in scores]

    def nll(self, texts: Sequence[str], *, batch_size: int = 64) -> list[float]:
        """Return the mean negative log-likelihood of a token, in nats, of each text.

        Args:
            texts: scored from their beginning.
            batch_size: texts scored at a time.

        Raises:
            DataError: a text has no token that could be predicted.
        """
        scores = self.loglikelihood_tokens([("", text) for text in texts], batch_size=batch_size)
        for number, score in enumerate(scores):
            if not score.tokens:
                raise DataError(f"text {number} of {len(texts)} has no token to predict")
        return [-score.per_token for score in scores]

    def _prompts(self, prompts: Sequence[str], special_tokens: bool) -> list[Tokens]:
        encoded = self.encode(prompts, special_tokens=special_tokens)
        for number, tokens in enumerate(encoded):
            if not tokens:
                raise DataError(f"prompt {number} of {len(prompts)} has no tokens; give it a text")
        return encoded

    def _answers(
        self, prompts: Sequence[Tokens], limits: _Limits, choose: Choose | None
    ) -> list[str]:
        """Continue encoded prompts, greedily unless told how to choose."""
        import torch  # noqa: PLC0415

        from evomerge.fitness.decoding import decode, most_likely  # noqa: PLC0415

        answers = decode(
            self.module,
            prompts,
            max_new_tokens=limits.max_new_tokens,
            batch_size=limits.batch_size,
            eos=self._end_tokens(),
            device=torch.device(self.device),
            stops=self._stops(limits.stop),
            choose=choose or most_likely,
        )
        texts = [self._decode(answer) for answer in answers]
        return [_cut(text, limits.stop) for text in texts] if limits.stop else texts

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _end_tokens(self) -> frozenset[int]:
        """Collect the tokenizer's end of text and the model's own.

        A merged model often gets a chat donor's tokenizer with the base's configuration; either
        may know the only token that the donors were taught to end with.
        """
        declared = getattr(self.module, "generation_config", None)
        ends = getattr(declared, "eos_token_id", None)
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        return frozenset(end for end in (*ends, self.tokenizer.eos_token_id) if end is not None)

    def _stops(self, stop: Sequence[str]) -> Callable[[list[int]], bool] | None:
        if not stop:
            return None
        # A token that shows at all is at least a byte, so a stop text that has just been completed
        # ends within this many tokens; one more because decoders trim the first one's space.
        window = max(len(text.encode()) for text in stop) + 1

        def stopped(tokens: list[int]) -> bool:
            tail = self._decode(tokens[-window:])
            return any(text in tail for text in stop)

        return stopped


def _cut(text: str, stop: Sequence[str]) -> str:
    found = [position for mark in stop if (position := text.find(mark)) >= 0]
    return text[: min(found)] if found else text
