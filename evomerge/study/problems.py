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
            self.lines += [f"{where}: {problem}" for problem in error.problems]
        except UserError as error:
            self.lines.append(f"{where}: {error}")
        return None
