"""A model of which only the configuration is known: enough to check a study, not to merge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import read_json
from evomerge.merging.settings import refusals
from evomerge.recipe.layout import Layout


class ConfigCheckpoint:
    """Names, shapes and dtypes of the model that transformers builds from a configuration.

    It is built on torch's meta device, so nothing is allocated. Tokens are taken to be shared
    by number with other models.

    Args:
        file: a config.json.
        label: how messages name the model.

    Raises:
        CheckpointError: the configuration is missing, damaged, or of an unknown architecture.
    """

    constant = True

    def __init__(self, file: Path, label: str) -> None:
        from evomerge.merging.resident import build_module  # noqa: PLC0415 -- cycle

        self.label = label
        self.folder = file.parent
        self.config: Mapping[str, Any] = read_json(file, f"model '{label}'")
        # files of older versions of transformers say torch_dtype
        dtype = self.config.get("dtype") or self.config.get("torch_dtype") or "float32"
        with refusals(f"{file}: no model can be built from it"):
            module = build_module({**self.config, "dtype": dtype}, "meta")
        self._tensors: dict[str, Tensor] = {name: p.data for name, p in module.named_parameters()}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor name, sorted."""
        return tuple(sorted(self._tensors))

    @cached_property
    def layout(self) -> Layout:
        """The layer structure of `names`."""
        return Layout.of(self.names, str(self.config.get("model_type", "")))

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every row of the embedding as a token of its number."""
        return {f"<{number}>": number for number in range(int(self.config["vocab_size"]))}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a shape."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype the configuration says."""
        return self._tensors[name].dtype

    def tensor(self, name: str) -> Tensor:
        """Refuse: there are no weights.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(f"model '{self.label}': '{name}' cannot be read, {_UNSEEN}")

    def digest(self) -> str:
        """Refuse: there are no weights.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(f"model '{self.label}' has no digest, {_UNSEEN}")


_UNSEEN = "only its configuration was given"
