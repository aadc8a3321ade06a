"""How much of the best trial's score is luck, from the per-example scores of a run.

The estimate is that of `evomerge.pareto.optimism`, over the trials that might have won: it counts
the pick among the trials that were made, not that later trials were proposed by earlier scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.pareto import optimism_of_best
from evomerge.report.estimates import seed_of
from evomerge.report.front import Luck
from evomerge.report.scored import Examples, ScoredModels
from evomerge.study.records import trial_id
from evomerge.types import Objective, Split, Trial

_Table: TypeAlias = tuple[tuple[str, ...], NDArray[np.float64]]  # ids, (n_trials, n_items)

CONTENDERS = 100
"""The best so many trials are read; who is below them practically never wins a resample."""


def luck_of_best(
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    scored: ScoredModels,
    split: Split,
    seed: int,
) -> Luck:
    """Estimate the luck of the best trials.

    Args:
        objectives: of the study.
        trials: completed ones that were scored on the same items, at least one.
        scored: where their per-example scores are.
        split: the items the front is picked on.
        seed: of the study.
    """
    costs = np.array([trial.costs for trial in trials], dtype=np.float64)
    scores = _Scores(scored, split)
    found: dict[str, float] = {}
    for column, objective in enumerate(objectives):
        best = _best(trials, costs[:, column])
        table = scores.table(objective, column, best)
        if table is not None:
            found[objective.name] = _optimism([table], seed)
    mean = None
    if len(found) == len(objectives) > 1:
        best = _best(trials, costs.mean(axis=1))
        tables = [scores.table(one, column, best) for column, one in enumerate(objectives)]
        if all(tables):
            mean = _optimism([table for table in tables if table], seed)
    return Luck(len(trials), found, mean)


def _best(trials: Sequence[Trial], costs: NDArray[np.float64]) -> list[Trial]:
    return [trials[index] for index in np.argsort(costs, kind="stable")[:CONTENDERS]]


class _Scores:
    """Per-example scores, each file read once."""

    def __init__(self, scored: ScoredModels, split: Split) -> None:
        self._scored = scored
        self._split = split
        self._read: dict[int, Examples] = {}

    def table(self, objective: Objective, column: int, trials: Sequence[Trial]) -> _Table | None:
        """Return the scores of trials, larger is better.

        None where the items differ, are fewer than two, or do not have the score as their mean.
        """
        rows = [self._examples(trial.number).get(objective.name, {}) for trial in trials]
        ids = tuple(sorted(rows[0]))
        if len(ids) < 2 or any(set(row) != set(ids) for row in rows):
            return None
        scores = np.array([[-objective.cost(row[id_]) for id_ in ids] for row in rows])
        means = [-trial.costs[column] for trial in trials if trial.costs is not None]
        if not np.allclose(scores.mean(axis=1), means, rtol=1e-6, atol=1e-9):
            return None
        return ids, scores

    def _examples(self, number: int) -> Examples:
        if number not in self._read:
            self._read[number] = self._scored.examples(trial_id(number), self._split)
        return self._read[number]


def _optimism(tables: Sequence[_Table], seed: int) -> float:
    """Return the luck of the best mean over objectives; those with one set of items are one group.

    Groups weigh alike, so that each is scaled by its share of the objectives.
    """
    groups: dict[tuple[str, ...], NDArray[np.float64]] = {}
    for ids, scores in tables:
        groups[ids] = scores + groups[ids] if ids in groups else scores
    share = len(groups) / len(tables)
    items = tuple(id_ for ids in groups for id_ in ids)
    return optimism_of_best([share * one for one in groups.values()], seed_of(seed, items))
