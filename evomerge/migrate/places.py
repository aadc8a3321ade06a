"""Where the models of a configuration lie, and how a study names them."""

from __future__ import annotations

import os
from pathlib import Path

from evomerge.recipe.model import ModelRef


class Places:
    """Finds what a configuration names by relative paths.

    Args:
        beside: the folder of the configuration.
        study: the folder the study is going to stand in; None for absolute paths.
    """

    def __init__(self, beside: Path, study: Path | None) -> None:
        self._roots = (Path(), beside)
        self._study = study

    def spelled(self, ref: ModelRef) -> str:
        """Name a model as the study should: relative to it where the configuration is relative."""
        return self._text(ref, self._study)

    def absolute(self, ref: ModelRef) -> str:
        """Name a model by an absolute path where it is on this machine, else as it is named."""
        return self._text(ref, None)

    def _text(self, ref: ModelRef, study: Path | None) -> str:
        parts = {"path": self._part(ref.path, study)}
        if ref.adapter is not None:
            parts["adapter"] = self._part(ref.adapter, study)
        return str(ref.model_copy(update=parts))

    def _part(self, text: str, study: Path | None) -> str:
        path = Path(text).expanduser()
        found = next((root / path for root in self._roots if (root / path).exists()), None)
        if found is None:
            return text  # a hub's name, or a mistake that the check of the study tells
        if path.is_absolute() or study is None:
            return str(found.resolve())
        relative = os.path.relpath(found.resolve(), study.resolve())
        return relative if relative.startswith(".") else f"./{relative}"
