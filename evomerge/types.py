"""The values that travel between rooms: objectives, outcomes, trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Goal: TypeAlias = Literal["maximize", "minimize"]
Split: TypeAlias = Literal["search", "validation", "holdout"]
"""search: what candidates are proposed by; validation: what the best by search items
are compared on; holdout: what the result is reported on."""

GeneValue: TypeAlias = float | int | str
Genotype: TypeAlias = tuple[GeneValue, ...]
"""One value per gene of a space's domain, in the gene's own units and in its order."""

FailureKind: TypeAlias = Literal["invalid", "error", "lost", "timeout"]
"""invalid: the candidate itself is impossible (never retried); error: an exception while merging
or scoring; lost: the worker died; timeout: the worker was stopped. The last three are retried a
bounded number of times."""


Bounds: TypeAlias = tuple[float | None, float | None]
"""The least and the greatest value a metric can have; None where there is no limit, or none that is
known."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A named metric and the direction in which it improves.

    Attributes:
        name: of the metric.
        goal: whether larger or smaller is better.
        bounds: of the metric; models of it choose their scale by these.
        n_items: how many items a score is the mean of; None when that is not known.
    """

    name: str
    goal: Goal = "maximize"
    bounds: Bounds = (None, None)
    n_items: int | None = None

    def cost(self, metric: float) -> float:
        """Turn a metric into the minimised cost: the only place where a sign flips."""
        return -metric if self.goal == "maximize" else metric


@dataclass(frozen=True, slots=True)
class Completed:
    """A candidate that was merged and scored.

    Attributes:
        metrics: objective name to score, in the user's sign; always finite.
        examples: objective name to {item id: score}, for fitnesses that score item by item.
        notes: secondary metrics under '<objective>/<metric>', kept but never optimised.
        errors: objective name to the standard error of its metric, where that is an estimate from
            a part of the items.
    """

    metrics: Mapping[str, float]
    examples: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A candidate that could not be scored: a result like any other."""

    kind: FailureKind
    message: str
    traceback: str = ""


Outcome: TypeAlias = Completed | Failed


@dataclass(frozen=True, slots=True)
class Trial:
    """One numbered evaluation as an optimizer is told of it.

    Attributes:
        number: what correlates an ask with its tell; genotypes may repeat.
        genotype: as proposed.
        outcome: completed or failed.
        costs: one per objective, minimised and finite; None exactly when the outcome is failed.
        errors: standard errors of the costs where any of them is an estimate, 0 of those that are
            not; empty where all are measured.
    """

    number: int
    genotype: Genotype
    outcome: Outcome
    costs: tuple[float, ...] | None
    errors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (self.costs is None) != isinstance(self.outcome, Failed):
            raise ValueError(f"trial {self.number}: costs go with completed outcomes only")
        if self.costs is not None and not all(math.isfinite(cost) for cost in self.costs):
            raise ValueError(f"trial {self.number}: costs must be finite, got {self.costs}")
        if self.errors and len(self.errors) != len(self.costs or ()):
            raise ValueError(f"trial {self.number}: expected a standard error for each cost")

    @property
    def measured(self) -> bool:
        """Whether it was scored on all items; what is not can guide a search but is no result."""
        return self.costs is not None and not self.errors


@dataclass(frozen=True, slots=True)
class FitnessResult:
    """What a fitness may return when a number is not enough.

    Attributes:
        metrics: metric name to score; the objective's `metric` says which one is optimised.
        examples: item id to score of the optimised metric, one per scored item.
    """

    metrics: Mapping[str, float]
    examples: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeltaStatistics:
    """What a merge costs nothing to know: its distance from the base, over all shared tensors.

    Attributes:
        l1: sum of absolute differences, in the weights' own units.
        l2: square root of the sum of squared differences.
        base_l1: sum of absolute base weights.
        base_l2: Euclidean norm of the base.
        zeros: number of elements equal to the base.
        elements: number of elements compared.
    """

    l1: float
    l2: float
    base_l1: float
    base_l2: float
    zeros: int
    elements: int


Arguments: TypeAlias = dict[str, Any]
"""Keyword arguments from a study file, on their way to a plug-in that validates them."""
