"""MGSM-JA as EvoLLM-JP was scored on it: a fitness for the studies beside this file.

A solution counts when its last number is the answer and its text is Japanese (Akiba et al. 2025,
arXiv 2403.13187, section 4.1). The prompt, the stop texts, how a number is read and the language
check are those of the evaluation code of SakanaAI/evolutionary-model-merge; answers are greedy, of
at most 1,024 tokens.

The language check runs fastText's lid.176 model through the package `fasttext-predict`, which has
wheels for all systems and needs nothing else:

    pip install fasttext-predict
    wget https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from evomerge.errors import DataError, FitnessError
from evomerge.fitness import FitnessResult, MergedModel, item_field, text_field
from evomerge.types import Goal

TEMPLATE = (
    "以下に、あるタスクを説明する指示があります。リクエストを適切に完了するための回答を日本語で"
    "記述してください。一歩一歩考えましょう。\n\n### 指示:\n{question}\n\n### 応答:"
)
STOP = ("Instruction", "Response")
_NUMBER = re.compile(r"\d*\.?\d+")
_GROUPED = re.compile(r"\d{1,3}(?:[,，]\d{3})+(?:\.\d+)?|\d*\.?\d+")


def last_number(text: str, *, grouped: bool = False) -> float | None:
    """Return the last number of a text; None where there is none.

    Args:
        text: a solution.
        grouped: read '1,080' as one number. The released code reads 1 and 80 there.
    """
    found = (_GROUPED if grouped else _NUMBER).findall(text)
    return float(found[-1].replace(",", "").replace("，", "")) if found else None


class JapaneseMaths:
    """Share of problems solved in Japanese: metric 'accuracy_ja'; 'accuracy' is in any language.

    Args:
        language_model: fastText's lid.176.ftz or lid.176.bin.
        prompt_field: field with the question.
        answer_field: field with the answer, a number.
        max_new_tokens: longest solution.
        batch_size: questions answered together.
        threshold: a text is Japanese when its probability to be so exceeds this.
        grouped: read digits grouped by commas as one number, see `last_number`.
    """

    goal: ClassVar[Goal] = "maximize"
    metric: ClassVar[str] = "accuracy_ja"
    needs_items: ClassVar[bool] = True

    def __init__(
        self,
        language_model: Path,
        prompt_field: str = "question",
        answer_field: str = "answer_number",
        max_new_tokens: int = 1024,
        batch_size: int = 64,
        threshold: float = 0.5,
        grouped: bool = False,
    ) -> None:
        self.fields = (prompt_field, answer_field)
        self._japanese = language_identifier(language_model)
        self._max_new_tokens = max_new_tokens
        self._batch_size = batch_size
        self._threshold = threshold
        self._grouped = grouped

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score 1 for a problem solved in Japanese, 0 for any other."""
        question, answer = self.fields
        solutions = model.generate(
            [TEMPLATE.format(question=text_field(item, question)) for item in model.items],
            max_new_tokens=self._max_new_tokens,
            batch_size=self._batch_size,
            stop=STOP,
        )
        right: dict[str, float] = {}
        in_japanese: dict[str, float] = {}
        for item, text in zip(model.items, solutions, strict=True):
            solved = last_number(text, grouped=self._grouped) == _number(item, answer)
            right[item["id"]] = float(solved)
            japanese = solved and self._japanese(text) > self._threshold
            in_japanese[item["id"]] = float(japanese)
        metrics = {
            "accuracy_ja": sum(in_japanese.values()) / len(in_japanese),
            "accuracy": sum(right.values()) / len(right),
        }
        return FitnessResult(metrics, in_japanese)


def language_identifier(model_file: Path) -> Callable[[str], float]:
    """Return a function that gives the probability that a text is Japanese.

    Raises:
        FitnessError: the package or its model is missing.
    """
    try:
        import fasttext  # noqa: PLC0415 -- optional
    except ImportError as error:
        raise FitnessError(
            "the language check needs fastText: pip install fasttext-predict"
        ) from error
    if not model_file.is_file():
        raise FitnessError(
            f"language_model {model_file} does not exist; download lid.176.ftz from "
            "https://fasttext.cc/docs/en/language-identification.html"
        )
    model = fasttext.load_model(str(model_file))

    def japanese(text: str) -> float:
        labels, probabilities = model.predict(text.replace("\n", ""), k=-1)
        return float(dict(zip(labels, probabilities, strict=True)).get("__label__ja", 0.0))

    return japanese


def _number(item: Any, name: str) -> float:
    value = item_field(item, name)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(
            f"item '{item['id']}': field '{name}' must be a number, got {value!r}"
        ) from None
