"""What a fitness is given: the merged model, and quick ways to question it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evomerge.errors import DataError, FitnessError
from evomerge.fitness.encoding import Tokens, encode, encode_pair
from evomerge.fitness.protocol import Item
from evomerge.recipe.model import Recipe
from evomerge.types import DeltaStatistics, Split

if TYPE_CHECKING:  # a study checks its fitnesses without loading torch
    import torch

    from evomerge.fitness.likelihood import Likelihood


class MergedModel:
    """A merged model that is ready to be scored.

    Attributes:
        module: the transformers model, in eval mode, resident on `device`. It is rewritten in
            place by the next candidate: keep nothing of it.
        tokenizer: its tokenizer.
        recipe: what was merged.
        split: 'search', 'validation' or 'holdout'.
        items: the objective's items of this split; empty where the objective names no data.
        device: where the module lives.

    Args:
        write: writes the merged checkpoint into a folder that does not exist yet.
        delta: measures the distance from the base.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        recipe: Recipe,
        split: Split,
        items: Sequence[Item],
        device: torch.device | str,
        write: Callable[[Path], None],
        delta: Callable[[], DeltaStatistics],
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.split: Split = split
        self.items: tuple[Item, ...] = tuple(items)
        self.device = device
        self._write = write
        self._measure = delta
        self._delta: DeltaStatistics | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._path: Path | None = None

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items' ids, in order."""
        return tuple(item["id"] for item in self.items)

    def encode(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[Tokens]:
        """Tokenize texts; remembered, so asking again for the next candidate costs nothing."""
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
        import torch  # noqa: PLC0415

        from evomerge.fitness.decoding import greedy  # noqa: PLC0415

        if max_new_tokens < 1 or batch_size < 1:
            raise FitnessError(
                f"max_new_tokens and batch_size must be positive, got {max_new_tokens} and "
                f"{batch_size}"
            )
        if "" in stop:
            raise FitnessError("an empty stop text would end every answer; leave it out")
        encoded = self.encode(prompts, special_tokens=special_tokens)
        for number, tokens in enumerate(encoded):
            if not tokens:
                raise DataError(f"prompt {number} of {len(prompts)} has no tokens; give it a text")
        answers = greedy(
            self.module,
            encoded,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            eos=self._end_tokens(),
            device=torch.device(self.device),
            stops=self._stops(stop),
        )
        texts = [self._decode(answer) for answer in answers]
        return [_cut(text, stop) for text in texts] if stop else texts

    def loglikelihood_tokens(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 64
    ) -> list[Likelihood]:
        """Score each continuation given its prompt: summed log-probability and token count.

        Prompt and continuation are tokenized together, and scored from the first token that the
        prompt alone does not have; an empty continuation scores 0 over 0 tokens.

        Raises:
            DataError: a pair does not fit the model's positions.
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
        """Return the summed log-probability, in nats, of each continuation given its prompt."""
        scores = self.loglikelihood_tokens(pairs, batch_size=batch_size)
        return [score.total for score in scores]

    def nll(self, texts: Sequence[str], *, batch_size: int = 64) -> list[float]:
        """Return the mean negative log-likelihood of a token, in nats, of each text.

        Raises:
            DataError: a text has no token that could be predicted.
        """
        scores = self.loglikelihood_tokens([("", text) for text in texts], batch_size=batch_size)
        for number, score in enumerate(scores):
            if not score.tokens:
                raise DataError(f"text {number} of {len(texts)} has no token to predict")
        return [-score.per_token for score in scores]

    def delta(self) -> DeltaStatistics:
        """Measure the distance from the base, once."""
        if self._delta is None:
            self._delta = self._measure()
        return self._delta

    def path(self) -> Path:
        """Return a folder with the merged checkpoint, written on first demand.

        It lives until `close`; the place is Python's temporary directory (TMPDIR).
        """
        if self._path is None:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="evomerge-")
            path = Path(self._folder.name, "model")
            self._write(path)
            self._path = path
        return self._path

    def close(self) -> None:
        """Remove the written checkpoint, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._path = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
