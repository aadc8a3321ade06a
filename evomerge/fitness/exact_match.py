"""Exact match: the model's greedy answer is the wanted one, or it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import PositiveInt

from evomerge.errors import DataError
from evomerge.fitness.data import item_field, text_field
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import Item
from evomerge.types import Bounds, FitnessResult, Goal


class ExactMatch:
    r"""Share of items whose greedy answer is exactly a wanted one.

    Args:
        prompt_field: field with the prompt.
        answer_field: field with the answer: text or a number, or a list of which any will do.
        max_new_tokens: longest answer; by default one token more than the longest wanted one, so
            that an answer that goes on is seen to.
        strip: ignore white space around answers.
        casefold: ignore case.
        stop: texts that end an answer, e.g. ["\n"].
        chat: put prompts into the tokenizer's chat template.
        batch_size: prompts answered together.
    """

    goal: ClassVar[Goal] = "maximize"
    bounds: ClassVar[Bounds] = (0.0, 1.0)
    metric: ClassVar[str] = "exact_match"
    needs_items: ClassVar[bool] = True

    def __init__(
        self,
        prompt_field: str = "prompt",
        answer_field: str = "answer",
        max_new_tokens: PositiveInt | None = None,
        strip: bool = True,
        casefold: bool = False,
        stop: list[str] | None = None,
        chat: bool = False,
        batch_size: PositiveInt = 64,
    ) -> None:
        self.fields = (prompt_field, answer_field)
        self._max_new_tokens = max_new_tokens
        self._strip = strip
        self._casefold = casefold
        self._stop = tuple(stop or ())
        self._chat = chat
        self._batch_size = batch_size

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score 1 for an item whose answer matches, 0 for any other."""
        prompt_field, answer_field = self.fields
        prompts = [text_field(item, prompt_field) for item in model.items]
        wanted = [_answers(item, answer_field) for item in model.items]
        answers = model.generate(
            model.chat(prompts) if self._chat else prompts,
            max_new_tokens=self._max_new_tokens or self._longest(model, wanted) + 1,
            batch_size=self._batch_size,
            stop=self._stop,
            special_tokens=not self._chat,
        )
        examples = {
            item["id"]: float(self._normal(answer) in {self._normal(text) for text in texts})
            for item, answer, texts in zip(model.items, answers, wanted, strict=True)
        }
        return FitnessResult({"exact_match": sum(examples.values()) / len(examples)}, examples)

    def _longest(self, model: MergedModel, wanted: Sequence[Sequence[str]]) -> int:
        texts = [text for texts in wanted for text in texts]
        return max(len(tokens) for tokens in model.encode(texts, special_tokens=False))

    def _normal(self, text: str) -> str:
        text = text.strip() if self._strip else text
        return text.casefold() if self._casefold else text


def _answers(item: Item, name: str) -> tuple[str, ...]:
    value = item_field(item, name)
    values = value if isinstance(value, list | tuple) else (value,)
    if not values or any(
        isinstance(v, bool) or not isinstance(v, str | int | float) for v in values
    ):
        raise DataError(
            f"item '{item['id']}': field '{name}' must be text, a number or a list of them, "
            f"got {value!r}"
        )
    return tuple(str(answer) for answer in values)
