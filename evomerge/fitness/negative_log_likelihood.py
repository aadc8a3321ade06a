"""Negative log-likelihood: how much the wanted text surprises the model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveInt

from evomerge.errors import DataError
from evomerge.fitness.data import text_field
from evomerge.fitness.model import MergedModel
from evomerge.types import Bounds, FitnessResult, Goal


class NegativeLogLikelihood:
    """Mean negative log-likelihood of a token, in nats, averaged over the items.

    Args:
        prompt_field: field with the prompt, which is read and not scored.
        answer_field: field with the text that is scored.
        text_field: score this field from its beginning instead of answers to prompts.
        separator: put between prompt and answer.
        batch_size: items scored together.
    """

    goal: ClassVar[Goal] = "minimize"
    bounds: ClassVar[Bounds] = (0.0, None)
    metric: ClassVar[str] = "negative_log_likelihood"
    needs_items: ClassVar[bool] = True

    def __init__(
        self,
        prompt_field: str = "prompt",
        answer_field: str = "answer",
        text_field: str | None = None,
        separator: str = "",
        batch_size: PositiveInt = 64,
    ) -> None:
        self.fields = (text_field,) if text_field is not None else (prompt_field, answer_field)
        self._separator = separator
        self._batch_size = batch_size

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score each item by its per-token value; the note 'per_token' weighs by length."""
        pairs = []
        for item in model.items:
            *prompt, answer = (text_field(item, name) for name in self.fields)
            pairs.append((prompt[0], self._separator + answer) if prompt else ("", answer))
        scores = model.loglikelihood_tokens(pairs, batch_size=self._batch_size)
        for item, score in zip(model.items, scores, strict=True):
            if not score.tokens:
                raise DataError(
                    f"item '{item['id']}': field '{self.fields[-1]}' has no token to score"
                )
        examples = {
            item["id"]: -score.per_token for item, score in zip(model.items, scores, strict=True)
        }
        total, tokens = sum(s.total for s in scores), sum(s.tokens for s in scores)
        return FitnessResult(
            {
                "negative_log_likelihood": sum(examples.values()) / len(examples),
                "per_token": -total / tokens,
            },
            examples,
        )
