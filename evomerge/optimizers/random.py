"""Random search: the baseline every other algorithm has to beat."""

from __future__ import annotations

import numpy as np

from evomerge.optimizers.arguments import checked_domain, flag, integer
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain
from evomerge.types import Trial


class RandomSearch:
    """Points drawn uniformly from the unit cube, after the known points.

    In a domain whose genes have weights, spreads or conditions, points are drawn by those.

    The n-th proposal is a function of the seed and n alone, whatever was told meanwhile.

    Args:
        domain: what to vary.
        n_objectives: any number.
        seed: source of randomness.
        seeds: propose the domain's seeds and initial point first.
    """

    needs = Needs(objectives="any", compares="none")

    def __init__(self, domain: Domain, n_objectives: int, seed: int, *, seeds: bool = True) -> None:
        self._domain = checked_domain(domain)
        self._shaped = is_shaped(domain)
        self._seed = integer("seed", seed, 0)
        self._known = known_points(domain) if flag("seeds", seeds) else ()
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        self._asked = 0  # a later stage's trials do not begin at 0

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next point; never waits."""
        self._pending.check_new(trial_number)
        if self._asked < len(self._known):
            proposal = self._known[self._asked]
        else:
            generator = np.random.default_rng([self._seed, self._asked])
            if self._shaped:
                genotype = self._domain.draw(generator)
            else:
                genotype = self._domain.from_unit(generator.random(len(self._domain)).tolist())
            proposal = Proposal(genotype, "random")
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
        """Return None: random search has no end of its own."""
        return None
