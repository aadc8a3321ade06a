"""Where runs live when the user does not say."""

from __future__ import annotations

from pathlib import Path

from evomerge.errors import RunDirectoryError

JOURNAL = "journal.sqlite"


def default_out(name: str) -> Path:
    """Return the run directory of a study."""
    return Path("runs", name)


def find_run(folder: Path | None) -> Path:
    """Return the run the user means: the one named, else the one written to last.

    Looks in the current directory, its sub-folders and `runs/`.

    Raises:
        RunDirectoryError: there is no such run.
    """
    if folder is not None:
        if not (folder / JOURNAL).is_file():
            raise RunDirectoryError(f"{folder} holds no run ({JOURNAL} is missing)")
        return folder
    journals = [*Path().glob(JOURNAL), *Path().glob(f"*/{JOURNAL}"), *Path().glob(f"*/*/{JOURNAL}")]
    if not journals:
        raise RunDirectoryError("no run found here; name its directory, e.g. runs/my-study")
    return max(journals, key=lambda path: path.stat().st_mtime).parent
