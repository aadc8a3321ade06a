"""Multiple choice: the right continuation is the most likely one, or it is not."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from evomerge.errors import DataError
from evomerge.fitness.data import item_field, text_field
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import Item
from evomerge.types import Bounds, FitnessResult, Goal


class MultipleChoice:
    """Share of items whose right choice has the highest log-likelihood after the prompt.

    Both metrics are always measured: 'accuracy' compares summed log-probabilities,
    'accuracy_norm' divides them by the choices' length in characters, so that long choices are
    not at a disadvantage (the 'acc' and 'acc_norm' of EleutherAI's evaluation harness).

    Args:
        prompt_field: field with the prompt.
        choices_field: field with the list of choices.
        answer_field: field with the right choice: its index from 0, or its text.
        separator: put between prompt and choice.
        metric: which one per-example scores follow.
        batch_size: prompts with a choice scored together.
    """

    goal: ClassVar[Goal] = "maximize"
    bounds: ClassVar[Bounds] = (0.0, 1.0)
    needs_items: ClassVar[bool] = True

    def __init__(
        self,
        prompt_field: str = "prompt",
        choices_field: str = "choices",
        answer_field: str = "answer",
        separator: str = "",
        metric: Literal["accuracy", "accuracy_norm"] = "accuracy",
        batch_size: PositiveInt = 64,
    ) -> None:
        self.fields = (prompt_field, choices_field, answer_field)
        self.metric = metric
        self._separator = separator
        self._batch_size = batch_size

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score 1 for an item whose right choice wins; the first of equals is the model's pick."""
        questions = [self._question(item) for item in model.items]
        pairs = [
            (prompt, self._separator + choice)
            for prompt, choices, _ in questions
            for choice in choices
        ]
        scores = iter(model.loglikelihood(pairs, batch_size=self._batch_size))
        right: dict[str, dict[str, float]] = {"accuracy": {}, "accuracy_norm": {}}
        for item, (_, choices, answer) in zip(model.items, questions, strict=True):
            totals = [next(scores) for _ in choices]
            by_length = [total / len(c) for total, c in zip(totals, choices, strict=True)]
            right["accuracy"][item["id"]] = float(_first_best(totals) == answer)
            right["accuracy_norm"][item["id"]] = float(_first_best(by_length) == answer)
        metrics = {name: sum(hits.values()) / len(hits) for name, hits in right.items()}
        return FitnessResult(metrics, right[self.metric])

    def _question(self, item: Item) -> tuple[str, list[str], int]:
        prompt_field, choices_field, answer_field = self.fields
        choices = item_field(item, choices_field)
        if (
            not isinstance(choices, list | tuple)
            or len(choices) < 2
            or not all(isinstance(choice, str) and choice for choice in choices)
        ):
            raise DataError(
                f"item '{item['id']}': field '{choices_field}' must be a list of two or more "
                f"texts, got {choices!r}"
            )
        answer = item_field(item, answer_field)
        if isinstance(answer, str) and answer in choices:
            answer = choices.index(answer)
        if (
            isinstance(answer, bool)
            or not isinstance(answer, int)
            or answer not in range(len(choices))
        ):
            raise DataError(
                f"item '{item['id']}': field '{answer_field}' must be one of the choices or its "
                f"index from 0 to {len(choices) - 1}, got {answer!r}"
            )
        return text_field(item, prompt_field), list(choices), answer


def _first_best(scores: list[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)
