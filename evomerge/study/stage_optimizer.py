"""The optimizer of a stage, as its study file describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evomerge.errors import ConfigError
from evomerge.optimizers import OPTIMIZERS, Needs, Optimizer, Scalarised, build_optimizer
from evomerge.spaces import Space
from evomerge.study.config import StageConfig
from evomerge.types import Objective


def stage_optimizer(
    stage: StageConfig,
    space: Space,
    seed: int,
    objectives: Sequence[Objective],
    folder: Path,
    *,
    expected: int | None = None,
) -> Optimizer:
    """Build a stage's optimizer, scalarised where the study says so.

    Args:
        stage: whose `search` and number of trials count.
        space: what it searches.
        seed: of the optimizer.
        objectives: in order.
        folder: where relative plug-in files start.
        expected: about how many trials a budget of items pays for.

    Raises:
        UserError: it is unknown, or does not fit the space or the objectives.
        ConfigError: `scalarize` fits neither it nor the objectives.
    """
    search, count = stage.search, len(objectives)
    scalarize = search.scalarize
    needs = getattr(OPTIMIZERS.load(search.optimizer, folder), "needs", None)
    if scalarize is not None and isinstance(needs, Needs) and needs.objectives in ("many", "two"):
        raise ConfigError(
            [f"scalarize: '{search.optimizer}' takes the objectives one by one; remove the key"]
        )
    optimizer = build_optimizer(
        search.optimizer,
        space.domain,
        1 if scalarize else count,
        seed,
        search.arguments,
        folder,
        objectives=() if scalarize else objectives,
        budget=stage.trials,
        expected=expected,
    )
    if scalarize is None:
        return optimizer
    if count == 1:
        raise ConfigError(["scalarize: there is only one objective; remove the key"])
    names = [objective.name for objective in objectives]
    weights, anchors = scalarize.weights, scalarize.anchors
    return Scalarised(
        optimizer,
        count,
        method=scalarize.method,
        weights=[weights[name] for name in names] if weights else None,
        anchors=[_in_order(one, anchors[one.name]) for one in objectives] if anchors else None,
    )


def _in_order(objective: Objective, anchors: tuple[float, float]) -> tuple[float, float]:
    ideal, reference = anchors
    if objective.cost(ideal) >= objective.cost(reference):
        raise ConfigError(
            [
                f"scalarize.anchors.{objective.name}: [ideal, reference] of an objective to "
                f"{objective.goal}: {ideal:g} is not better than {reference:g}"
            ]
        )
    return anchors
