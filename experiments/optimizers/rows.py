"""Rows of finished searches and evaluations: one line of JSON each, appended as they finish."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]


def read_rows(file: Path) -> list[Row]:
    """Read what is finished; a line that is still being written, or never was, is left out."""
    return [json.loads(line) for line in whole_lines(file).splitlines()]


def cut_incomplete(file: Path) -> None:
    """Cut off a line that an interruption left incomplete, so that more can be appended."""
    whole = whole_lines(file)
    if file.exists() and len(whole) < file.stat().st_size:
        file.write_bytes(whole)


def whole_lines(file: Path) -> bytes:
    """Return what is up to the last end of a line, nothing where there is no file."""
    text = file.read_bytes() if file.exists() else b""
    return text[: text.rfind(b"\n") + 1]
