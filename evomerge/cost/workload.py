"""From an objective of a study to the forward passes it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.cost.forward import BATCH_SIZE, Workload
from evomerge.fitness import FitnessSpec, Item
from evomerge.fitness.encoding import encode

BYTES_PER_TOKEN = 3
_BUILT_IN = "evomerge.fitness."


@dataclass
class Tokens:
    """Counts tokens, with the models' tokenizer where there is one.

    Args:
        tokenizer: of transformers; None where none was seen.

    Attributes:
        estimated: some count was taken from the length of the text.
    """

    tokenizer: Any
    estimated: bool = field(default=False, init=False)

    def count(self, texts: Sequence[str], *, special_tokens: bool = True) -> tuple[int, ...]:
        """Return the number of tokens of each text."""
        if self.tokenizer is None:
            self.estimated = True
            return tuple(max(1, -(-len(text.encode()) // BYTES_PER_TOKEN)) for text in texts)
        rows = encode(self.tokenizer, texts, special_tokens=special_tokens)
        return tuple(len(row) for row in rows)

    def prompts(self, texts: Sequence[str], *, chat: bool) -> tuple[int, ...]:
        """Return the number of tokens of each prompt, put into the chat template where asked."""
        if not chat or self.tokenizer is None or not self.tokenizer.chat_template:
            return self.count(texts)
        written = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
            for text in texts
        ]
        return self.count(written, special_tokens=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an objective asks of a model.

    Attributes:
        workload: its forward passes; None where it makes none.
        assumptions: what is not known and was taken to be so, one sentence each.
    """

    workload: Workload | None
    assumptions: tuple[str, ...] = ()


def asked(
    name: str,
    fitness: FitnessSpec,
    items: Sequence[Item],
    tokens: Tokens,
    *,
    answer_tokens: int | None = None,
) -> Asked:
    """Say which forward passes a fitness makes over its items.

    Args:
        name: of the objective.
        fitness: found and bound, not built.
        items: what is scored.
        tokens: counts them.
        answer_tokens: tokens of a usual answer, where answers are written.
    """
    target = fitness.target
    if getattr(target, "__module__", "").startswith(_BUILT_IN):
        reader = _KNOWN.get(getattr(target, "__name__", ""))
        if reader is None:
            return Asked(None, (f"{name}: {fitness.name} reads weights only, no forward pass",))
        return reader(name, fitness, items, tokens, answer_tokens)
    return _own(name, fitness, items, tokens, answer_tokens)


def _exact_match(
    name: str, fitness: FitnessSpec, items: Sequence[Item], tokens: Tokens, usual: int | None
) -> Asked:
    prompts = [str(item[argument(fitness, "prompt_field")]) for item in items]
    lengths = tokens.prompts(prompts, chat=bool(argument(fitness, "chat")))
    limit = argument(fitness, "max_new_tokens")
    batch_size = argument(fitness, "batch_size")
    if limit is not None:
        return _generating(name, lengths, int(limit), usual, batch_size)
    field_name = argument(fitness, "answer_field")
    wanted = [str(text) for item in items for text in _listed(item[field_name])]
    longest = max(tokens.count(wanted, special_tokens=False)) + 1  # as exact_match sets it
    return Asked(Workload(name, lengths, longest, usual, batch_size=batch_size))


def _likelihood(
    name: str, fitness: FitnessSpec, items: Sequence[Item], tokens: Tokens, usual: int | None
) -> Asked:
    del usual
    whole = argument(fitness, "text_field")
    separator = argument(fitness, "separator")
    answers = [str(item[whole or argument(fitness, "answer_field")]) for item in items]
    texts = answers
    if whole is None:
        prompts = [str(item[argument(fitness, "prompt_field")]) for item in items]
        texts = [p + separator + a for p, a in zip(prompts, answers, strict=True)]
    scored = max(tokens.count(answers, special_tokens=False))
    batch_size = argument(fitness, "batch_size")
    return Asked(Workload(name, tokens.count(texts), scored=scored, batch_size=batch_size))


def _multiple_choice(
    name: str, fitness: FitnessSpec, items: Sequence[Item], tokens: Tokens, usual: int | None
) -> Asked:
    del usual
    separator = argument(fitness, "separator")
    pairs = [
        (str(item[argument(fitness, "prompt_field")]), separator + str(choice))
        for item in items
        for choice in item[argument(fitness, "choices_field")]
    ]
    scored = max(tokens.count([choice for _, choice in pairs], special_tokens=False))
    lengths = tokens.count([prompt + choice for prompt, choice in pairs])
    workload = Workload(name, lengths, scored=scored, batch_size=argument(fitness, "batch_size"))
    return Asked(workload)


def _own(
    name: str, fitness: FitnessSpec, items: Sequence[Item], tokens: Tokens, usual: int | None
) -> Asked:
    """Take a user's fitness to read each item once, and to answer it where it can say how long."""
    if not items:
        return Asked(
            None, (f"{name}: '{fitness.name}' names no items; its forward passes are not counted",)
        )
    field_name = argument(fitness, "prompt_field")
    read = f"field '{field_name}'" if field_name else "all text fields"
    if field_name:
        texts = [str(item[field_name]) for item in items]
    else:
        texts = [
            " ".join(value for key, value in item.items() if key != "id" and isinstance(value, str))
            for item in items
        ]
    lengths = tokens.count(texts)
    batch_size = argument(fitness, "batch_size") or BATCH_SIZE
    limit = argument(fitness, "max_new_tokens")
    if limit is None:
        return Asked(
            Workload(name, lengths, batch_size=batch_size),
            (
                f"{name}: '{fitness.name}' is taken to read {read} of each item once and to write "
                "nothing; name a parameter max_new_tokens if it generates",
            ),
        )
    made = _generating(name, lengths, int(limit), usual, batch_size)
    note = (
        f"{name}: '{fitness.name}' is taken to generate once from {read} of each item; what it "
        "puts around it is not counted"
    )
    return Asked(made.workload, (note, *made.assumptions))


def _generating(
    name: str, lengths: tuple[int, ...], limit: int, usual: int | None, batch_size: int
) -> Asked:
    if usual is None:
        note = f"{name}: every answer is taken to have {limit} tokens, the most it may; "
        note += "give --answer-tokens for usual ones"
    else:
        note = f"{name}: a usual answer is taken to have {min(usual, limit)} tokens of {limit} "
        note += "(--answer-tokens); at the high end half of each batch goes on to the most"
    workload = Workload(name, lengths, limit, usual, batch_size=batch_size)
    return Asked(workload, () if limit == 1 else (note,))


def argument(fitness: FitnessSpec, name: str) -> Any:
    """Return an argument of a fitness: the study's, else its default; None where it has none."""
    if name in fitness.arguments:
        return fitness.arguments[name]
    parameter = inspect.signature(fitness.target).parameters.get(name)
    if parameter is None or parameter.default is parameter.empty:
        return None
    return parameter.default


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


_KNOWN = {
    "ExactMatch": _exact_match,
    "NegativeLogLikelihood": _likelihood,
    "MultipleChoice": _multiple_choice,
}
