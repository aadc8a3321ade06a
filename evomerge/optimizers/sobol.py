"""Scrambled Sobol points: a baseline that covers the domain more evenly than random search."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from evomerge.errors import SpaceError
from evomerge.optimizers.arguments import checked_domain, flag, integer
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Trial


class SobolSearch:
    """The Owen-scrambled Sobol sequence over the unit cube, after the known points.

    The n-th ask gets point n - n_known of the sequence, whatever was told meanwhile. Balance is
    best when the number of points is a power of two (Owen, 1998).

    Args:
        domain: what to vary, at most 21201 genes.
        n_objectives: any number.
        seed: source of the scrambling.
        seeds: propose the domain's seeds and initial point first.
    """

    needs = Needs(objectives="any", compares="none")

    def __init__(self, domain: Domain, n_objectives: int, seed: int, *, seeds: bool = True) -> None:
        self._domain = checked_domain(domain)
        if len(domain) > qmc.Sobol.MAXDIM:
            raise SpaceError(
                f"sobol covers at most {qmc.Sobol.MAXDIM} genes and the space has {len(domain)}; "
                "use random"
            )
        self._known = known_points(domain) if flag("seeds", seeds) else ()
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        generator = np.random.default_rng(integer("seed", seed, 0))
        self._engine = qmc.Sobol(len(domain), scramble=True, seed=generator)
        self._asked = 0  # a later stage's trials do not begin at 0

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next point; never waits."""
        self._pending.check_new(trial_number)
        if self._asked < len(self._known):
            proposal = self._known[self._asked]
        else:
            unit = [float(value) for value in self._engine.random(1)[0]]
            proposal = Proposal(self._domain.from_unit(unit), "sobol")
        self._asked += 1
        self._pending.open(trial_number, proposal.genotype)
        return proposal

    def tell(self, trial: Trial) -> None:
        """Strike the trial out; nothing is learnt from it.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)

    def stop_reason(self) -> str | None:
        """Return None: the sequence is longer than any budget."""
        return None
