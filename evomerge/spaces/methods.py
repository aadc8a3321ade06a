"""What merge methods ask of a search space: their inputs, their parameters, their known points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from evomerge.recipe.vocabulary import METHODS

BaseRole: TypeAlias = Literal["origin", "input", "unused"]
Family: TypeAlias = Literal["additive", "convex", "pair", "swap", "other"]
"""additive: base + weighted task vectors; convex: a weighted mean; pair: slerp's t between two
inputs; swap: nearswap's t from the base; other: no parameter gives back an input."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a method is used in a search space.

    Attributes:
        family: which known points it has.
        base: roles the study's base can have, the default first.
        n_donors: fewest and most; None for any number.
    """

    family: Family
    base: tuple[BaseRole, ...] = ("origin",)
    n_donors: tuple[int, int | None] = (1, None)


_SHAPES: Mapping[str, Shape] = {
    "arcee_fusion": Shape("other", n_donors=(1, 1)),
    "karcher": Shape("other", ("unused", "input")),
    "linear": Shape("convex", ("unused", "input")),
    "model_stock": Shape("other", n_donors=(2, None)),
    "multislerp": Shape("convex", ("unused", "origin")),
    "nearswap": Shape("swap", n_donors=(1, 1)),
    "nuslerp": Shape("convex", ("unused", "origin"), (2, 2)),
    "passthrough": Shape("other", ("unused",), (1, 1)),
    "slerp": Shape("pair", ("unused",), (2, 2)),
}
_ADDITIVE = frozenset(
    {
        "task_arithmetic",
        "ties",
        "dare_ties",
        "dare_linear",
        "breadcrumbs",
        "breadcrumbs_ties",
        "della",
        "della_linear",
    }
)
# Where a recipe says nothing, these are the values that leave a task vector as it is.
NEUTRAL: Mapping[str, float] = {"density": 1.0, "lambda": 1.0}


def shape_of(method: str) -> Shape:
    """Return how a method is used; one we do not know merges task vectors in its own way."""
    if method in _SHAPES:
        return _SHAPES[method]
    return Shape("additive" if method in _ADDITIVE else "other")


def takes_one_per_donor(method: str, parameter: str) -> bool | None:
    """Say whether a parameter has a value for each donor; None when the method is not known.

    Raises:
        KeyError: the method is known and has no such parameter.
    """
    words = METHODS.get(method)
    if words is None:
        return None
    if parameter not in words.all:
        raise KeyError(parameter)
    return parameter in words.per_input
