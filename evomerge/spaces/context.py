"""What a search space is built for: the models of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evomerge.errors import SpaceError
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.layout import Layout, ParameterCounts
from evomerge.recipe.model import DType, ModelRef, Node

if TYPE_CHECKING:
    from evomerge.spaces.populations.protocol import InnerProductsOf


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
        parameters: what the models of the study store; a limit on parameters needs it.
        shape: tensor shapes of the base; populations need it.
        inner_products: opens the models' inner products; breeding by SLERP needs it.
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
    parameters: Mapping[ModelRef, ParameterCounts] = field(default_factory=dict)
    shape: TensorShapes | None = None
    inner_products: InnerProductsOf | None = None

    def __post_init__(self) -> None:
        if not self.donors:
            raise SpaceError("models.donors: a search space needs at least one donor")

    def depth(self, donor: str) -> int:
        """Return how many layers a donor has."""
        return self.depths.get(donor, self.layout.n_layers)

    def counts(self, node: Node) -> ParameterCounts | None:
        """Return what a model, or the result of a recipe, stores; None if a model is not known."""
        if isinstance(node, ModelRef):
            return self.parameters.get(node)
        models = [source.model for source in node.models or ()]
        if node.path is not None:
            first, steps = models[0], [(models[hop.model], hop.layer) for hop in node.path.hops]
        elif node.slices is None:
            return self.counts(node.base_model or models[0])
        else:
            runs = [run.sources[0] for run in node.slices]
            first = node.base_model or runs[0].model
            steps = [(run.model, layer) for run in runs for layer in range(*run.layer_range or ())]
        lender = self.counts(first)
        owners = [self.counts(model) for model, _ in steps]
        known = [owner for owner in owners if owner is not None]
        if lender is None or len(known) < len(steps):
            return None
        layers = (owner.layers[layer] for owner, (_, layer) in zip(known, steps, strict=True))
        return ParameterCounts(tuple(layers), lender.outside)
