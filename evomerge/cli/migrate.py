"""The verb `migrate`: a configuration and an old command line of mergekit-evolve become a study."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.studies import STUDY, named_file, translated
from evomerge.errors import ConfigError, RunDirectoryError
from evomerge.migrate.options import TABLE

if TYPE_CHECKING:
    from evomerge.migrate.notes import Note

_SUBJECT = 34
"""Width of the column of keys and options."""


def migrate(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG",
            help="A configuration of mergekit-evolve, and options it was run with.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The study to write; study.yaml beside the file by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Turn a configuration of mergekit-evolve into a study, and say what became of each key.

    Paste the old command line behind it, as in

    evomerge migrate mergekit-evolve ./evolve.yml --storage-path out --max-fevals 200

    'evomerge run' and 'evomerge check' take such a line too.
    """
    path, options = named_file(words, context)
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    study = out or path.parent / STUDY
    if study.exists():
        raise RunDirectoryError(f"{study} exists already; name another file with --out")
    found = translated(path, options, study.parent)
    study.parent.mkdir(parents=True, exist_ok=True)
    study.write_text(found.study, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"study": str(study), "notes": list(map(asdict, found.notes))}))
        return
    typer.echo(f"{path} became {study}:")
    for note in found.notes:
        if note.state != "refused":
            typer.echo(_line(note))
    if found.refused:
        typer.echo("refused, and what replaces it:")
        for note in found.refused:
            typer.echo(_line(note))
    run = f" --out {options.storage_path}" if options.storage_path else ""
    typer.echo(f"next: evomerge check {study} && evomerge run {study}{run}")


def table() -> str:
    """Return what becomes of each option of mergekit-evolve, a paragraph each."""
    return "\n\n".join(("Options of mergekit-evolve, and what becomes of them:", *_rows()))


def _rows() -> Iterator[str]:
    for option in TABLE:
        names = ", ".join(filter(None, (option.name, option.short, option.negation)))
        yield f"{names}: {'refused: ' if option.refused else ''}{option.becomes}"


def _line(note: Note) -> str:
    return f"  {note.subject:<{_SUBJECT}} {note.text}"
