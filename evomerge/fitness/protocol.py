"""What a fitness is given and what it may return.

The smallest fitness is a function of one argument:

    def brevity(model):
        return -sum(len(text) for text in model.generate(["Say hello."]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from evomerge.types import FitnessResult

Item: TypeAlias = Mapping[str, Any]
"""One evaluation example: 'id' (unique in its file) and the fields its fitness reads."""

Score: TypeAlias = float | Mapping[str, float] | FitnessResult


class Fitness(Protocol):
    """Scores a merged model; a plain function is one.

    Beside `model` (see `evomerge.fitness.model.MergedModel`), parameters are bound by name from
    the objective's `args`. A class is built once per worker with those arguments, then called.
    """

    def __call__(self, model: Any) -> Score:
        """Return one score, a mapping of metrics, or a FitnessResult with per-example scores."""
        ...


Items: TypeAlias = Sequence[Item]
