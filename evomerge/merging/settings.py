"""Configurations as transformers understands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from evomerge.errors import CheckpointError


def filled(config: Mapping[str, Any], label: str) -> Any:
    """Return the configuration of a model with transformers' defaults.

    Args:
        config: content of config.json, of an architecture that transformers knows.
        label: how a message names the model.

    Raises:
        CheckpointError: transformers refuses it.
    """
    from transformers import CONFIG_MAPPING  # noqa: PLC0415 -- seconds to import

    with refusals(f"{label}: transformers cannot read its config.json"):
        return CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))


@contextmanager
def refusals(problem: str) -> Iterator[None]:
    """Report what transformers raises at a damaged configuration.

    Args:
        problem: what the message begins with.

    Raises:
        CheckpointError: transformers raised something.
    """
    from huggingface_hub.errors import StrictDataclassError  # noqa: PLC0415 -- slow to import

    try:
        yield
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{problem}: {reason}") from error
