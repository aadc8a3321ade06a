"""What stands where a command wants a study: a study file, or an old line of mergekit-evolve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.errors import ConfigError, EvomergeError, UserError
from evomerge.located_yaml import load_located

if TYPE_CHECKING:
    from evomerge.migrate.options import EvolveOptions
    from evomerge.migrate.translation import Translation
    from evomerge.study import StudyConfig

StudyWords = Annotated[
    list[str],
    typer.Argument(
        metavar="STUDY",
        help="The study file (YAML), or a configuration of mergekit-evolve and its options.",
    ),
]
PASSES_OPTIONS = {"ignore_unknown_options": True}
"""Context settings of a command that takes the options of mergekit-evolve too."""

STUDY = "study.yaml"
ORIGINAL = "mergekit-evolve.yml"


@dataclass(frozen=True)
class NamedStudy:
    """A study that a command line names.

    Attributes:
        path: of the file.
        config: the study.
        out: the run folder, where the command line says.
        keep: files for the run folder: the study and what it was translated from.
        remarks: of the translation.
    """

    path: Path
    config: StudyConfig
    out: Path | None = None
    keep: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def named_study(
    words: Sequence[str], overrides: Sequence[str], context: typer.Context
) -> NamedStudy:
    """Read the study that the words of a command line name.

    Args:
        words: a file, and for a configuration of mergekit-evolve its options.
        overrides: 'a.b=value', of the study.
        context: of the command, for its own options.

    Raises:
        ConfigError: the words or the study mean nothing.
        UserError: an option is refused.
    """
    from evomerge.study import load_study  # noqa: PLC0415

    path, options = named_file(words, context)
    if not is_evolve(path):
        _refuse_options(path, options)
        return NamedStudy(path, load_study(path, overrides))
    return _translated(path, options, overrides)


def named_file(words: Sequence[str], context: typer.Context) -> tuple[Path, EvolveOptions]:
    """Return the one file of a command line and the options of mergekit-evolve beside it.

    Raises:
        ConfigError: an option is unknown, or there is not one file.
    """
    from evomerge.migrate.options import read_command  # noqa: PLC0415

    own = [name for one in context.command.params for name in one.opts if name.startswith("--")]
    loose, options = read_command(words, own)
    if len(loose) != 1:
        found = ", ".join(loose) if loose else "none"
        raise ConfigError([f"expected one file, got {found}"])
    return Path(loose[0]), options


def is_evolve(path: Path) -> bool:
    """Say whether a file is a configuration of mergekit-evolve; what is no YAML is none."""
    from evomerge.migrate.configuration import is_configuration  # noqa: PLC0415

    try:
        return is_configuration(load_located(path.read_text(encoding="utf-8"), str(path))[0])
    except (OSError, UnicodeDecodeError, EvomergeError):
        return False  # whoever reads it as a study says what is wrong


def translated(path: Path, options: EvolveOptions, folder: Path | None) -> Translation:
    """Translate a configuration; see `evomerge.migrate.translation.translate`."""
    from evomerge.migrate.translation import translate  # noqa: PLC0415

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return translate(text, path, options, folder=folder)


def _translated(path: Path, options: EvolveOptions, overrides: Sequence[str]) -> NamedStudy:
    from evomerge.recipe.native import to_yaml  # noqa: PLC0415
    from evomerge.study import overridden, read_study  # noqa: PLC0415

    found = translated(path, options, None)
    if found.refused:
        raise UserError(
            "\n".join(
                f"{note.subject}: refused: {note.text}; leave the option out"
                for note in found.refused
            )
        )
    source = f"{path} as a study"
    text = found.study
    if overrides:
        data = overridden(load_located(text, source)[0], overrides)
        text = f"# Translated from {path.name}, with --set {' '.join(overrides)}.\n{to_yaml(data)}"
    return NamedStudy(
        path,
        read_study(found.study, source, overrides),
        Path(options.storage_path) if options.storage_path else None,
        {STUDY: text, ORIGINAL: path.read_text(encoding="utf-8")},
        (
            f"{path}: a configuration of mergekit-evolve; 'evomerge migrate' says what becomes of "
            "each key",
            *(f"{one.subject}: {one.text}" for one in found.notes if one.state == "unknown"),
        ),
    )


def _refuse_options(path: Path, options: EvolveOptions) -> None:
    """Refuse options of mergekit-evolve beside a study, whose keys say the same.

    Raises:
        ConfigError: naming the first of them.
    """
    if options.given:
        name = options.given[0][1].split()[0]
        raise ConfigError(
            [
                f"{name}: an option of mergekit-evolve, and {path} is a study; "
                "'evomerge migrate --help' says which key does the same"
            ]
        )
