"""Small searches that the tests of both optimizers share."""

from __future__ import annotations

import numpy as np

from evomerge.optimizers.gaussian_processes.mm_mo import MmMo
from evomerge.optimizers.gaussian_processes.mobo import Mobo
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import Completed, Failed, Trial

LITTLE = {"samples": 16, "raw_samples": 32, "restarts": 2}
"""Less effort than by default, enough for smooth functions of few genes."""


def unit_domain(n_genes: int) -> Domain:
    """Return genes in [0, 1] without known points but the middle."""
    return Domain(tuple(Gene(f"x{i}") for i in range(n_genes)))


def two_spheres(genotype) -> tuple[float, float]:
    """Squared distances to (0.25, ...) and (0.75, ...)."""
    x = np.array(genotype, dtype=float)
    return float(((x - 0.25) ** 2).sum()), float(((x - 0.75) ** 2).sum())


def mobo(domain, n_objectives=2, seed=0, **options) -> Mobo:
    """Build MOBO with little effort and no known points."""
    return Mobo(domain, n_objectives, seed, **{"seeds": False, **LITTLE, **options})


def mm_mo(domain, n_objectives=2, seed=0, **options) -> MmMo:
    """Build MM-MO with little effort and no known points."""
    return MmMo(domain, n_objectives, seed, **{"seeds": False, **LITTLE, **options})


def trial(number, genotype, costs) -> Trial:
    """Return a completed trial, or a failed one for costs of None."""
    outcome = Failed("error", "on purpose") if costs is None else Completed({})
    return Trial(number, genotype, outcome, costs)


def search(optimizer, costs, n_trials, first=0):
    """Ask and tell one at a time; returns the proposals."""
    proposals = []
    for number in range(first, first + n_trials):
        proposal = optimizer.ask(number)
        proposals.append(proposal)
        optimizer.tell(trial(number, proposal.genotype, costs(proposal.genotype)))
    return proposals
