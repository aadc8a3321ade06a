"""Per-example scores: a gzipped JSON file a job, renamed into place before any event names it."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evomerge.errors import JournalError

Examples = Mapping[str, Mapping[str, float]]

MAX_SYNCING = 32
_LEVEL = 3  # the next is half as fast and saves a tenth


def examples_file(name: str) -> str:
    """Return where in a run directory the scores of a job are."""
    return f"examples/{name}.json.gz"


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
            file.write(packed(examples))
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            sync(path.parent)
    except OSError as error:
        raise JournalError(_unwritable(path, error)) from error


def packed(examples: Examples) -> bytes:
    """Return objective -> {item id: score} as gzipped JSON; the same for the same."""
    plain = {
        objective: {item: float(score) for item, score in scores.items()}
        for objective, scores in examples.items()
    }
    text = json.dumps(plain, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=_LEVEL, mtime=0)


def read_examples(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Read what `write_examples` wrote.

    Raises:
        JournalError: the file is missing or damaged.
    """
    path = folder / name
    try:
        result: dict[str, dict[str, float]] = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error) as error:
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
