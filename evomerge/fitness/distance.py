"""Free objectives: how far a merge is from its base. They need no data and no forward pass."""

from __future__ import annotations

from typing import ClassVar

from evomerge.errors import FitnessError
from evomerge.fitness.model import MergedModel
from evomerge.types import Bounds, Goal


class L1Distance:
    """Sum of absolute differences from the base.

    Args:
        relative: divide by the sum of the base's absolute weights.
    """

    goal: ClassVar[Goal] = "minimize"
    bounds: ClassVar[Bounds] = (0.0, None)
    metric: ClassVar[str] = "l1_distance"
    needs_items: ClassVar[bool] = False

    def __init__(self, relative: bool = True) -> None:
        self._relative = relative

    def __call__(self, model: MergedModel) -> dict[str, float]:
        """Return {'l1_distance': distance}."""
        delta = model.delta()
        scale = _norm(delta.base_l1) if self._relative else 1.0
        return {"l1_distance": delta.l1 / scale}


class L2Distance:
    """Euclidean distance from the base.

    Args:
        relative: divide by the Euclidean norm of the base.
    """

    goal: ClassVar[Goal] = "minimize"
    bounds: ClassVar[Bounds] = (0.0, None)
    metric: ClassVar[str] = "l2_distance"
    needs_items: ClassVar[bool] = False

    def __init__(self, relative: bool = True) -> None:
        self._relative = relative

    def __call__(self, model: MergedModel) -> dict[str, float]:
        """Return {'l2_distance': distance}."""
        delta = model.delta()
        scale = _norm(delta.base_l2) if self._relative else 1.0
        return {"l2_distance": delta.l2 / scale}


class DeltaSparsity:
    """Share of weights that equal the base's."""

    goal: ClassVar[Goal] = "maximize"
    bounds: ClassVar[Bounds] = (0.0, 1.0)
    metric: ClassVar[str] = "delta_sparsity"
    needs_items: ClassVar[bool] = False

    def __call__(self, model: MergedModel) -> dict[str, float]:
        """Return {'delta_sparsity': share}."""
        delta = model.delta()
        if not delta.elements:
            raise FitnessError("delta_sparsity: the merge shares no tensor with its base")
        return {"delta_sparsity": delta.zeros / delta.elements}


def _norm(value: float) -> float:
    if not value:
        raise FitnessError(
            "a distance relative to the base needs a base whose weights are not all 0; "
            "set relative: false"
        )
    return value
