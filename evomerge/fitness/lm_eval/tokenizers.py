"""Whether two tokenizers are the same, and which of its chat templates one writes by."""

from __future__ import annotations

from typing import Any

from evomerge.errors import FitnessError, nearest


def same_tokenizer(one: Any, other: Any) -> bool:
    """Say whether two tokenizers read and write alike; a worker may load the same one again."""
    if one is other or one is None or other is None:
        return one is other
    return (
        type(one) is type(other)
        and one.is_fast
        and one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
        and one.special_tokens_map == other.special_tokens_map
        and one.chat_template == other.chat_template
    )


def template_name(tokenizer: Any, wanted: bool | str) -> str | None:
    """Return the name of the chat template to use where the tokenizer has several.

    Raises:
        FitnessError: the tokenizer has no such template.
    """
    templates = tokenizer.chat_template
    where = f"the tokenizer of '{tokenizer.name_or_path}'"
    if not wanted:
        return None
    if not templates:
        raise FitnessError(f"{where} has no chat template; set apply_chat_template: false")
    if wanted is True:
        return None
    if not isinstance(templates, dict):
        raise FitnessError(f"{where} has one chat template, without a name; write 'true'")
    if wanted not in templates:
        raise FitnessError(f"{where} has no chat template '{wanted}'; {nearest(wanted, templates)}")
    return wanted
