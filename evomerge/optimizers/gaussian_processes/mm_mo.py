"""MM-MO: batches by expected hypervolume improvement, weak-to-strong variation and a screen.

Source: arXiv 2407.00487 and its released code. Ten points to start with; then rounds, each of which

    1. fits a Gaussian process to each objective,
    2. chooses ten candidates, one after another, by expected improvement of the hypervolume,
    3. crosses each with a mutant of the elites (weak-to-strong; the result is not scored again),
    4. keeps the five whose prediction is most uncertain (the Fisher screen),
    5. evaluates these.

Ten points and four rounds are the thirty evaluations of the paper; a larger budget has more rounds.

    mm-mo            as above with what was wrong put right: the reference point lies on the scale
                     of the model, a tenth of the front's range beyond it; improvement is the
                     logarithm of qNEHVI, which costs no sum over subsets, and with five
                     objectives or more that of a random scalarisation; objectives are modelled
                     on the scale that their bounds suggest; elites are those with the largest sums
                     of standardised scores
    mm-mo-published  as released, **for comparison only**: the reference point is that of raw scores
                     among standardised ones, so that with scores in percent no candidate improves
                     anything and the search is Sobol points, crossover and screen; qEHVI over the
                     posterior mean; elites by the largest sums of raw scores. Two to four
                     objectives

The paper searches DARE-TIES with the mask's seed fixed (`search_spaces/mm_mo.yaml`) for two
accuracies and a small L1 norm of the change to the base, which it calls sparsity. That third
objective is the fitness `l1_distance`; name the other two in `elites`. DARE divides what it keeps
by the density, so that this norm hardly depends on it: it rewards small weights and conflicts of
sign, takes evaluations from the accuracies, and makes the base a point of the front. For sparsity
proper add `delta_sparsity`, the share of weights that equal the base's.

Half of what the acquisition function chose is crossed away and the rest is screened for variance:
where evaluations are few, `mobo` makes more of them, and does not wait for batches.

What is ours around it: known points belong to the first batch; the run is seeded; failures are
excluded from the model and kept away from; the result is the front of everything evaluated;
hyperparameters are learnt at every 25th part more evaluations (as published: in every round), and
past 200 of these the candidates of a round come from one search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import ConfigError, nearest
from evomerge.optimizers.arguments import checked_domain, choice, flag, integer, names, of_preset
from evomerge.optimizers.gaussian_processes.backend import proposer_of
from evomerge.optimizers.gaussian_processes.encoding import Encoding, apart
from evomerge.optimizers.gaussian_processes.evaluations import Evaluations
from evomerge.optimizers.gaussian_processes.learner import Learner
from evomerge.optimizers.gaussian_processes.pool import joined
from evomerge.optimizers.gaussian_processes.screens import SCREENS
from evomerge.optimizers.gaussian_processes.settings import settings_of
from evomerge.optimizers.gaussian_processes.transforms import published_targets, targets_of
from evomerge.optimizers.gaussian_processes.weak_to_strong import elites_by_sum, weak_to_strong
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.groups import MANY
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.links import links_of
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Objective, Trial

if TYPE_CHECKING:
    from evomerge.optimizers.gaussian_processes.proposer import Fit

Floats = NDArray[np.float64]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "mm-mo": {"published": False},
    "mm-mo-published": {"published": True},
}

NEAR = 1e-3
"""A candidate this near to a known point, in every feature, is kept only if there is no other."""

_N_ELITES = 5
_POOL = 64  # raw points that a round is chosen from, beside those that were climbed
_START, _VARIATION = 2, 3  # streams of random numbers


class MmMo(Generational):
    """MM-MO, in batches that are waited for.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: any number; two to four for the published preset.
        seed: source of all randomness.
        objectives: what is optimised; the study tells. Without, costs are modelled as they are.
        doubt: multiplies the standard errors of costs that are estimates; the study tells.
        seeds: make the domain's seeds and initial point part of the first batch.
        preset: 'mm-mo' or 'mm-mo-published', see above.
        initial: points of the first batch, or as many as are known; the rest is drawn uniformly, or
            by weights, spreads and conditions.
        candidates: chosen in a round.
        batch: of these, how many are evaluated.
        weak_to_strong: cross candidates with mutants of the elites.
        elites: names of the objectives that make an elite; all by default.
        screen: 'keep_most_uncertain', 'keep_most_certain', or 'none' for the candidates in the
            order in which they were chosen.
        length_scales: 'auto' learns them all ('ard'), 'saas' assumes that most genes do not matter,
            'importance' says which do.
        importance: of genes by name or prefix, the more the larger; chooses 'importance'.
        samples: of the posterior; 64 by default, fewer for three and four objectives.
        raw_samples: points scored before the best are climbed.
        restarts: how many are climbed, of up to 100 points; half as many of 200, and of more
            as many as there are candidates, where that is more.
        max_points: evaluated points in the model; of more, the front and the latest.

    Raises:
        MissingExtra: BoTorch is not installed.
        ConfigError: an option is out of range, or does not go with the number of objectives.
    """

    needs = Needs(objectives="any", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective] = (),
        doubt: float = 1.0,
        seeds: bool = True,
        preset: str = "mm-mo",
        initial: int = 10,
        candidates: int = 10,
        batch: int = 5,
        weak_to_strong: bool = True,
        elites: Sequence[str] | None = None,
        screen: str = "keep_most_uncertain",
        length_scales: str = "auto",
        importance: Mapping[str, float] | None = None,
        samples: int | None = None,
        raw_samples: int = 64,
        restarts: int = 2,
        max_points: int = 200,
    ) -> None:
        super().__init__(integer("n_objectives", n_objectives, 1))
        self._published = bool(of_preset(PRESETS, preset, "published", None))
        if self._published and not 2 <= n_objectives <= 4:
            raise ConfigError(
                [f"preset: mm-mo-published takes two to four objectives, got {n_objectives}"]
            )
        self._name = choice("preset", preset, tuple(PRESETS))
        self._domain = checked_domain(domain)
        self._seed = integer("seed", seed, 0)
        self._n_candidates = integer("candidates", candidates, 1)
        self._batch = integer("batch", batch, 1)
        if self._batch > self._n_candidates:
            raise ConfigError([f"batch: expected at most candidates ({candidates}), got {batch}"])
        self._weak_to_strong = flag("weak_to_strong", weak_to_strong)
        self._elites = _columns(elites, objectives, n_objectives)
        self._screen = choice("screen", screen, ("none", *SCREENS))
        settings = settings_of(
            domain,
            n_objectives,
            length_scales=length_scales,
            importance=importance,
            max_points=max_points,
            samples=samples,
            raw_samples=raw_samples,
            restarts=restarts,
        )
        self._max_points = settings.max_points
        self._encoding = Encoding(domain)
        self._proposer = proposer_of(
            self._encoding, self._seed, settings, published=self._published
        )
        links = links_of(objectives, n_objectives)
        self._learner = Learner(
            self._proposer,
            lambda costs, errors: (
                published_targets(costs)
                if self._published
                else targets_of(costs, links, doubt * errors)
            ),
            settings.max_points,
            always=self._published,
        )
        self._evaluations = Evaluations(len(domain), n_objectives)
        self._random = np.random.default_rng([self._seed, _START])
        self._round = 0
        known = known_points(domain) if flag("seeds", seeds) else ()
        fill = max(integer("initial", initial, 1) - len(known), 0)
        self._generation = Generation([*known, *self._drawn(fill)])

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next point of the round, or None to wait for its tells."""
        self._pending.check_new(trial_number)
        if self._generation.complete:
            # here and not in the last tell of a round: the budget may end with that one
            self._round += 1
            self._generation = Generation(self._proposals())
        return super().ask(trial_number)

    def _advance(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._evaluations.open(trial.number, self._encoding.point(trial.genotype))
            self._evaluations.close(trial)

    def _proposals(self) -> list[Proposal]:
        """Return the points of a round."""
        if not len(self._evaluations):
            return self._drawn(self._batch)
        fit = self._learner.fit(self._evaluations)
        points = self._candidates(fit)
        if self._weak_to_strong:
            points = self._varied(fit, points)
        if not self._published:
            points = self._new_first(points)
        if self._screen != "none":
            _, variances = self._proposer.predict(fit, points)
            points = points[SCREENS[self._screen](variances, self._batch)]
        origin = f"{self._name}:round{self._round}"
        return [Proposal(self._encoding.genotype(point), origin) for point in points[: self._batch]]

    def _candidates(self, fit: Fit) -> Floats:
        """Choose candidates one after another, each given those before it.

        Each has a search of its own; where many points are evaluated all come from one.
        """
        count, counter = self._n_candidates, self._round * self._n_candidates
        known = self._evaluations.avoided[:0] if self._published else self._evaluations.avoided
        if len(self._evaluations) > MANY and not self._published:
            best, raw = self._proposer.prospect(fit, known, counter).climb(count)
            points = joined([best, raw.first(_POOL)]).points
            return points[self._proposer.chosen(fit, points, known, counter, count)]
        for place in range(count):
            best, _ = self._proposer.prospect(fit, known, counter + place).climb()
            known = np.vstack([known, best.points[:1]])
        return known[-count:]

    def _varied(self, fit: Fit, points: Floats) -> Floats:
        """Return points crossed with mutants of the elites."""
        costs = self._evaluations.costs[self._evaluations.modelled(self._max_points)]
        scores = -costs if self._published else fit.targets.values
        elites = elites_by_sum(scores[:, self._elites], _N_ELITES)
        random = np.random.default_rng([self._seed, _VARIATION, self._round])
        return weak_to_strong(points, fit.points[elites], self._encoding, random)

    def _new_first(self, points: Floats) -> Floats:
        """Drop candidates that are known, or repeat one before them, while enough are left."""
        features = self._encoding.features(points)
        known = np.vstack([self._evaluations.points, self._evaluations.avoided])
        occupied = self._encoding.features(known)
        new: list[int] = []
        for index in range(len(points)):
            if apart(features[index : index + 1], occupied, NEAR)[0]:
                new.append(index)
                occupied = np.vstack([occupied, features[index : index + 1]])
        others = [index for index in range(len(points)) if index not in new]
        return points[new + others[: max(0, self._batch - len(new))]]

    def _drawn(self, count: int) -> list[Proposal]:
        points = self._encoding.draw(count, self._random)
        return [Proposal(self._encoding.genotype(point), f"{self._name}:start") for point in points]


def _columns(
    elites: Sequence[str] | None, objectives: Sequence[Objective], n_objectives: int
) -> list[int]:
    """Return the columns of the objectives that make an elite.

    Raises:
        ConfigError: a name is no objective's, or there is none.
    """
    if elites is None:
        return list(range(n_objectives))
    chosen = names("elites", elites)
    known = [objective.name for objective in objectives]
    problems = [
        f"elites: there is no objective '{name}'; {nearest(name, known)}"
        for name in chosen
        if name not in known
    ]
    if not chosen:
        problems.append("elites: expected at least one objective")
    if problems:
        raise ConfigError(problems)
    return [known.index(name) for name in chosen]
