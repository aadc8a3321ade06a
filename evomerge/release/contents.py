"""What an exported folder holds, for its card and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from evomerge.merging.adapter_folder import WrittenAdapter
from evomerge.release.gguf import Finding
from evomerge.release.licences import Inheritance
from evomerge.release.task import Task


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds.

    Attributes:
        name: of the folder.
        task: what the model is for.
        dtype: of the weights.
        n_parameters: how many are stored.
        inheritance: licences of the inputs.
        verification: what was found to be the same; None where nobody looked.
        gguf: what llama.cpp's converter needs; None of an adapter.
        adapter: what was written of an adapter; None of a checkpoint.
    """

    name: str
    task: Task
    dtype: str
    n_parameters: int
    inheritance: Inheritance
    verification: str | None
    gguf: tuple[Finding, ...] | None = None
    adapter: WrittenAdapter | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it is the evaluated model, up to rounding; a truncated adapter is not."""
        return self.adapter is None or self.adapter.is_exact
