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
    formats: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT,...", help="html (one page), md, png, svg; a list of them."
        ),
    ] = "html,png",
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, finished or not: front, recipes, progress, genes, failures, spend.

    The page is one file that needs no network: click a point for its recipe.
    """
    from evomerge.report.run_report import formats_from, write_report  # noqa: PLC0415

    wanted = formats_from(formats)
    folder = find_run(run_folder)
    files = write_report(folder, out, wanted)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "out": str(out), "files": files}))
        return
    first = next((name for name in ("report.html", "report.md") if name in files), files[0])
    others = len(files) - 1
    more = f" and {others} other file{'' if others == 1 else 's'} beside it" if others else ""
    typer.echo(f"wrote {out / first}{more}")
