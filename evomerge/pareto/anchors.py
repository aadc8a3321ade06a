"""Anchors: one fixed scale per objective, so that fronts of different runs can be compared.

    f~ = (f - base) / (best donor - base)

0 is the base and 1 the best donor of that objective, whichever way the objective improves. The
anchors are measured once and never taken from the run that is judged: adding a candidate changes
no scaled score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.pareto.hypervolume import hypervolume, hypervolume_gain
from evomerge.types import Objective

AnchorKind: TypeAlias = Literal["gain", "retention", "raw", "span"]
"""gain: 0 is the base, 1 the best donor. retention: no donor beats the base, so 0 is the worst
donor and 1 the base. raw: donors and base tie, so a score is its difference from the base. span:
base and donors are not known, so 0 is the worst and 1 the best of other models."""

REFERENCE = -0.1
"""Scaled score of the hypervolume's reference point in every objective: a little below the base,
so that points at the base still count."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The scale of each objective.

    Attributes:
        objectives: in column order.
        zero: the metric that is scaled to 0, per objective.
        one: the metric that is scaled to 1; for kind 'raw' the metric one unit better than zero.
        kinds: how each objective is anchored.
    """

    objectives: tuple[Objective, ...]
    zero: tuple[float, ...]
    one: tuple[float, ...]
    kinds: tuple[AnchorKind, ...]

    @classmethod
    def of(
        cls,
        objectives: Sequence[Objective],
        base: Mapping[str, float],
        donors: Sequence[Mapping[str, float]],
        *,
        degenerate: Literal["raise", "adapt"] = "raise",
    ) -> Anchors:
        """Anchor objectives at the base and the donors.

        Args:
            objectives: in the order scaled columns will have.
            base: metrics of the base, in the user's sign.
            donors: metrics of each donor.
            degenerate: what to do with an objective in which no donor beats the base: refuse, or
                adapt its anchors as `AnchorKind` says. `kinds` tells them apart afterwards.

        Raises:
            UserError: no donors, or an objective is degenerate and `degenerate` is 'raise'.
        """
        if not donors:
            raise UserError("anchors need the scores of at least one donor")
        zero: list[float] = []
        one: list[float] = []
        kinds: list[AnchorKind] = []
        for objective in objectives:
            name = objective.name
            by_cost = sorted((donor[name] for donor in donors), key=objective.cost)
            best, worst = by_cost[0], by_cost[-1]
            kind = _kind(objective, base[name], best, worst)
            if kind != "gain" and degenerate == "raise":
                raise UserError(
                    f"objective '{name}': the best donor ({best:g}) is not better than the base "
                    f"({base[name]:g}), so the scale 'base = 0, best donor = 1' does not exist; "
                    "leave the objective out or add a donor that is good at it"
                )
            low, high = {
                "gain": (base[name], best),
                "retention": (worst, base[name]),
                "raw": (base[name], base[name] - objective.cost(1.0)),
            }[kind]
            zero.append(float(low))
            one.append(float(high))
            kinds.append(kind)
        return cls(tuple(objectives), tuple(zero), tuple(one), tuple(kinds))

    @classmethod
    def spanning(
        cls,
        objectives: Sequence[Objective],
        worst: Mapping[str, float],
        best: Mapping[str, float],
    ) -> Anchors:
        """Anchor objectives at the worst and the best of some scores.

        Where these are the same, 1 is what is better by one.

        Args:
            objectives: in the order scaled columns will have.
            worst: metric of each.
            best: the same.
        """
        names = [objective.name for objective in objectives]
        zero = tuple(float(worst[name]) for name in names)
        one = tuple(
            float(best[name] if best[name] != low else low - objective.cost(1.0))
            for objective, name, low in zip(objectives, names, zero, strict=True)
        )
        kinds: list[AnchorKind] = ["span" for _ in names]
        return cls(tuple(objectives), zero, one, tuple(kinds))

    def scale(self, metrics: Mapping[str, float]) -> NDArray[np.float64]:
        """Return the scaled scores of one model, (n_objectives,); larger is better."""
        return np.asarray(self.scale_all([metrics])[0])

    def scale_all(self, rows: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """Return the scaled scores of several models, (n_rows, n_objectives)."""
        names = [objective.name for objective in self.objectives]
        raw = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
        return self.scaled(raw.reshape(len(rows), len(names)))

    def scaled(self, metrics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scaled scores of metrics in the order of the objectives, (..., n_objectives)."""
        zero, one = np.array(self.zero), np.array(self.one)
        return np.asarray((metrics - zero) / (one - zero))

    @property
    def degenerate(self) -> tuple[str, ...]:
        """Names of the objectives in which no donor beats the base."""
        return tuple(
            objective.name
            for objective, kind in zip(self.objectives, self.kinds, strict=True)
            if kind in ("retention", "raw")
        )


def anchored_hypervolume(scaled: NDArray[np.float64]) -> float:
    """Return the hypervolume of scaled scores (n_rows, n_objectives) above `REFERENCE`."""
    return hypervolume(-scaled, np.full(scaled.shape[1], -REFERENCE))


def anchored_gain(scaled: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return what one more row of scaled scores (n_objectives,) adds to that hypervolume."""
    return hypervolume_gain(-scaled, np.full(scaled.shape[1], -REFERENCE), -new)


def _kind(objective: Objective, base: float, best: float, worst: float) -> AnchorKind:
    if objective.cost(best) < objective.cost(base):
        return "gain"
    return "retention" if objective.cost(worst) > objective.cost(base) else "raw"
