"""Exact match: the model's answer is the wanted one, or it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import PositiveFloat, PositiveInt

from evomerge.errors import DataError
from evomerge.fitness.asking import Asking
from evomerge.fitness.data import item_field, text_field
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import Item
from evomerge.types import Bounds, FitnessResult, Goal


class ExactMatch:
    r"""Share of items whose answer, greedy or sampled, is exactly a wanted one.

    Args:
        prompt_field: field with the prompt.
        answer_field: field with the answer: text or a number, or a list of which any will do.
        max_new_tokens: longest answer; by default one token more than the longest wanted one, so
            that an answer that goes on is seen to.
        strip: ignore white space around answers.
        casefold: ignore case.
        stop: texts that end an answer, e.g. ["\n"].
        chat: put prompts into the tokenizer's chat template.
        samples: answers to each prompt, drawn at random; an item's score is the share of them that
            matches. One greedy answer where neither this nor `temperature` is given.
        temperature: of sampling, 1 by default.
        top_p: of sampling.
        sample_seed: of sampling; every candidate gets the same draws.
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
        samples: PositiveInt | None = None,
        temperature: PositiveFloat | None = None,
        top_p: PositiveFloat = 1.0,
        sample_seed: int = 0,
        batch_size: PositiveInt = 64,
    ) -> None:
        self.fields = (prompt_field, answer_field)
        self._max_new_tokens = max_new_tokens
        self._strip = strip
        self._casefold = casefold
        if samples is not None and temperature is None:
            temperature = 1.0
        self._asking = Asking(
            chat, tuple(stop or ()), batch_size, samples or 1, temperature, top_p, sample_seed
        )

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score 1 for an item whose answer matches, 0 for any other; the mean over its samples."""
        prompt_field, answer_field = self.fields
        prompts = [text_field(item, prompt_field) for item in model.items]
        wanted = [_answers(item, answer_field) for item in model.items]
        longest = self._max_new_tokens or self._longest(model, wanted) + 1
        examples = {}
        for item, texts, answers in zip(
            model.items, wanted, self._asking.answers(model, prompts, longest), strict=True
        ):
            right = {self._normal(text) for text in texts}
            hits = sum(self._normal(answer) in right for answer in answers)
            examples[item["id"]] = hits / len(answers)
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
