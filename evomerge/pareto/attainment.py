"""What several runs reach, and after how many evaluations.

A run attains a cost vector once it has found a point that is nowhere worse. The share of runs
that attain it is the empirical attainment function (Fonseca & Fleming, 1996; Grunert da Fonseca,
Fonseca & Hall, 2001), the multi-objective counterpart of a distribution of best costs. A run is
given as the costs of its evaluations in their order, minimised, (n_evaluations, n_objectives); a
failed evaluation is a row of inf. Runs that end before they reach a target are censored: their
time to it is not known, only that it exceeds their budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto.dominance import cost_matrix


def evaluations_to_attain(costs: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
    """Return after how many evaluations a run attains each goal; inf where it never does.

    Args:
        costs: one run, (n_evaluations, n_objectives).
        goals: cost vectors, (n_goals, n_objectives).

    Returns:
        (n_goals,), counted from 1.

    Raises:
        ValueError: shapes differ, or a value is NaN or a goal not finite.
    """
    return _evaluations_to_attain(_run(costs), cost_matrix(goals))


def attainment(
    runs: Sequence[ArrayLike], goals: ArrayLike, evaluations: int | None = None
) -> NDArray[np.float64]:
    """Return the empirical attainment function: the share of runs that attain each goal.

    Args:
        runs: at least one, each (n_evaluations of the run, n_objectives).
        goals: cost vectors, (n_goals, n_objectives).
        evaluations: how many of each run count, all by default; a shorter run counts as it ended.

    Returns:
        (n_goals,), between 0 and 1.

    Raises:
        ValueError: no run, shapes differ, or a value is NaN or a goal not finite.
    """
    matrices, wanted = _runs(runs), cost_matrix(goals)
    limit = math.inf if evaluations is None else evaluations
    times = np.array([_evaluations_to_attain(run, wanted) for run in matrices])
    return np.asarray((np.isfinite(times) & (times <= limit)).mean(axis=0))


def attainment_surface(runs: Sequence[ArrayLike], share: float = 0.5) -> NDArray[np.float64]:
    """Return the corners of what a share of the runs attain, for two objectives.

    The summary attainment surface (Fonseca & Fleming, 1996; López-Ibáñez, Paquete & Stützle,
    2010): the front of all cost vectors that at least this share of the runs attain. 0.5 is the
    median front, 1 what every run attains, 1 / n_runs what the best do. Cut the runs to their
    first evaluations for the surface at that time.

    Args:
        runs: at least one, each (n_evaluations of the run, 2).
        share: of the runs, in (0, 1].

    Returns:
        (n_corners, 2), by rising first and falling second cost; empty where fewer runs than that
        found anything.

    Raises:
        ValueError: no run, other than two objectives, a value is NaN, or `share` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    matrices = _runs(runs)
    if matrices[0].shape[1] != 2:
        raise ValueError(f"a surface has two objectives, got {matrices[0].shape[1]}")
    found = [run[np.isfinite(run).all(axis=1)] for run in matrices]
    firsts = np.unique(np.concatenate([run[:, 0] for run in found]))
    # The lowest second cost of each run where the first is at most that; inf where there is none.
    lowest = np.full((len(found), len(firsts)), np.inf)
    for own, run in zip(lowest, found, strict=True):
        ordered = run[np.argsort(run[:, 0], kind="stable")]
        best = np.concatenate([[np.inf], np.minimum.accumulate(ordered[:, 1])])
        own[:] = best[np.searchsorted(ordered[:, 0], firsts, side="right")]
    # 0.3 × 10 is a little more than 3 in floating point and still three runs.
    n_needed = max(1, math.ceil(share * len(found) - 1e-9))
    seconds = np.sort(lowest, axis=0)[n_needed - 1]
    falls = seconds < np.concatenate([[np.inf], seconds[:-1]])
    return np.column_stack([firsts[falls], seconds[falls]])


