"""The optimizer of a stage, as its study file describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evomerge.errors import ConfigError
from evomerge.optimizers import OPTIMIZERS, Combination, Needs, Optimizer, build_optimizer
from evomerge.spaces import Space
from evomerge.study.config import ScalarizeConfig, StageConfig
from evomerge.types import Objective


def stage_optimizer(
    stage: StageConfig,
    space: Space,
    seed: int,
    objectives: Sequence[Objective],
    folder: Path,
    *,
    expected: int | None = None,
    doubt: float = 1.0,
) -> Optimizer:
    """Build a stage's optimizer, scalarised where the study says so.

    Args:
        stage: whose `search` and number of trials count.
        space: what it searches.
        seed: of the optimizer.
        objectives: in order.
        folder: where relative plug-in files start.
        expected: about how many trials a budget of items pays for.
        doubt: by what a model should multiply the standard errors of estimates.

    Raises:
        UserError: it is unknown, or does not fit the space or the objectives.
        ConfigError: `scalarize` fits neither it nor the objectives.
    """
    search, count = stage.search, len(objectives)
    needs = getattr(OPTIMIZERS.load(search.optimizer, folder), "needs", None)
    combination = None
    if search.scalarize is not None:
        if isinstance(needs, Needs) and needs.objectives in ("many", "two"):
            why = f"'{search.optimizer}' takes the objectives one by one"
            raise ConfigError([f"scalarize: {why}; remove the key"])
        if count == 1:
            raise ConfigError(["scalarize: there is only one objective; remove the key"])
        combination = _combination(search.scalarize, objectives)
    return build_optimizer(
        search.optimizer,
        space.domain,
        count,
        seed,
        search.arguments,
        folder,
        objectives=objectives,
        budget=stage.trials,
        expected=expected,
        combination=combination,
        doubt=doubt,
    )


def _combination(scalarize: ScalarizeConfig, objectives: Sequence[Objective]) -> Combination:
    weights, anchors = scalarize.weights, scalarize.anchors
    return Combination.of(
        len(objectives),
        scalarize.method,
        [weights[one.name] for one in objectives] if weights else None,
        [_in_order(one, anchors[one.name]) for one in objectives] if anchors else None,
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
