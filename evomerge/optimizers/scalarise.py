"""Several objectives combined into one cost, on purpose, for an algorithm that takes one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import choice, integer
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Optimizer, Proposal
from evomerge.types import Trial

Method = Literal["mean", "weighted", "tchebycheff"]

AUGMENTATION = 0.05
"""rho of the augmented Tchebycheff function."""


@dataclass(frozen=True, slots=True)
class Combination:
    """How several costs become one.

    With normalised costs z_i and weights w_i the single cost is

    - mean: the average of z_i;
    - weighted: sum_i w_i z_i, weights scaled to sum to 1;
    - tchebycheff: max_i w_i z_i + 0.05 sum_i w_i z_i, which unlike the sums reaches the concave
      parts of a front (augmented weighted Tchebycheff; Steuer and Choo, 1983; rho as in Knowles,
      2006, ParEGO).

    Attributes:
        method: which of these.
        weights: of the objectives; they sum to 1.
        anchors: (ideal cost, span) of each objective: z_i is (cost - ideal) / span.
    """

    method: Method
    weights: tuple[float, ...]
    anchors: tuple[tuple[float, float], ...]

    @classmethod
    def of(
        cls,
        n_objectives: int,
        method: Method = "mean",
        weights: Sequence[float] | None = None,
        anchors: Sequence[Sequence[float]] | None = None,
    ) -> Combination:
        """Check what a user says and fill in the rest.

        Args:
            n_objectives: 2 or more.
            method: see the class.
            weights: one number >= 0 per objective; 'mean' takes equal ones only, and 'tchebycheff'
                takes others only with anchors, since a maximum depends on where costs start from.
            anchors: (ideal, reference) per objective, in the metric's own sign: z_i is 0 at the
                ideal and 1 at the reference. By default costs are taken as they are.

        Raises:
            ConfigError: an argument does not fit.
        """
        integer("n_objectives", n_objectives, 2)
        choice("method", method, ("mean", "weighted", "tchebycheff"))
        scales = _anchors(anchors, n_objectives)
        return cls(method, _weights(method, weights, n_objectives, anchors is not None), scales)

    def cost(self, costs: Sequence[float]) -> float:
        """Combine the minimised costs of a trial into one, finite for finite costs."""
        terms = self._terms(costs)
        total = math.fsum(terms)
        return max(terms) + AUGMENTATION * total if self.method == "tchebycheff" else total

    def error(self, costs: Sequence[float], errors: Sequence[float]) -> float:
        """Return the standard error of the combined cost, those of the costs being independent.

        Objectives have items of their own. The error of a maximum is that of its greatest term.
        """
        slopes = [
            weight / span for weight, (_, span) in zip(self.weights, self.anchors, strict=True)
        ]
        if self.method == "tchebycheff":
            terms = self._terms(costs)
            greatest = terms.index(max(terms))
            slopes = [
                slope * (AUGMENTATION + (index == greatest)) for index, slope in enumerate(slopes)
            ]
        return math.hypot(
            *(slope * bounded(error) for slope, error in zip(slopes, errors, strict=True))
        )

    def _terms(self, costs: Sequence[float]) -> list[float]:
        return [
            weight * bounded((bounded(cost) - ideal) / span)
            for weight, cost, (ideal, span) in zip(self.weights, costs, self.anchors, strict=True)
        ]


class Scalarised:
    """Lets an optimizer of one cost search on several objectives, by what they are combined into.

    Args:
        optimizer: takes one cost, e.g. CMA-ES; it must not read per-example scores.
        combination: of the costs.

    Attributes:
        combination: the same.

    Raises:
        ConfigError: the optimizer takes several objectives as they are.
    """

    def __init__(self, optimizer: Optimizer, combination: Combination) -> None:
        if optimizer.needs.objectives in ("many", "two"):
            raise ConfigError(["optimizer: this optimizer takes several objectives as they are"])
        if optimizer.needs.examples:
            raise ConfigError(["optimizer: this optimizer reads per-example scores, not one cost"])
        self.needs = replace(optimizer.needs, objectives="many")
        self.combination = combination
        self._optimizer = optimizer
        self._pending = PendingTrials(len(combination.weights))

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose what the wrapped optimizer proposes for `trial_number`."""
        self._pending.check_new(trial_number)
        proposal = self._optimizer.ask(trial_number)
        if proposal is not None:
            self._pending.open(trial_number, proposal.genotype)
        return proposal

    def tell(self, trial: Trial) -> None:
        """Pass the outcome on with its combined cost.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        if trial.costs is None:
            self._optimizer.tell(trial)
        else:
            one = self.combination
            errors = (one.error(trial.costs, trial.errors),) if trial.errors else ()
            self._optimizer.tell(replace(trial, costs=(one.cost(trial.costs),), errors=errors))

    def stop_reason(self) -> str | None:
        """Return the wrapped optimizer's reason."""
        return self._optimizer.stop_reason()

    @property
    def notes(self) -> Sequence[str]:
        """What the wrapped optimizer says of its search."""
        return getattr(self._optimizer, "notes", ())


def _weights(
    method: str, weights: Sequence[float] | None, n_objectives: int, anchored: bool
) -> tuple[float, ...]:
    """Return weights that sum to 1."""
    if weights is None:
        if method == "weighted":
            raise ConfigError(["weights: method 'weighted' needs one weight per objective"])
        return (1 / n_objectives,) * n_objectives
    values = [_finite("weights", weight) for weight in weights]
    if len(values) != n_objectives or min(values) < 0 or max(values) == 0:
        raise ConfigError(
            [f"weights: expected {n_objectives} numbers >= 0, not all 0, got {list(weights)}"]
        )
    if len(set(values)) > 1 and method == "mean":
        raise ConfigError(["weights: method 'mean' weighs all objectives alike; use 'weighted'"])
    if len(set(values)) > 1 and method == "tchebycheff" and not anchored:
        # A weight on a cost of unknown origin can act against its objective: costs of maximised
        # metrics are negative, and a larger weight takes them further from the maximum.
        raise ConfigError(["weights: unequal weights of 'tchebycheff' need anchors"])
    total = math.fsum(values)
    return tuple(value / total for value in values)


def _anchors(
    anchors: Sequence[Sequence[float]] | None, n_objectives: int
) -> tuple[tuple[float, float], ...]:
    """Turn anchors into (ideal cost, span) per objective."""
    if anchors is None:
        return ((0.0, 1.0),) * n_objectives
    result = []
    for anchor in anchors:
        values = [_finite("anchors", value) for value in anchor]
        if len(values) != 2 or values[0] == values[1]:
            raise ConfigError(
                [f"anchors: expected [ideal, reference], two numbers, got {list(anchor)}"]
            )
        ideal, reference = values
        # An ideal above the reference belongs to a metric that is maximised: its cost is negated.
        sign = -1.0 if ideal > reference else 1.0
        result.append((sign * ideal, abs(reference - ideal)))
    if len(result) != n_objectives:
        raise ConfigError(
            [f"anchors: expected {n_objectives} of [ideal, reference], got {len(result)}"]
        )
    return tuple(result)


def _finite(option: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError([f"{option}: expected finite numbers, got {value!r}"])
    return float(value)
