"""The models of a study on every node: read where they are, or copied once per node.

Workers map model files into memory, so that those of one node share one copy. On shared storage
they find the driver's files themselves; elsewhere the first worker of a node copies them into its
temporary directory (TMPDIR), piece by piece through the object store, and the others find it there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock

from evomerge.errors import CheckpointError
from evomerge.recipe.fingerprint import model_refs, rewritten
from evomerge.recipe.model import ModelRef, Node, Recipe
from evomerge.workers.cluster.protocol import Fetch

PIECE_BYTES = 32 << 20
_WHAT_LOADS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_PICKLES = ("*.bin", "*.pt", "*.pth")

Source: TypeAlias = tuple[str, str | None]
"""A path or hub id, and its revision."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file as the driver sees it: name, bytes, and the second it was last changed in."""

    name: str
    size: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder of model files as the driver sees it.

    Attributes:
        path: absolute, on the driver's node.
        files: what a model is loaded from.
    """

    path: str
    files: tuple[ModelFile, ...]

    @classmethod
    def of(cls, folder: Path, *, allow_pickle: bool, code: bool = False) -> ModelFolder:
        """Describe a folder on the driver's node; `code` says that its own may be run."""
        patterns = _WHAT_LOADS + (_PICKLES if allow_pickle else ()) + (("*.py",) if code else ())
        paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
        return cls(str(folder.absolute()), tuple(_described(path) for path in sorted(paths)))

    def is_here(self) -> bool:
        """Say whether this node sees the same files at the same place."""
        return self._are_in(Path(self.path))

    def copied(self, fetch: Fetch) -> Path:
        """Return a folder on this node with the same files, copied by whoever comes first.

        Raises:
            CheckpointError: they cannot be written.
        """
        folder = _cache() / self._key()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock", fallback_to_soft=False):
                if not self._are_in(folder):
                    self._copy(folder, fetch)
        except OSError as error:
            raise CheckpointError(
                f"{folder}: a copy of {self.path} cannot be written: {error.strerror or error}; "
                "free some disk space there, or set TMPDIR in workers.runtime_env.env_vars"
            ) from error
        return folder

    def _are_in(self, folder: Path) -> bool:
        with suppress(OSError):
            return all(_described(folder / file.name) == file for file in self.files)
        return False

    def _copy(self, folder: Path, fetch: Fetch) -> None:
        partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        try:
            for file in self.files:
                with (partial / file.name).open("wb") as copy:
                    for offset in range(0, file.size, PIECE_BYTES):
                        copy.write(fetch(f"{self.path}/{file.name}", offset, PIECE_BYTES))
                os.utime(partial / file.name, (file.changed_at, file.changed_at))
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]


def folders_of(
    models: Iterable[Node], *, allow_pickle: bool, trusted: Iterable[ModelRef] = ()
) -> dict[Source, ModelFolder]:
    """Describe the folders of models on the driver's node, adapters' included.

    Args:
        models: of the study.
        allow_pickle: pickled weights are read.
        trusted: models whose own code may be run.

    Raises:
        CheckpointError: a hub id is not cached, and the hub does not give it.
    """
    from evomerge.merging.checkpoint import resolve_folder  # noqa: PLC0415 imports torch

    refs = [ref for one in models for ref in _refs(one)]
    sources = {source for ref in refs for source in _sources(ref)}
    run = {(ref.path, ref.revision) for ref in trusted}
    return {
        source: ModelFolder.of(
            resolve_folder(*source), allow_pickle=allow_pickle, code=source in run
        )
        for source in sorted(sources, key=str)
    }


def relocated(recipe: Recipe, places: Mapping[Source, str]) -> Recipe:
    """Return a recipe that reads its models from other places.

    Args:
        recipe: left as it is.
        places: where each of them is now; the others stay.
    """
    moved: dict[str, str] = {}

    def change(ref: ModelRef) -> ModelRef:
        there = relocated_ref(ref, places)
        moved[str(ref)] = str(there)
        return there

    found = rewritten(recipe, change)
    tokenizer = found.tokenizer_source
    return found.model_copy(
        update={"tokenizer_source": tokenizer and moved.get(tokenizer, tokenizer)}
    )


def relocated_ref(ref: ModelRef, places: Mapping[Source, str]) -> ModelRef:
    """Return a reference to the same model at another place."""
    update: dict[str, str | None] = {}
    if (ref.path, ref.revision) in places:
        update |= {"path": places[ref.path, ref.revision], "revision": None}
    if ref.adapter is not None and (ref.adapter, ref.adapter_revision) in places:
        adapter = places[ref.adapter, ref.adapter_revision]
        update |= {"adapter": adapter, "adapter_revision": None}
    return ref.model_copy(update=update)


def read_piece(path: str, offset: int, length: int) -> bytes:
    """Read a piece of a file; what the driver's end of a `Fetch` does."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _refs(model: Node) -> list[ModelRef]:
    return [model] if isinstance(model, ModelRef) else list(model_refs(model))


def _sources(ref: ModelRef) -> list[Source]:
    adapter = [(ref.adapter, ref.adapter_revision)] if ref.adapter is not None else []
    return [(ref.path, ref.revision), *adapter]


def _described(path: Path) -> ModelFile:
    found = path.stat()
    return ModelFile(path.name, found.st_size, int(found.st_mtime))


def _cache() -> Path:
    return Path(tempfile.gettempdir(), f"evomerge-models-{os.getuid()}")
