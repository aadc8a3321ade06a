"""Choosing from finished trials: the front, and what a later stage takes; pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import knee, non_dominated, thin
from evomerge.study.config import PickConfig
from evomerge.types import Completed, Genotype, Objective, Outcome, Trial

Combine: TypeAlias = Callable[[Sequence[float]], float]
"""Costs of a trial to the one cost its stage minimised."""


def choose(trials: Sequence[Trial], pick: PickConfig, combine: Combine | None) -> list[Trial]:
    """Return the trials a later stage takes, in trial order; none when none is completed.

    The order in which the trials finished makes no difference, and of equals the earliest is
    taken.

    Args:
        trials: the finished trials of the stage that is taken from.
        pick: which of them, see `PickConfig`.
        combine: the scalar cost the stage minimised; None where it minimised none.
    """
    if pick.pick == "front":
        return front_trials(trials, pick.count or 1)
    completed, costs = _completed(trials)
    if not completed:
        return []
    if pick.pick == "knee":
        front = non_dominated(costs, dedupe=True)
        return [completed[front[knee(costs[front])]]]
    if combine is not None:
        return [min(completed, key=lambda trial: combine(trial.costs or ()))]
    return [completed[lowest_mean(costs)]]


def front_trials(trials: Sequence[Trial], size: int | None = None) -> list[Trial]:
    """Return the non-dominated trials in trial order; of equal costs the earliest.

    Args:
        trials: finished trials whose costs compare.
        size: at most so many, that stand for all; all by default. The trial of the lowest mean
            cost stays in any case: it is what a user of one number takes.
    """
    completed, costs = _completed(trials)
    if not completed:
        return []
    indices = non_dominated(costs, dedupe=True)
    if size is not None:
        indices = indices[stand_for_all(costs[indices], size)]
    return [completed[index] for index in sorted(int(index) for index in indices)]


def hold_out_trials(
    trials: Sequence[Trial], objectives: Sequence[Objective], size: int
) -> list[Trial]:
    """Return the members of a front that are scored on hold-out items, see `for_holdout`."""
    front = front_trials(trials)
    scores = [one.outcome.metrics for one in front if isinstance(one.outcome, Completed)]
    return [front[index] for index in for_holdout(scores, objectives, size)]


def for_holdout(
    scores: Sequence[Mapping[str, float]], objectives: Sequence[Objective], size: int
) -> NDArray[np.intp]:
    """Return which members of a front are scored on hold-out items, at most `size`.

    Args:
        scores: of the members, by which they were picked, in trial order.
        objectives: of the study.
        size: how many; all, if there are no more.
    """
    costs = [[one.cost(row[one.name]) for one in objectives] for row in scores]
    plain = share_a_unit(objectives, scores)
    return stand_for_all(np.array(costs).reshape(-1, len(objectives)), size, plain=plain)


def stand_for_all(
    costs: NDArray[np.float64], size: int, *, plain: bool = False
) -> NDArray[np.intp]:
    """Return at most `size` rows of a front that stand for all, the lowest mean one of them.

    Args:
        costs: non-dominated, (n_members, n_objectives).
        size: how many; all, if there are no more.
        plain: the mean is that of the costs as they are, see `share_a_unit`, and not of each
            scaled to its range.
    """
    if len(costs) <= size:
        return np.arange(len(costs))
    # summed as reports do, to the last bit: a tie may be broken otherwise
    sums = [math.fsum(row) for row in costs] if plain else []
    best = sums.index(min(sums)) if plain else lowest_mean(costs)
    others = np.delete(np.arange(len(costs)), best)
    kept = others[thin(costs[others], size - 1)] if size > 1 else others[:0]
    return np.sort(np.append(kept, best))


def share_a_unit(objectives: Sequence[Objective], scores: Iterable[Mapping[str, float]]) -> bool:
    """Say whether a mean over objectives means something.

    A unit is not declared, so the rule is strict: every objective is maximised and every score
    lies in [0, 1], as accuracies and other shares do.
    """
    return (
        len(objectives) > 1
        and all(one.goal == "maximize" for one in objectives)
        and all(0.0 <= row[one.name] <= 1.0 for row in scores for one in objectives)
    )


def best_of(trials: Sequence[Trial], count: int, combine: Combine | None) -> list[Trial]:
    """Return the best trials, at most `count`, in trial order; of equal genotypes the earliest.

    Args:
        trials: finished trials whose costs compare.
        count: how many.
        combine: several costs to the one that counts; without it the best of several objectives
            are the non-dominated ones, then those that only these dominate, and so on.
    """
    first: dict[Genotype, Trial] = {}
    for trial in _completed(trials)[0]:
        first.setdefault(trial.genotype, trial)
    distinct = list(first.values())
    if combine is None and distinct and len(distinct[0].costs or ()) > 1:
        return _outermost(distinct, count)

    def cost(trial: Trial) -> float:
        costs = trial.costs or ()
        return costs[0] if combine is None else combine(costs)

    best = sorted(distinct, key=cost)[:count]  # stable: the earlier of equals
    return sorted(best, key=lambda trial: trial.number)


def _outermost(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return trials front by front, the last one thinned, in trial order."""
    found: list[Trial] = []
    left = list(trials)
    while left and len(found) < count:
        layer = front_trials(left, count - len(found))
        found += layer
        taken = {trial.number for trial in layer}
        left = [trial for trial in left if trial.number not in taken]
    return sorted(found, key=lambda trial: trial.number)


def costs_of(outcome: Outcome, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Return the minimised costs of an outcome; None when it failed."""
    if not isinstance(outcome, Completed):
        return None
    return tuple(objective.cost(outcome.metrics[objective.name]) for objective in objectives)


def trial_of(
    number: int, genotype: Genotype, outcome: Outcome, objectives: Sequence[Objective]
) -> Trial:
    """Return a trial with its costs and, where they are estimates, their standard errors."""
    estimated = isinstance(outcome, Completed) and bool(outcome.errors)
    errors = outcome.errors if isinstance(outcome, Completed) else {}
    return Trial(
        number,
        genotype,
        outcome,
        costs_of(outcome, objectives),
        tuple(errors.get(one.name, 0.0) for one in objectives) if estimated else (),
    )


def lowest_mean(costs: NDArray[np.float64]) -> int:
    """Return the row of the lowest mean cost, each objective scaled to its range."""
    spread = np.ptp(costs, axis=0)
    scaled = (costs - costs.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    return int(np.argmin(scaled.mean(axis=1)))


def _completed(trials: Sequence[Trial]) -> tuple[list[Trial], NDArray[np.float64]]:
    """Return the completed trials in trial order, and their costs."""
    completed = sorted(
        (trial for trial in trials if trial.costs is not None), key=lambda trial: trial.number
    )
    return completed, np.array([trial.costs for trial in completed], dtype=np.float64)
