"""What a search space is built for: the models of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.errors import SpaceError
from evomerge.recipe.layout import Layout
from evomerge.recipe.model import DType, ModelRef


@dataclass(frozen=True, slots=True)
class SpaceContext:
    """The models a space recombines.

    Attributes:
        base: origin of the task vectors.
        donors: name to model or adapter; their order is the order of the genes.
        layout: tensor names of the base, which every donor shares.
        dtype: of the merged model; None leaves it open.
        seed: of the random draws inside each merge.

    Raises:
        SpaceError: there is no donor.
    """

    base: ModelRef
    donors: Mapping[str, ModelRef]
    layout: Layout
    dtype: DType | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.donors:
            raise SpaceError("models.donors: a search space needs at least one donor")
