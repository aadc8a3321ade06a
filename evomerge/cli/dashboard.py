"""The verb that opens optuna-dashboard on a run."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from evomerge.cli.places import find_run
from evomerge.cli.results import RunFolder


def dashboard(
    run_folder: RunFolder = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On this machine only; 0 takes a free one.")
    ] = 8080,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open nothing.")
    ] = False,
) -> None:
    """Watch a run, running or not, in optuna-dashboard; the run is only read."""
    from evomerge.dashboard import Dashboard  # noqa: PLC0415

    folder = find_run(run_folder)
    with Dashboard(folder, port, _warn) as shown:
        typer.echo(f"{folder}: {shown.url} (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(shown.url)
        try:
            shown.serve()
        except KeyboardInterrupt:
            typer.echo("")


def _warn(line: str) -> None:
    typer.echo(f"warning: {line}", err=True)
