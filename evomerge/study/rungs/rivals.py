"""Whether a candidate is proven to be worse than a member of the front, in every objective."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evomerge.pareto import non_dominated
from evomerge.study.rungs.climber import Climber
from evomerge.study.rungs.ladder import Ladder
from evomerge.study.rungs.racing import log_threshold, log_wealth
from evomerge.types import Objective


def is_beaten(
    climber: Climber,
    rivals: Sequence[Climber],
    objectives: Sequence[Objective],
    ladder: Ladder,
    error_rate: float,
) -> bool:
    """Say whether a candidate is proven to be worse than one of the rivals' front.

    Args:
        climber: the candidate.
        rivals: those that were scored on all items; their front counts.
        objectives: in order, with bounds where there are items.
        ladder: the order of the items.
        error_rate: see `racing.log_threshold`; it is divided among the front and the looks.
    """
    if not rivals:
        return False
    costs = np.array([one.costs[ladder.top] for one in rivals])
    front = non_dominated(costs, dedupe=True)
    needed = log_threshold(error_rate, len(front) * ladder.top)
    return any(_is_worse(climber, rivals[row], objectives, ladder, needed) for row in front)


def _is_worse(
    climber: Climber,
    rival: Climber,
    objectives: Sequence[Objective],
    ladder: Ladder,
    needed: float,
) -> bool:
    for objective in objectives:
        name = objective.name
        if name not in ladder.order:
            own, other = (objective.cost(one.outcome.metrics[name]) for one in (climber, rival))
            if own <= other:
                return False
            continue
        low, high = objective.bounds
        if low is None or high is None:
            raise RuntimeError(f"objective '{name}' has no bounds to race by")
        own_scores = climber.scores[name]
        worse = objective.cost(1.0) * (own_scores - rival.scores[name][: len(own_scores)])
        if log_wealth(worse, len(ladder.order[name]), high - low) < needed:
            return False
    return True
