"""Crossover and mutation on the unit cube for domains with integer and categorical genes.

Continuous genes get pymoo's simulated binary crossover and polynomial mutation, unchanged. On a
discrete gene those would fall back into the bin they came from, or invent a choice 'between' two
unordered ones, so:

- a categorical gene is inherited from either parent, and mutates to any other choice;
- an integer gene that mutation moved, but not out of its bin, takes one step in that direction.

A gene without effect stands at its initial value, which says nothing of its parent. Of genes that
have neither weights nor a spread, that start anywhere in their range:

- one that has an effect in one parent only is inherited from that one;
- one that mutation brings to life is drawn. Else every first try of a choice would be judged by the
  initial values of its genes, and lost where these are poor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.repair import Repair
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM

from evomerge.spaces.domain import Domain

Floats = npt.NDArray[np.float64]


def snapped(points: Floats, domain: Domain) -> Floats:
    """Return points in their canonical form, (n_points, n_genes), a copy.

    Discrete coordinates move to the middle of their bins, genes without effect to their initial
    value.
    """
    result = points.copy()
    for column, gene in enumerate(domain.genes):
        if gene.kind != "continuous":
            for row, unit in enumerate(points[:, column]):
                result[row, column] = gene.to_unit(gene.from_unit(float(unit)))
    if any(gene.condition is not None for gene in domain.genes):
        initial = np.array(domain.to_unit(domain.initial))
        result = np.where(_active(result, domain), result, initial)
    return result


def crossover(domain: Domain, probability: float, eta: float) -> SBX:
    """Return the crossover that fits a domain: pymoo's own where every gene is continuous."""
    if all(gene.kind == "continuous" for gene in domain.genes):
        return SBX(prob=probability, eta=eta)
    return _MixedCrossover(domain, probability, eta)


def mutation(domain: Domain, probability: float, eta: float) -> PM:
    """Return the mutation that fits a domain: pymoo's own where every gene is continuous."""
    if all(gene.kind == "continuous" for gene in domain.genes):
        return PM(prob=probability, eta=eta)
    return _MixedMutation(domain, probability, eta)


class Snap(Repair):  # type: ignore[misc]  # pymoo has no types
    """pymoo's hook between mating and duplicate elimination: points to their canonical form."""

    def __init__(self, canonical: Callable[[Floats], Floats]) -> None:
        super().__init__()
        self._canonical = canonical

    def _do(self, problem: Any, X: Floats, **kwargs: Any) -> Floats:  # noqa: ARG002
        return self._canonical(X)


class _MixedCrossover(SBX):  # type: ignore[misc]  # pymoo has no types
    def __init__(self, domain: Domain, probability: float, eta: float) -> None:
        super().__init__(prob=probability, eta=eta)
        self._domain = domain
        self._categorical = np.array([gene.kind == "categorical" for gene in domain.genes])
        self._unshaped = _unshaped(domain)

    def _do(
        self, problem: Any, X: Floats, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Floats:
        """Cross parents X, (2, n_matings, n_genes), into as many children."""
        children: Floats = super()._do(problem, X, *args, random_state=random_state, **kwargs)
        swap = random_state.random(X.shape[1:]) < 0.5
        inherited = np.where(swap, X[::-1], X)
        children[:, :, self._categorical] = inherited[:, :, self._categorical]
        if self._unshaped.any():
            first, second = (_active(parents, self._domain) for parents in X)
            children[:] = np.where(first & ~second & self._unshaped, X[0], children)
            children[:] = np.where(second & ~first & self._unshaped, X[1], children)
        return children


class _MixedMutation(PM):  # type: ignore[misc]  # pymoo has no types
    def __init__(self, domain: Domain, probability: float, eta: float) -> None:
        super().__init__(prob=probability, eta=eta)
        self._domain = domain
        self._unshaped = _unshaped(domain)

    def _do(
        self, problem: Any, X: Floats, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Floats:
        """Mutate children X, (n_children, n_genes)."""
        mutated: Floats = super()._do(problem, X, *args, random_state=random_state, **kwargs)
        for column, gene in enumerate(self._domain.genes):
            old, new = X[:, column], mutated[:, column]
            if gene.kind == "categorical":
                n_choices = len(gene.choices)
                # PM marks the genes to change; where they go is drawn anew.
                shift = random_state.integers(1, max(n_choices, 2), size=len(X)) / n_choices
                mutated[:, column] = np.where(new != old, (old + shift) % 1.0, old)
            elif gene.kind == "integer":
                bins = gene.high - gene.low + 1
                step = np.sign(new - old) / bins
                stuck = np.floor(new * bins) == np.floor(old * bins)
                mutated[:, column] = np.clip(np.where(stuck, old + step, new), 0.0, 1.0)
        if self._unshaped.any():
            revived = _active(mutated, self._domain) & ~_active(X, self._domain) & self._unshaped
            mutated[revived] = random_state.random(int(revived.sum()))
        return mutated


def _unshaped(domain: Domain) -> npt.NDArray[np.bool_]:
    """Say which genes may have no effect, and start anywhere in their range when they have one."""
    return np.array(
        [
            gene.condition is not None and not gene.weights and gene.spread is None
            for gene in domain.genes
        ]
    )


def _active(points: Floats, domain: Domain) -> npt.NDArray[np.bool_]:
    """Say which genes have an effect in which point, (n_points, n_genes)."""
    rows = [
        domain.active(
            tuple(gene.from_unit(float(u)) for gene, u in zip(domain.genes, point, strict=True))
        )
        for point in points
    ]
    return np.array(rows, dtype=bool).reshape(points.shape)
