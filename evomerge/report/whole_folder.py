"""Folders that appear complete or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evomerge.errors import RunDirectoryError


@contextmanager
def whole_folder(directory: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a place to write a folder to, and rename it to `directory` when the block ends well.

    Whatever stops the writing (an error, a kill, a power cut) leaves at most a hidden sibling
    named '.<name>.<random>.partial', and what stood at `directory` before.

    Args:
        directory: must not exist, unless it is to be replaced; its parent is made where missing.
        replace: an existing folder gives way once the new one is complete.

    Yields:
        A path that does not exist yet; the block makes the folder there.

    Raises:
        RunDirectoryError: the directory exists, or its place cannot be written.
    """
    require_free(directory, replace=replace)
    place = directory.absolute()
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        made = partial / place.name
        yield made
        if directory.exists():
            if not replace:
                raise RunDirectoryError(
                    f"{directory} was made by another process; name a new folder"
                )
            place.rename(partial / f"{place.name}.replaced")
        made.rename(place)
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_free(directory: Path, *, replace: bool = False) -> None:
    """Check that a folder can be made or, if it is to be replaced, that one is there.

    Raises:
        RunDirectoryError: the place is taken.
    """
    if directory.is_symlink() or (directory.exists() and not (replace and directory.is_dir())):
        raise RunDirectoryError(f"{directory} exists already; name a new folder")
