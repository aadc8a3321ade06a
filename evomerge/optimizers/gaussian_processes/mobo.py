"""MOBO: asynchronous Bayesian optimisation of a front, never waiting.

The known points and a Sobol start of 2d + 2 points are followed by one point at a time that is
worth most by noisy expected hypervolume improvement, given what is evaluated *and* what is in
flight. Where the acquisition function looks for candidates, weak-to-strong variation (see there) of
the best of these with the elites of the front adds as many; all are scored by the same function,
those within 1e-3 of a point evaluated, in flight or failed are dropped, and the best of the rest
is proposed.

Sources: Daulton et al., 2021, arXiv 2105.08195; Ament et al., 2023, arXiv 2310.20708; the pool and
its reranking after AP-BMM, arXiv 2512.09972. What is ours around them:

- Each objective is modelled on the scale that its bounds suggest (`evomerge.optimizers.links`):
  give them, or use fitnesses that have them. Scores of a known number of items have known noise.
- With rungs the model is of the score on all items: exact where it was measured; estimates have
  their errors, which like candidates share (`posterior.SHARED`), times `doubt`.
- Past 200 evaluations several proposals come from one model and one search for candidates, each
  chosen given those before it (`evomerge.optimizers.groups`).
- Failures are excluded from the model and kept away from as if they were in flight.
- A method gene, and every other categorical one, is part of one model for all methods; see
  `encoding`. Genes without effect do not count.
- Where the study combines several objectives into one cost, each is modelled all the same and what
  they are combined into is maximised; see `combined`.
- With five objectives or more each proposal maximises a random Tchebycheff scalarisation.
- How small the change to the base is can be one more objective: the fitnesses `l1_distance` (what
  MM-MO calls sparsity; it rewards small weights), `l2_distance` and `delta_sparsity` (the share of
  weights that equal the base's, and so 1 minus the density of the change). It is off by default: it
  takes evaluations from the others, and with any of them the base is a point of the front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from evomerge.errors import SpaceError
from evomerge.optimizers.arguments import checked_domain, choice, flag, integer
from evomerge.optimizers.gaussian_processes.backend import proposer_of
from evomerge.optimizers.gaussian_processes.encoding import Encoding, apart
from evomerge.optimizers.gaussian_processes.evaluations import Evaluations
from evomerge.optimizers.gaussian_processes.learner import Learner
from evomerge.optimizers.gaussian_processes.pool import USED_UP, Pool, joined
from evomerge.optimizers.gaussian_processes.rerank import reranked
from evomerge.optimizers.gaussian_processes.screens import SCREENS
from evomerge.optimizers.gaussian_processes.settings import settings_of
from evomerge.optimizers.gaussian_processes.transforms import targets_of
from evomerge.optimizers.gaussian_processes.weak_to_strong import (
    elites_by_contribution,
    weak_to_strong,
)
from evomerge.optimizers.groups import group_size
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.links import links_of
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.scalarise import Combination
from evomerge.optimizers.starting import start_box
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Objective, Trial

if TYPE_CHECKING:
    from evomerge.optimizers.gaussian_processes.proposer import Fit, Prospect

Floats = NDArray[np.float64]

NEAR = 1e-3
"""A candidate this near to a known point, in every feature, is not proposed."""

POOL = 3
"""Candidates that the last choice is made from, of each kind."""

_FEWEST = 3  # evaluated points that a model is worth fitting to
_ELITES = 6
_FACTOR = (0.5, 0.8)  # of differential evolution, in the pool
_START, _VARIATION = 2, 3  # streams of random numbers


class Mobo:
    """Multi-objective Bayesian optimisation with points in flight; never waits.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: any number.
        seed: source of all randomness.
        objectives: what is optimised; the study tells. Without, costs are modelled as they are.
        budget: trials of the search; the study tells. The start takes half of it at most.
        combination: what the costs are combined into; the study tells. Its least is looked for
            instead of the front.
        doubt: multiplies the standard errors of costs that are estimates; the study tells.
        seeds: propose the domain's seeds and initial point first.
        initial: points of the Sobol start, after the known ones; 2d + 2 by default. They lie
            between base and donors, and nearer to the base for many donors (`starting.start_box`);
            where genes have weights, spreads or conditions they are drawn by these.
        weak_to_strong: add variation of the elites to the candidates.
        rerank: choose by worth + 0.25 gap in the front - 0.15 proximity instead of by worth alone.
        screen: 'keep_most_uncertain' or 'keep_most_certain' chooses by the variance of the
            prediction among the three candidates that are worth most; 'none' does not.
        length_scales: 'auto' learns them all ('ard'), 'saas' assumes that most genes do not matter,
            'importance' says which do.
        importance: of genes by name or prefix, the more the larger; chooses 'importance'.
        samples: of the posterior; 64 by default, fewer for three and four objectives.
        raw_samples: points scored before the best are climbed.
        restarts: how many are climbed, of up to 100 points; half as many of 200, and as many as a
            model makes proposals where that is more.
        max_points: evaluated points in the model; of more, the front and the latest.

    Attributes:
        combination: the same.
        n_start: trials before the first that the model proposes; nothing else depends on `budget`.

    Raises:
        MissingExtra: BoTorch is not installed.
        ConfigError: an option is out of range.
        SpaceError: there are more genes than a Sobol sequence covers.
    """

    needs = Needs(objectives="any")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective] = (),
        budget: int | None = None,
        combination: Combination | None = None,
        doubt: float = 1.0,
        seeds: bool = True,
        initial: int | None = None,
        weak_to_strong: bool = True,
        rerank: bool = False,
        screen: str = "none",
        length_scales: str = "auto",
        importance: Mapping[str, float] | None = None,
        samples: int | None = None,
        raw_samples: int = 128,
        restarts: int = 4,
        max_points: int = 200,
    ) -> None:
        self._domain = checked_domain(domain)
        if len(domain) > qmc.Sobol.MAXDIM:
            raise SpaceError(
                f"mobo covers at most {qmc.Sobol.MAXDIM} genes and the space has {len(domain)}; "
                "use nsga2"
            )
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        self._seed = integer("seed", seed, 0)
        self._weak_to_strong = flag("weak_to_strong", weak_to_strong)
        self._rerank = flag("rerank", rerank)
        self._screen = choice("screen", screen, ("none", *SCREENS))
        settings = settings_of(
            domain,
            n_objectives if combination is None else 1,
            length_scales=length_scales,
            importance=importance,
            max_points=max_points,
            samples=samples,
            raw_samples=raw_samples,
            restarts=restarts,
        )
        links = links_of(objectives, n_objectives)
        self._encoding = Encoding(domain)
        self._proposer = proposer_of(self._encoding, self._seed, settings)
        self._learner = Learner(
            self._proposer,
            lambda costs, errors: targets_of(costs, links, doubt * errors),
            settings.max_points,
        )
        self._evaluations = Evaluations(len(domain), n_objectives)
        known = known_points(domain) if flag("seeds", seeds) else ()
        if initial is None:
            initial = 2 * len(domain) + 2
            if budget is not None:
                initial = min(initial, max(0, budget // 2 - len(known)))
        self.n_start = len(known) + integer("initial", initial, 0)
        self._known = known
        self._random = np.random.default_rng([self._seed, _START])
        self._sobol = qmc.Sobol(len(domain), scramble=True, seed=self._random)
        self._start_box = np.array(start_box(domain))
        self.combination = combination
        self._asked = 0
        self._planned: deque[Floats] = deque()

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next point; never waits."""
        self._pending.check_new(trial_number)
        if self._asked < len(self._known):
            proposal = self._known[self._asked]
        elif self._asked < self.n_start or len(self._evaluations) < _FEWEST:
            proposal = Proposal(self._encoding.genotype(self._start()), "mobo:start")
        else:
            proposal = Proposal(self._encoding.genotype(self._next()), "mobo")
        self._asked += 1
        self._pending.open(trial_number, proposal.genotype)
        self._evaluations.open(trial_number, self._encoding.point(proposal.genotype))
        return proposal

    def tell(self, trial: Trial) -> None:
        """Learn one outcome; the model takes it in when the next point is asked for.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        self._evaluations.close(trial)

    def predict(self, genotype: Genotype) -> tuple[list[float], list[float]] | None:
        """Return the costs that the latest model expects and their standard errors.

        None before there is a model. Nothing is changed by it.
        """
        fit = self._learner.latest
        if fit is None:
            return None
        point = self._encoding.point(genotype)
        means, variances = self._proposer.predict(fit, point[None])
        targets = fit.targets
        costs = targets.inverse(means)[0]
        slopes = [link.slope(cost) for link, cost in zip(targets.links, costs, strict=True)]
        errors = np.sqrt(variances[0]) * targets.scale * np.array(slopes)
        return costs.tolist(), errors.tolist()

    def stop_reason(self) -> str | None:
        """Return None: there is always a point that is worth most."""
        return None

    def _start(self) -> Floats:
        """Return a point of the start."""
        if self._encoding.shaped:
            point: Floats = self._encoding.draw(1, self._random)[0]
            return point
        low, high = self._start_box
        inside = low + self._sobol.random(1) * (high - low)
        drawn: Floats = self._encoding.canonical(inside)[0]
        return drawn

    def _next(self) -> Floats:
        """Return the point that is worth most, or the next of several that are together."""
        if not self._planned:
            self._planned.extend(self._plan(group_size(len(self._evaluations))))
        return self._planned.popleft()

    def _plan(self, count: int) -> list[Floats]:
        """Return points that are worth most, each given those before it, at most `count`.

        All come from one search. They end where what it found is used up: where nothing new is
        left, or nothing that is worth a tenth of the first.
        """
        fit = self._learner.fit(self._evaluations)
        avoided = self._evaluations.avoided
        prospect = self._prospect(fit, avoided, 0)
        best, raw = prospect.climb(count)
        candidates = best.first(max(POOL, count))
        if self._weak_to_strong:
            varied = prospect.score(self._varied(fit, candidates.points))
            candidates = joined([candidates, varied])
        # `best`: a finite domain, and every point of it is known
        new = self._new(candidates, avoided) or self._new(raw, avoided) or best
        least = new.worths.max() - USED_UP
        planned = [new.points[self._choice(fit, new, avoided)]]
        while len(planned) < count:
            avoided = np.vstack([avoided, planned[-1]])
            prospect = self._prospect(fit, avoided, len(planned))
            new = self._new(prospect.score(candidates.points), avoided)
            if not new or new.worths.max() < least:
                break
            planned.append(new.points[self._choice(fit, new, avoided)])
        return planned

    def _prospect(self, fit: Fit, avoided: Floats, place: int) -> Prospect:
        """Return where to look for a point of a plan."""
        return self._proposer.prospect(fit, avoided, self._asked + place, self.combination)

    def _new(self, pool: Pool, avoided: Floats) -> Pool:
        """Return the candidates that are not near to a known point."""
        occupied = self._encoding.features(np.vstack([self._evaluations.points, avoided]))
        return pool.only(apart(self._encoding.features(pool.points), occupied, NEAR))

    def _varied(self, fit: Fit, points: Floats) -> Floats:
        """Return points crossed with mutants of the elites."""
        targets = fit.targets
        if self.combination is None:
            elites = elites_by_contribution(targets.values, targets.reference, _ELITES)
        else:
            costs = targets.inverse(targets.values)
            combined = [self.combination.cost(row) for row in costs.tolist()]
            elites = np.argsort(combined, kind="stable")[:_ELITES]
        random = np.random.default_rng([self._seed, _VARIATION, self._asked])
        return weak_to_strong(points, fit.points[elites], self._encoding, random, factor=_FACTOR)

    def _choice(self, fit: Fit, pool: Pool, avoided: Floats) -> int:
        """Return the index of the candidate to propose."""
        if self._screen == "none" and not self._rerank:
            return int(np.argmax(pool.worths))
        means, variances = self._proposer.predict(fit, pool.points)
        if self._screen != "none":
            shortlist = np.argsort(-pool.worths, kind="stable")[:POOL]
            return int(shortlist[SCREENS[self._screen](variances[shortlist], 1)[0]])
        preference = reranked(
            pool.worths,
            means,
            fit.targets.values[fit.front],
            self._proposer.predict(fit, avoided)[0],
            self._encoding.features(pool.points),
            self._encoding.features(avoided),
        )
        return int(np.argmax(preference))
