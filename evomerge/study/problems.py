"""Collecting every problem of a study instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from evomerge.errors import ConfigError, UserError

T = TypeVar("T")


class Problems:
    """The problems found so far, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempt(self, where: str, step: Callable[[], T]) -> T | None:
        """Run one step; a user's error becomes a line and the result None."""
        try:
            return step()
        except ConfigError as error:
            self.lines += [_placed(where, problem) for problem in error.problems]
        except UserError as error:
            self.lines += [_placed(where, line) for line in str(error).splitlines()]
        return None


def _placed(where: str, line: str) -> str:
    """Return a line with its place in front, of which it may name the last key itself."""
    last = where.rpartition(".")[2]
    if line.startswith(last) and line[len(last) : len(last) + 1] in (":", ".", "["):
        return where + line.removeprefix(last)
    return f"{where}: {line}"
