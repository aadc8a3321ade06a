"""What a fitness is given: the merged model, and quick ways to question it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evomerge.errors import FitnessError
from evomerge.fitness.language_model import LanguageModel
from evomerge.fitness.protocol import Item
from evomerge.recipe.model import Recipe
from evomerge.types import DeltaStatistics, Split

if TYPE_CHECKING:  # a study checks its fitnesses without loading torch
    import torch


class MergedModel(LanguageModel):
    """A merged model that is ready to be scored.

    Attributes:
        module: the transformers model, in eval mode, resident on `device`. It is rewritten in
            place by the next candidate: keep nothing of it.
        tokenizer: its tokenizer; None for models that have none, such as classifiers of images.
        recipe: what was merged.
        split: 'search', 'validation' or 'holdout'.
        items: the objective's items of this split; empty where the objective names no data.
        device: where the module lives.
        charged: what was charged so far.

    Args:
        write: writes the merged checkpoint into a folder that does not exist yet.
        delta: measures the distance from the base.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        recipe: Recipe,
        split: Split,
        items: Sequence[Item],
        device: torch.device | str,
        write: Callable[[Path], None],
        delta: Callable[[], DeltaStatistics],
    ) -> None:
        super().__init__(module, tokenizer, device)
        self.recipe = recipe
        self.split: Split = split
        self.items: tuple[Item, ...] = tuple(items)
        self.charged = 0.0
        self._write = write
        self._measure = delta
        self._delta: DeltaStatistics | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._path: Path | None = None

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items' ids, in order."""
        return tuple(item["id"] for item in self.items)

    def delta(self) -> DeltaStatistics:
        """Measure the distance from the base, once."""
        if self._delta is None:
            self._delta = self._measure()
        return self._delta

    def charge(self, amount: float) -> None:
        """Note what scoring costs beside the worker, such as the calls of a judge's API.

        It counts in a budget of `money`, also when scoring fails afterwards.

        Args:
            amount: in the unit of the study's `price`.

        Raises:
            FitnessError: it is negative or not finite.
        """
        if not 0 <= amount < math.inf:
            raise FitnessError(f"model.charge({amount!r}): expected a finite amount, at least 0")
        self.charged += amount

    def path(self) -> Path:
        """Return a folder with the merged checkpoint, written on first demand.

        It lives until `close`; the place is Python's temporary directory (TMPDIR).
        """
        if self._path is None:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="evomerge-")
            path = Path(self._folder.name, "model")
            self._write(path)
            self._path = path
        return self._path

    def close(self) -> None:
        """Remove the written checkpoint, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._path = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
