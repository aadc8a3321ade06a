"""The winner's curse of a run: what the best trials scored when picked, and what on hold-out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evomerge.report.front import Front
from evomerge.types import Objective


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """The best member in one objective, or in the mean over all, scored twice.

    Attributes:
        objective: its name; None for the mean over the objectives.
        winner: name of the member with the best score on the items of `Front.picked_on`.
        picked: that score.
        before: its score on the search items by which it came to the validation items; None where
            it was picked on search items, or scored on validation items at once.
        holdout: its score on hold-out items.
        shrinkage: by how much the second is worse, in the objective's unit; negative where it is
            better.
        luck: by how much a best score is expected to exceed its model's true score, see
            `evomerge.report.luck`; None where the objective is not scored item by item. The rest
            of the shrinkage is that the hold-out items are others.
    """

    objective: str | None
    winner: str
    picked: float
    holdout: float
    shrinkage: float
    luck: float | None
    before: float | None = None


def shrinkages(front: Front, *, with_mean: bool) -> tuple[Shrinkage, ...]:
    """Return the shrinkage in every objective, then in the mean; of winners with both scores.

    Args:
        front: members with their scores.
        with_mean: a mean over the objectives means something.
    """
    luck = front.luck
    found = [
        _shrinkage(front, one.name, [one], luck.objectives.get(one.name))
        for one in front.objectives
    ]
    if with_mean:
        found.append(_shrinkage(front, None, front.objectives, luck.mean))
    return tuple(one for one in found if one is not None)


def _shrinkage(
    front: Front, name: str | None, objectives: Sequence[Objective], luck: float | None
) -> Shrinkage | None:
    def score(scores: Mapping[str, float]) -> float:
        return math.fsum(scores[one.name] for one in objectives) / len(objectives)

    goal = objectives[0]  # where there are several, all are maximised
    # of equals one with both scores
    winner = min(
        front.members, key=lambda row: (goal.cost(score(row.search)), not row.holdout), default=None
    )
    if winner is None or winner.holdout is None:
        return None
    picked, holdout = score(winner.search), score(winner.holdout)
    lost = goal.cost(holdout) - goal.cost(picked)
    before = score(winner.before) if winner.before else None
    return Shrinkage(name, winner.name, picked, holdout, lost, luck, before)


def shrinkage_line(front: Front, found: Sequence[Shrinkage]) -> str:
    """Return one line about all of them; '' where there are none."""
    if not found:
        return ""
    chain = f"best of {front.luck.n_trials} by {front.picked_on}, then hold-out"
    searched = any(one.before is not None for one in found)
    if searched:
        chain = f"search, {chain}"
    parts = []
    for one in found:
        known = [one.before, one.picked, one.holdout] if searched else [one.picked, one.holdout]
        scores = " → ".join("-" if score is None else f"{score:.3f}" for score in known)
        luck = "" if one.luck is None else f" (luck {one.luck:.3f})"
        parts.append(f"{one.objective or 'mean'} {scores}{luck}")
    return f"{chain}: {'; '.join(parts)}"
