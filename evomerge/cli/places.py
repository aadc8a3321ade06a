"""Where runs live when the user does not say, and what to type for more of one."""

from __future__ import annotations

from pathlib import Path

from evomerge.errors import RunDirectoryError
from evomerge.journal import DATABASE as JOURNAL

MORE = {
    "trials": "100",
    "items": "10000",
    "hours": "1",
    "deadline": "07:30",
    "gpu_hours": "1",
    "money": "10",
    "stagnation": "50",
}


def more_of(budget: str | None, run: Path) -> str | None:
    """Return the command that gives a run more of the budget it has used up.

    Args:
        budget: the kind; None is returned where its search ended for another reason.
        run: its directory.
    """
    return f"evomerge resume {run} --add {budget}={MORE[budget]}" if budget in MORE else None


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
    return max(journals, key=_written_at).parent


def _written_at(journal: Path) -> float:
    """Return when a journal was written to last; SQLite writes to the file beside it first."""
    ahead = journal.with_name(journal.name + "-wal")
    return max(path.stat().st_mtime for path in (journal, ahead) if path.exists())
