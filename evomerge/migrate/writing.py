"""The translated study as a file that explains itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evomerge.migrate.notes import Note
from evomerge.migrate.options import EvolveOptions
from evomerge.recipe.native import to_yaml

_COMMENTS: Mapping[str, str] = {
    "dtype": "What mergekit-evolve merges and scores in.",
    "space": (
        "The genome of mergekit-evolve: a genotype means the recipe it means there. 'range' stands "
        "for no bounds; narrow it, say to [-2, 2], for an optimizer other than pycma."
    ),
    "objectives": (
        "Tasks of lm-evaluation-harness. Without 'search' and 'holdout' half of each task's "
        "documents are searched on and the other half is reported on."
    ),
    "search": (
        "CMA-ES as mergekit-evolve calls it. To search for the front over the tasks itself: "
        "'optimizer: nsga2' and nothing else, and a narrower range above."
    ),
}
_WIDTH = 98


def written(
    content: Mapping[str, Any], path: Path, options: EvolveOptions, notes: Sequence[Note]
) -> str:
    """Write a study with comments.

    Args:
        content: its keys.
        path: of the configuration it was translated from.
        options: of the command line it was translated from.
        notes: what became of it all; what was refused is said in the file.
    """
    head = [f"Translated from {path.name}, a configuration of mergekit-evolve."]
    if options.given:
        head.append("Options: " + " ".join(_typed(typed) for _, typed in options.given))
    head += [f"Refused: {one.subject}: {one.text}" for one in notes if one.state == "refused"]
    text = "".join(_comment(line) for line in head)
    for key, value in content.items():
        comment = _COMMENTS.get(key)
        text += f"\n{_comment(comment)}" if comment else "\n" if key == "models" else ""
        text += to_yaml({key: value})
    return text


def _typed(text: str) -> str:
    """Quote the value of an option as a shell would need it."""
    name, separator, value = text.partition(" ")
    return f"{name} {shlex.quote(value)}" if separator else name


def _comment(text: str) -> str:
    """Break a text into comment lines."""
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH and line != "#":
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "".join(f"{one}\n" for one in (*lines, line))
