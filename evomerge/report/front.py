"""The front and its baselines as plain values: what every table, plot and file is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, TypeAlias

from evomerge.recipe.model import Recipe
from evomerge.study.picks import for_holdout
from evomerge.types import Objective, Split

RowKind: TypeAlias = Literal["front", "baseline"]

_HALF_WIDTH = NormalDist().inv_cdf(0.975)

BASE = "base"
"""Name of the row that holds the base model; anchor 0."""

DONOR_PREFIX = "donor:"
"""What the names of donor rows start with; the best of them per objective is anchor 1."""


@dataclass(frozen=True, slots=True)
class FrontRow:
    """One model: a member of the front, or a baseline.

    Attributes:
        name: unique in its front: 'trial 37', 'base', 'donor:sort', 'uniform', ...
        kind: a member of the front, or what it is compared with.
        trial: number of the trial that found it; None for a baseline.
        recipe: rebuilds the model.
        fingerprint: of the recipe.
        search: objective name to score on the items the front was picked on, see
            `Front.picked_on`; in the user's sign.
        before: objective name to score on the search items, or the batch of them, by which a
            member came to the validation items; empty where it was picked on search items, or
            scored on validation items at once.
        holdout: the same on hold-out items; None when it was not scored there.
        search_examples: objective name to {item id: score}, for objectives scored item by item.
        holdout_examples: the same on hold-out items.
        stage: name of the stage that found it; None in a study without stages.
        ancestry: the recipe of a population's individual with its whole lineage, which rebuilds
            the same model; None for other recipes.
        equals: of a member, the numbers of further trials with its score in every objective.
    """

    name: str
    kind: RowKind
    trial: int | None
    recipe: Recipe
    fingerprint: str
    search: Mapping[str, float]
    holdout: Mapping[str, float] | None = None
    search_examples: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    holdout_examples: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stage: str | None = None
    ancestry: Recipe | None = None
    before: Mapping[str, float] = field(default_factory=dict)
    equals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """A trial that stopped on a rung: scored on a part of the items, estimated on all; no result.

    Attributes:
        trial: its number.
        scores: objective name to estimate, in the user's sign.
        errors: objective name to its standard error; none of objectives that are no estimates.
    """

    trial: int
    scores: Mapping[str, float]
    errors: Mapping[str, float]

    def reach(self, objective: str) -> float:
        """Return half the width of the 95 % interval of an estimate."""
        return _HALF_WIDTH * self.errors.get(objective, 0.0)


@dataclass(frozen=True, slots=True)
class Luck:
    """By how much the best of all trials is expected to exceed its true score.

    Attributes:
        n_trials: how many the best was picked from.
        objectives: objective name to the luck of its best, in the objective's unit; objectives
            that are not scored item by item are left out.
        mean: the luck of the best mean over the objectives; None where one of them has none.
    """

    n_trials: int = 0
    objectives: Mapping[str, float] = field(default_factory=dict)
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class Front:
    """What a study found, and what it is compared with.

    Attributes:
        study: name of the study.
        objectives: in the order of the study file.
        rows: members of the front, all of them but who has the scores of another (see
            `FrontRow.equals`), and baselines, in any order; names are unique.
        seed: of the study; the bootstrap draws from it.
        n_trials: trials that were finished, failed ones included.
        n_failed: trials that failed.
        hypervolume: (trial number, hypervolume of the front so far on the items of
            `compared_on`), by trial, on the scale of `evomerge.pareto.anchors`; empty if unknown.
        picked_on: the items of the rows' `search` scores, by which the members were picked: the
            validation items where there are some and the search is over, else the search items.
        compared_on: the items on which trials compare: the search items, or in a study with
            batches of them the validation items.
        luck: how much of the best scores among all trials is luck.
        warnings: what a reader must know of how it was found, as the journal has it.
        stopped: trials that stopped on a rung, by number; they are shown and are no candidates
            for the front.
        holdout_size: at most so many of the members, that stand for all, were to be scored on
            hold-out items, `front.size` of the study; None where nobody limits it.

    Raises:
        ValueError: names or trials repeat, a member has no trial, or a row lacks the score of an
            objective.
    """

    study: str
    objectives: tuple[Objective, ...]
    rows: tuple[FrontRow, ...]
    seed: int
    n_trials: int
    n_failed: int
    hypervolume: tuple[tuple[int, float], ...] = ()
    picked_on: Split = "search"
    compared_on: Split = "search"
    luck: Luck = Luck()
    warnings: tuple[str, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    holdout_size: int | None = None

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("a front needs at least one objective")
        seen: set[str] = set()
        for row in self.rows:
            if row.name in seen:
                raise ValueError(f"two rows are named '{row.name}'")
            seen.add(row.name)
            if row.kind == "front" and row.trial is None:
                raise ValueError(f"'{row.name}' is on the front and has no trial number")
            for objective in self.objectives:
                for split, scores in ((self.picked_on, row.search), ("hold-out", row.holdout)):
                    if scores is not None and objective.name not in scores:
                        raise ValueError(f"{row.name} has no {split} score of '{objective.name}'")
        trials = [row.trial for row in self.members]
        if len(set(trials)) < len(trials):
            raise ValueError(f"a trial is on the front twice: {trials}")

    @property
    def has_stages(self) -> bool:
        """Say whether the study had stages."""
        return any(row.stage is not None for row in self.rows)

    @property
    def members(self) -> tuple[FrontRow, ...]:
        """The rows of the front, in order."""
        return tuple(row for row in self.rows if row.kind == "front")

    @property
    def to_hold_out(self) -> tuple[FrontRow, ...]:
        """The members that are to be scored on hold-out items: all, or those that stand for all."""
        members = sorted(self.members, key=lambda row: row.trial or 0)
        if self.holdout_size is None:
            return tuple(members)
        scores = [row.search for row in members]
        chosen = for_holdout(scores, self.objectives, self.holdout_size)
        return tuple(members[index] for index in chosen)

    @property
    def n_held(self) -> int:
        """How many members were scored on hold-out items."""
        return sum(row.holdout is not None for row in self.members)

    @property
    def held_words(self) -> str:
        """How many of the members have hold-out scores where the study leaves some out; else ''."""
        size = self.holdout_size
        if not self.n_held or size is None or len(self.members) <= size:
            return ""
        return f"{self.n_held} of them scored on hold-out items (front.size: {size})"

    @property
    def baselines(self) -> tuple[FrontRow, ...]:
        """The rows the front is compared with, in order."""
        return tuple(row for row in self.rows if row.kind == "baseline")
