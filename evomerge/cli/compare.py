"""The verb that sets two models of a run against each other: compare."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evomerge.cli.places import find_run
from evomerge.cli.results import AsJson
from evomerge.errors import UserError

_MODEL = "A trial number, base, donor:NAME, uniform, single-lambda, or a recipe file."


class Items(StrEnum):
    """What items two models can be compared on."""

    holdout = "holdout"
    search = "search"
    validation = "validation"


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_MODEL)],
    second: Annotated[str, typer.Argument(metavar="B", help=_MODEL)],
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="A run directory; the latest by default.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="Compare in this objective only.")
    ] = None,
    on: Annotated[
        Items, typer.Option("--on", help="The items: hold-out, or those the front was picked on.")
    ] = Items.holdout,
    as_json: AsJson = False,
) -> None:
    """Compare two models of a run on the same items: paired intervals and exact tests."""
    from rich.console import Console  # noqa: PLC0415

    from evomerge.report.comparison import compare as compared  # noqa: PLC0415
    from evomerge.report.comparison_text import (  # noqa: PLC0415
        comparison_document,
        print_comparison,
    )
    from evomerge.report.pair import collect_pair  # noqa: PLC0415

    pair = collect_pair(find_run(run_folder), (first, second), on.value)
    if on is not Items.holdout and on.value != pair.picked_on:
        raise UserError(
            f"--on: the front of this run was picked on {pair.picked_on} items, so that models "
            f"have comparable scores there and on holdout; got {on.value}"
        )
    found = compared(pair, on.value, objective)
    if as_json:
        typer.echo(json.dumps(comparison_document(found), indent=2))
    else:
        print_comparison(found, Console())
