"""What an exported model and the evaluated one are both asked, to see that they are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import UserError
from evomerge.fitness import load_items
from evomerge.study import Outline

PROMPTS = (
    "The capital of France is",
    "2 + 2 =",
    "Question: Why is the sky blue?\nAnswer:",
    "def fibonacci(n):\n    ",
    "今日の天気は",
)
_MOST = 6  # prompts
_LONGEST = 48  # tokens of each
_IMAGES = 2


@dataclass(frozen=True, slots=True)
class Samples:
    """Texts to ask.

    Attributes:
        prompts: in order.
        origin: what they are, for readers.
    """

    prompts: tuple[str, ...] = PROMPTS
    origin: str = "fixed prompts"


@dataclass(frozen=True, slots=True)
class Question:
    """One input of a model.

    Attributes:
        what: for messages.
        inputs: keyword arguments of the module's forward.
    """

    what: str
    inputs: Mapping[str, Tensor]


def study_samples(study: Outline) -> Samples:
    """Take prompts from a study's own items, hold-out ones first; fixed ones where it has none.

    Only files are read: other sources may need a network, or what the study's fitness knows.
    """
    found: list[str] = []
    for part in study.config.objectives.values():
        field = str(part.arguments.get("prompt_field", "prompt"))
        sources = [one for one in (part.holdout, part.search) if isinstance(one, str)]
        files = [one for one in sources if one.endswith((".jsonl", ".csv", ".tsv"))]
        if files:
            found += _prompts(files[0], study.folder, field)
    each = list(dict.fromkeys(found))
    step = max(1, len(each) // _MOST)
    chosen = tuple(each[::step][:_MOST])
    return Samples(chosen, "prompts of the study") if chosen else Samples()


def questions(module: Any, tokenizer: Any, samples: Samples) -> list[Question]:
    """Encode samples for a model; empty where it takes neither tokens nor pixels.

    Texts are followed by numbers from the whole vocabulary, so that special tokens are asked too.

    Args:
        module: a transformers module.
        tokenizer: its tokenizer, or None.
        samples: what to ask where it reads text.
    """
    config = module.config.get_text_config()
    if module.main_input_name == "pixel_values":
        return _images(module)
    if module.main_input_name != "input_ids":
        return []
    positions = getattr(config, "max_position_embeddings", None) or _LONGEST + 2
    longest = max(1, min(_LONGEST, positions - 2))  # some begin to count at 2
    with_decoder = bool(module.config.is_encoder_decoder)
    asked = []
    for prompt in samples.prompts if tokenizer is not None else ():
        tokens = tokenizer(prompt)["input_ids"][:longest]
        if tokens:
            asked.append(Question(f"prompt {prompt!r:.60}", _ids(tokens, with_decoder)))
    spread = torch.linspace(0, config.vocab_size - 1, longest).long().tolist()
    asked.append(Question("tokens from the whole vocabulary", _ids(spread, with_decoder)))
    return asked


def ask(module: Any, tokenizer: Any, samples: Samples) -> tuple[list[Question], list[Tensor]]:
    """Ask a model all that it can be asked; nothing where it needs more than tokens or pixels."""
    asked = questions(module, tokenizer, samples)
    try:
        return asked, answers(module, asked)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return [], []


def answers(module: Any, asked: Sequence[Question]) -> list[Tensor]:
    """Return the logits for each question; of a model without a head, its last hidden states."""
    found = []
    with torch.inference_mode():
        for question in asked:
            output = module(**question.inputs)
            logits = getattr(output, "logits", None)
            found.append((output[0] if logits is None else logits).clone())
    return found


def _prompts(source: str, folder: Path, field: str) -> list[str]:
    try:
        items = load_items(source, folder=folder)
    except UserError:  # the file has gone or changed since; fixed prompts do
        return []
    return [text for item in items if isinstance(text := item.get(field), str) and text]


def _ids(tokens: list[int], with_decoder: bool) -> dict[str, Tensor]:
    ids = torch.tensor([tokens])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**inputs, "decoder_input_ids": ids} if with_decoder else inputs


def _images(module: Any) -> list[Question]:
    config = module.config
    size = getattr(config, "image_size", None)
    channels = getattr(config, "num_channels", None)
    if size is None or channels is None:
        return []
    height, width = size if isinstance(size, list | tuple) else (size, size)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand((_IMAGES, channels, height, width), generator=generator)
    return [Question(f"{_IMAGES} random images", {"pixel_values": pixels.to(module.dtype)})]
