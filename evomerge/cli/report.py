"""The verb that shows a run: report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evomerge.cli.places import find_run
from evomerge.cli.results import AsJson, RunFolder


def report(
    run_folder: RunFolder = None,
    out: Annotated[Path, typer.Option("--out", help="The folder to write; must not exist.")] = Path(
        "report"
    ),
    as_json: AsJson = False,
) -> None:
    """Draw a run: progress, niches, coverage and family trees, as a page and as pictures."""
    from evomerge.report.run_report import write_report  # noqa: PLC0415

    folder = find_run(run_folder)
    files = write_report(folder, out)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "out": str(out), "files": files}))
    else:
        others = len(files) - 1
        more = f"{others} other file{'' if others == 1 else 's'} beside it"
        typer.echo(f"wrote {out / 'report.html'} and {more}")
