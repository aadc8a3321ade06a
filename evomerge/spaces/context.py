"""What a search space is built for: the models of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evomerge.errors import SpaceError
from evomerge.recipe.layout import Layout
from evomerge.recipe.model import DType, ModelRef, Node


@dataclass(frozen=True, slots=True)
class SpaceContext:
    """The models a space recombines.

    Attributes:
        base: origin of the task vectors.
        donors: name to model, adapter or, in a later stage of a study, recipe; their order is
            the order of the genes.
        layout: tensor names of the base; donors that are merged share it, donors of a layer path
            share all but the number of layers.
        depths: number of layers by donor, where it is not the layout's.
        dtype: of the merged model; None leaves it open.
        seed: of the random draws inside each merge.

    Raises:
        SpaceError: there is no donor.
    """

    base: ModelRef
    donors: Mapping[str, Node]
    layout: Layout
    dtype: DType | None = None
    seed: int = 0
    depths: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.donors:
            raise SpaceError("models.donors: a search space needs at least one donor")

    def depth(self, donor: str) -> int:
        """Return how many layers a donor has."""
        return self.depths.get(donor, self.layout.n_layers)
