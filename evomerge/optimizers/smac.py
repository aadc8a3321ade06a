"""SMAC: Bayesian optimisation by a random forest, for mixed and conditional genes.

Sources: Hutter, Hoos and Leyton-Brown, 2011, 'Sequential Model-Based Optimization for General
Algorithm Configuration'; Lindauer et al., 2022, arXiv 2109.09831, whose SMAC3 this is; Knowles,
2006, ParEGO, for several objectives. SMAC proposes and learns by its own ask and tell; what is
changed of its parts so that a search replays is said in `smac_facade`. What is ours around it:

- The known points come first, exactly as given. Where genes say by weights, spreads or conditions
  where a search starts, the initial design is drawn by those; else it is SMAC's Sobol sequence.
- Genes without effect are absent from SMAC's configurations, which is what its forests are for.
- A failed trial is told as crashed.
- Up to 200 trials a forest is fitted for every proposal, of more for every eighth.
- SMAC writes files, logs, and is loaded with side effects on global state: nothing of that stays.
"""

from __future__ import annotations

import importlib
import logging
import random
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from evomerge.errors import MissingExtra
from evomerge.optimizers.arguments import checked_domain, flag, integer, number
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.exhaustion import drawn_anew, exhausted
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial


class SmacForest:
    """SMAC3 with random forests; never waits.

    Args:
        domain: what to vary; genes of every kind, conditions on integer and categorical ones.
        n_objectives: any number; several are scalarised anew for every forest.
        seed: source of all randomness.
        seeds: propose the domain's seeds and initial point first.
        design: points after those, before the first forest is fitted.
        trees: of a forest.
        random_share: of the proposals that are drawn instead of chosen by expected improvement.
        local_searches: how many local searches improve the best evaluated points, and as many the
            best of 1000 drawn ones; time grows with it.

    Raises:
        MissingExtra: SMAC is not installed.
        ConfigError: an option is out of range.
        SpaceError: a gene depends on a continuous one.
    """

    needs = Needs(objectives="any")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        design: int = 10,
        trees: int = 10,
        random_share: float = 0.2,
        local_searches: int = 4,
    ) -> None:
        self._domain = checked_domain(domain)
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        design = integer("design", design, 1)
        self._random = np.random.default_rng([integer("seed", seed, 0), 0])
        known = list(known_points(domain)) if flag("seeds", seeds) else []
        shaped = is_shaped(domain)
        if shaped:
            drawn = [domain.draw(self._random) for _ in range(design)]
            known += [Proposal(genotype, "smac:start") for genotype in drawn]
        options = {
            "design": 0 if shaped else design,
            "trees": integer("trees", trees, 1),
            "random_share": number("random_share", random_share, 0, 1),
            "local_searches": integer("local_searches", local_searches, 1),
            "draws": 1000,
        }
        with _undisturbed():
            library = _import_facade()
            library_seed = seed % 2**31
            self._configurations = library.Configurations(domain, library_seed)
            starts = [self._configurations.configuration(one.genotype) for one in known]
            self._forest = library.Forest(
                self._configurations, starts, n_objectives, library_seed, **options
            )
        # Points that SMAC cannot tell apart are all proposed, and the first one is told.
        self._known = deque(
            (point, one not in starts[:index])
            for index, (point, one) in enumerate(zip(known, starts, strict=True))
        )
        self._starts_left = len(self._forest.starts)
        self._seen: set[Genotype] = set()
        self._in_flight: dict[int, Any] = {}  # SMAC's trials, or None where it is not told
        self._prepared: tuple[Proposal, Any] | None = None
        self._learnt = False
        self._stopped: str | None = None

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next known point or SMAC's choice; None when the search is over.

        Raises:
            ValueError: the trial number was handed out before.
        """
        self._pending.check_new(trial_number)
        self._prepare()
        if self._prepared is None:
            return None
        (proposal, trial), self._prepared = self._prepared, None
        self._seen.add(proposal.genotype)
        self._pending.open(trial_number, proposal.genotype)
        self._in_flight[trial_number] = trial
        return proposal

    def tell(self, trial: Trial) -> None:
        """Tell SMAC an outcome.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        own = self._in_flight.pop(trial.number)
        if own is not None:
            costs = None if trial.costs is None else [bounded(cost) for cost in trial.costs]
            with _undisturbed():
                self._forest.tell(own, costs)
            self._learnt = True
        if not self._in_flight:
            self._prepare()  # nothing else can be learnt before the next ask

    def stop_reason(self) -> str | None:
        """Say why the search has ended, or None."""
        return self._stopped

    def _prepare(self) -> None:
        """Have the next proposal ready, or end the search where there is none."""
        if self._prepared is None and self._stopped is None:
            with _undisturbed():
                self._prepared = self._next()
            if self._prepared is None:
                self._stopped = exhausted("smac")

    def _next(self) -> tuple[Proposal, Any] | None:
        """Return what to propose, and SMAC's trial for it."""
        if self._known:
            point, told = self._known.popleft()
            if not told:
                return point, None
            self._starts_left -= 1
            return point, self._forest.ask()
        if not self._starts_left and not self._learnt:
            return self._draw()  # without any outcome SMAC would draw as well, but also repeat
        self._starts_left = max(self._starts_left - 1, 0)
        trial = self._forest.ask()
        if trial is None:
            return None
        return Proposal(self._configurations.genotype(trial.config), "smac"), trial

    def _draw(self) -> tuple[Proposal, Any] | None:
        """Draw a point for a worker that is idle before the first outcome."""
        genotype = drawn_anew(
            lambda: self._domain.draw(self._random), lambda genotype: genotype not in self._seen
        )
        if genotype is None:
            return None
        configuration = self._configurations.configuration(genotype)
        return Proposal(genotype, "smac:start"), self._forest.announce(configuration)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep SMAC from logging and warning, and from moving global state as its import does."""
    logger = logging.getLogger("smac")
    level, state = logger.level, random.getstate()
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        random.setstate(state)


def _import_facade() -> ModuleType:
    try:
        importlib.import_module("smac")
    except ImportError:
        raise MissingExtra("SMAC", "smac") from None
    return importlib.import_module("evomerge.optimizers.smac_facade")
