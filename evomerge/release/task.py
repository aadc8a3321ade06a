"""What kind of task an architecture is for: the Hub's tag and the class that loads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KINDS = (
    ("text-generation", "AutoModelForCausalLM", "CAUSAL_LM"),
    ("text-classification", "AutoModelForSequenceClassification", "SEQUENCE_CLASSIFICATION"),
    ("image-classification", "AutoModelForImageClassification", "IMAGE_CLASSIFICATION"),
    ("image-text-to-text", "AutoModelForImageTextToText", "IMAGE_TEXT_TO_TEXT"),
    ("token-classification", "AutoModelForTokenClassification", "TOKEN_CLASSIFICATION"),
    ("question-answering", "AutoModelForQuestionAnswering", "QUESTION_ANSWERING"),
    ("fill-mask", "AutoModelForMaskedLM", "MASKED_LM"),
    ("text2text-generation", "AutoModelForSeq2SeqLM", "SEQ_TO_SEQ_CAUSAL_LM"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of task.

    Attributes:
        tag: `pipeline_tag` of the Hub; None where none is known.
        auto_class: the class of transformers that loads the model.
        architecture: the class that config.json names.
    """

    tag: str | None
    auto_class: str
    architecture: str | None

    @property
    def is_causal(self) -> bool:
        """Whether it is a causal language model."""
        return self.auto_class == "AutoModelForCausalLM"


def task_of(config: Mapping[str, Any]) -> Task:
    """Find the task of a configuration by transformers' own tables.

    A configuration that names no architecture is evaluated as a causal language model.
    """
    from transformers.models.auto import modeling_auto  # noqa: PLC0415 -- seconds to import

    architecture = next(iter(config.get("architectures") or ()), None)
    if architecture is None:
        return Task("text-generation", "AutoModelForCausalLM", None)
    for tag, auto_class, name in _KINDS:
        table = getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES")
        known = table.get(config.get("model_type"), ())
        if architecture == known or (not isinstance(known, str) and architecture in known):
            return Task(tag, auto_class, architecture)
    return Task(None, architecture, architecture)