def evaluations_to_reach(running: ArrayLike, target: float) -> int | None:
    """Return after how many evaluations a run's indicator first is at least `target`.

    Args:
        running: the indicator after 1, 2, ... evaluations, larger is better, (n_evaluations,);
            see `evomerge.pareto.running_hypervolume`.
        target: say 95 % of the hypervolume of a reference front.

    Returns:
        A number counted from 1, or None: the run ended first (it is censored).

    Raises:
        ValueError: `running` is not one-dimensional, or a value is NaN.
    """
    values = np.asarray(running, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any() or math.isnan(target):
        raise ValueError(f"running must be numbers (n_evaluations,), got shape {values.shape}")
    reached = np.flatnonzero(values >= target)
    return int(reached[0]) + 1 if len(reached) else None


def share_reached(evaluations: Sequence[int | None], budgets: Sequence[int]) -> NDArray[np.float64]:
    """Return the estimated share of runs that have reached a target by each evaluation.

    Kaplan & Meier's product-limit estimate (1958): with equal budgets the plain share, otherwise
    runs that ended early are counted as long as they ran, not as if they never reached it. The
    median is the first evaluation at which it is 0.5 or more.

    Args:
        evaluations: what `evaluations_to_reach` says of each run.
        budgets: how many evaluations each run had, at least those it needed.

    Returns:
        (largest budget,): after 1, 2, ... evaluations; NaN where all runs left have ended.

    Raises:
        ValueError: no run, unequal lengths, or a number is below 1 or above its run's budget.
    """
    times, limits = _times(evaluations, budgets)
    ends = np.minimum(times, limits)
    remaining = 1.0
    result = np.empty(int(limits.max()))
    for index in range(len(result)):
        at_risk = int((ends > index).sum())
        reached = int((times == index + 1).sum())
        if not at_risk and remaining > 0:
            remaining = math.nan
        elif at_risk:
            remaining *= 1.0 - reached / at_risk
        result[index] = 1.0 - remaining
    return result


def expected_evaluations(evaluations: Sequence[int | None], budgets: Sequence[int]) -> float:
    """Return the expected number of evaluations to a target when failing runs are restarted.

    All evaluations spent until the target or the end of a run, over the number of runs that
    reached it (Auger & Hansen, 2005; the runtime of COCO, Hansen et al., 2021); inf where none did.

    Args:
        evaluations: what `evaluations_to_reach` says of each run.
        budgets: how many evaluations each run had, at least those it needed.

    Raises:
        ValueError: as `share_reached`.
    """
    times, limits = _times(evaluations, budgets)
    n_reached = int(np.isfinite(times).sum())
    return float(np.minimum(times, limits).sum()) / n_reached if n_reached else math.inf


def _evaluations_to_attain(
    run: NDArray[np.float64], goals: NDArray[np.float64]
) -> NDArray[np.float64]:
    if run.shape[1] != goals.shape[1]:
        raise ValueError(f"runs have {run.shape[1]} objectives, goals have {goals.shape[1]}")
    times = np.full(len(goals), np.inf)
    left = np.arange(len(goals))
    for index, row in enumerate(run):  # a row at a time, to need no third dimension
        attained = (row <= goals[left]).all(axis=1)
        times[left[attained]] = index + 1
        left = left[~attained]
    return times


def _runs(runs: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    matrices = [_run(run) for run in runs]
    if not matrices:
        raise ValueError("at least one run is needed")
    if len({run.shape[1] for run in matrices}) > 1:
        raise ValueError(f"runs have {[run.shape[1] for run in matrices]} objectives")
    return matrices


def _run(costs: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(costs, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(f"a run has shape (n_evaluations, n_objectives), got {matrix.shape}")
    if np.isnan(matrix).any() or np.isneginf(matrix).any():
        raise ValueError("costs of a run must be finite, or inf where an evaluation failed")
    return matrix


def _times(
    evaluations: Sequence[int | None], budgets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(evaluations) != len(budgets) or not len(budgets):
        raise ValueError(f"{len(evaluations)} runs need as many budgets, got {len(budgets)}")
    times = np.array([math.inf if one is None else one for one in evaluations], dtype=np.float64)
    limits = np.array(budgets, dtype=np.float64)
    if (limits < 1).any() or (times < 1).any() or (np.isfinite(times) & (times > limits)).any():
        raise ValueError("evaluations must lie between 1 and the budget of their run")
    return times, limits
