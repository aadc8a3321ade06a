"""Texts to tokens, once per tokenizer: prompts do not change from candidate to candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from evomerge.errors import FitnessError

Tokens: TypeAlias = tuple[int, ...]

_MEMO_ENTRIES = 200_000  # a bound for fitnesses that write new prompts for every candidate
_memos: WeakKeyDictionary[Any, dict[tuple[str, bool], Tokens]] = WeakKeyDictionary()


def encode(tokenizer: Any, texts: Sequence[str], *, special_tokens: bool = True) -> list[Tokens]:
    """Tokenize texts, remembering each for as long as the tokenizer lives.

    Args:
        tokenizer: a transformers tokenizer; adding tokens to it afterwards is not noticed.
        texts: any number, duplicates welcome.
        special_tokens: let the tokenizer add its own (a beginning-of-text token, mostly).

    Raises:
        FitnessError: there is no tokenizer.
    """
    if tokenizer is None:
        raise FitnessError(
            "the model has no tokenizer, and this fitness reads text; "
            "put the tokenizer's files (tokenizer.json) into the base model's folder"
        )
    memo = _memos.setdefault(tokenizer, {})
    missing = [text for text in dict.fromkeys(texts) if (text, special_tokens) not in memo]
    if missing:
        if len(memo) + len(missing) > _MEMO_ENTRIES:
            memo.clear()
            missing = list(dict.fromkeys(texts))
        encoded = tokenizer(
            missing,
            add_special_tokens=special_tokens,
            return_attention_mask=False,
            verbose=False,  # lengths are checked against the model, not against the tokenizer
        )["input_ids"]
        for text, ids in zip(missing, encoded, strict=True):
            memo[text, special_tokens] = tuple(ids)
    return [memo[text, special_tokens] for text in texts]


def encode_pair(tokenizer: Any, prompt: str, continuation: str) -> tuple[Tokens, Tokens]:
    """Split the tokens of `prompt + continuation` into context and scored tokens.

    The text is tokenized whole, as a model meets it, and scored from the first token in which it
    differs from the prompt alone; so a token that spans the seam is scored, never skipped. Where
    the tokenizer puts nothing before the first scored token, its beginning- or end-of-text token
    stands there; without either, the first token is context.
    """
    context, whole = encode(tokenizer, [prompt, prompt + continuation])
    shared = 0
    for left, right in zip(context, whole, strict=False):
        if left != right:
            break
        shared += 1
    if shared:
        return whole[:shared], whole[shared:]
    for start in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if start is not None:
            return (start,), whole
    return whole[:1], whole[1:]
