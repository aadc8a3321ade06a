"""Per-example scores: one compressed .npz a job, renamed into place before any event names it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

from evomerge.errors import JournalError

Examples = Mapping[str, Mapping[str, float]]

MAX_SYNCING = 32


def write_examples(folder: Path, name: str, examples: Examples, *, durable: bool = True) -> None:
    """Write objective -> {item id: score} under `folder/name`.

    Args:
        folder: the run directory.
        name: of the file.
        examples: the scores.
        durable: the file survives a power cut; else `sync_files` must see to it before an event
            names the file.

    Raises:
        JournalError: the file cannot be written.
    """
    path = folder / name
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            pack(file, examples)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            sync(path.parent)
    except OSError as error:
        raise JournalError(_unwritable(path, error)) from error


def pack(file: IO[bytes], examples: Examples) -> None:
    """Write objective -> {item id: score} as compressed arrays."""
    arrays: dict[str, np.ndarray] = {}
    for objective, scores in examples.items():
        arrays[f"{objective}|ids"] = np.array(list(scores), dtype=np.str_)
        arrays[f"{objective}|scores"] = np.array(list(scores.values()), dtype=np.float64)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_examples(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Read what `write_examples` wrote.

    Raises:
        JournalError: the file is missing or damaged.
    """
    path = folder / name
    result: dict[str, dict[str, float]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for key in arrays.files:
                objective, _, part = key.rpartition("|")
                if part == "ids":
                    ids = arrays[key].tolist()
                    scores = arrays[f"{objective}|scores"].tolist()
                    result[objective] = dict(zip(ids, scores, strict=True))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise JournalError(
            f"{path}: per-example scores are missing or damaged ({error}); "
            "restore the file from a backup, the journal names it"
        ) from error
    return result


def sync_files(paths: Sequence[Path]) -> None:
    """Make files of one folder durable; many at once take the disk little longer than one.

    Raises:
        JournalError: one cannot be written.
    """
    if not paths:
        return
    try:
        with ThreadPoolExecutor(min(len(paths), MAX_SYNCING)) as threads:
            list(threads.map(sync, paths))
        sync(paths[0].parent)
    except OSError as error:
        raise JournalError(_unwritable(paths[0].parent, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written: {error.strerror or error}; free some disk space or check the "
        "disk, then resume the run: every finished trial is safe"
    )


def sync(path: Path) -> None:
    """Make the content of a file, or the renames of a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
