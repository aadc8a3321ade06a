"""When a finite domain has nothing left to propose: a merge gives the same costs again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TRIES = 100
"""Matings, and then draws, before a domain counts as exhausted; pymoo's own limit of matings."""


def drawn_anew(draw: Callable[[], T], is_new: Callable[[T], bool]) -> T | None:
    """Return the first of so many draws that was not proposed before, or None if all were."""
    return next(filter(is_new, (draw() for _ in range(TRIES))), None)


def exhausted(name: str) -> str:
    """Return why an optimizer stops that finds nothing new."""
    return f"{name}: finds no genotype that was not proposed before"
